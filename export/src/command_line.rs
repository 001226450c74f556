//! What the programs' command lines share.

use clap::Command;
use clap_complete::Shell;

/// The largest difference of a score that is tolerated, as an option's value.
///
/// # Errors
/// When it is no number of at least 0.
pub fn tolerance(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(value) if value.is_finite() && value >= 0.0 => Ok(value),
        _ => Err("a number of at least 0 is expected, for example 1e-3".to_owned()),
    }
}

/// A program's completion script for a shell. It is made before it is printed:
/// clap_complete panics where it cannot write.
pub fn completions(shell: Shell, mut command: Command) -> String {
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, name.clone(), &mut script);
    // For a program with a hyphen in its name clap_complete 4.6 looks the
    // options of a command up under another name than it stores them.
    let looked_up = format!("{}__subcmd__", name.replace('-', "__subcmd__"));
    let stored = format!("{}__subcmd__", name.replace('-', "__"));
    String::from_utf8_lossy(&script).replace(&looked_up, &stored)
}

/// The commands of a program whose options its bash completion script does not
/// find, for tests: the script first names the command it has found on the
/// line, then looks up its options by that name.
pub fn commands_without_completion(command: Command) -> Vec<String> {
    let program = command.get_name().replace('-', "__");
    let names: Vec<String> = command
        .get_subcommands()
        .map(|command| command.get_name().to_owned())
        .collect();
    let script = completions(Shell::Bash, command);
    let missing = |name: &String| {
        let found = script
            .lines()
            .skip_while(|line| line.trim() != format!("{program},{name})"))
            .nth(1)
            .and_then(|line| line.trim().strip_prefix("cmd=\"")?.strip_suffix('"'));
        !found.is_some_and(|found| script.contains(&format!("        {found})\n")))
    };
    names.into_iter().filter(missing).collect()
}

/// Appends the long help of a program and of all its commands to `help`, as a
/// terminal of 80 columns shows it. For tests that hold it by a snapshot.
pub fn collect_help(program: Command, help: &mut String) {
    let mut program = program.term_width(80);
    // Gives the commands inside it their full names.
    program.build();
    append_help(&mut program, help);
}

fn append_help(command: &mut Command, help: &mut String) {
    let text = command.render_long_help().to_string();
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    help.push_str(&lines.join("\n"));
    help.push_str("\n\n");
    for below in command.get_subcommands_mut() {
        if below.get_name() != "help" {
            help.push_str(&format!("{}\n\n", "─".repeat(80)));
            append_help(below, help);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_every_command_are_found_whatever_the_name() {
        for name in ["plain", "with-hyphen", "with-two-hyphens"] {
            let command = Command::new(name)
                .subcommand(Command::new("one").arg(clap::arg!(--first)))
                .subcommand(Command::new("two").subcommand(Command::new("inner")));
            assert_eq!(commands_without_completion(command), [""; 0], "{name}");
        }
    }
}
