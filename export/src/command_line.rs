//! What the programs' command lines share.

use std::io::{self, Write};

use clap::Command;
use clap_complete::Shell;

/// Writes a program's completion script for a shell to standard output.
///
/// # Errors
/// When standard output cannot be written, for example because it is a pipe
/// that was closed.
pub fn print_completions(shell: Shell, command: Command) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(completions(shell, command).as_bytes())?;
    out.flush()
}

/// A program's completion script for a shell.
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
