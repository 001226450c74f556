//! Standard output of the programs.
//!
//! `println!` panics where standard output cannot be written. These functions
//! say so instead, and take a reader that has gone away, as `| head` does, for
//! what it is: nobody wants the rest.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

use clap_complete::Shell;

/// Standard output could not be written.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("cannot write to standard output: {0}; what was printed is incomplete")]
pub struct OutputError(io::Error);

/// Lets `print` write to standard output.
///
/// # Errors
/// When standard output cannot be written, except for a reader that has gone.
pub fn write(print: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), OutputError> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    outcome(print(&mut out).and_then(|()| out.flush()))
}

/// Writes `text` as a line of its own to standard output.
///
/// # Errors
/// Those of [`write`].
pub fn line(text: impl Display) -> Result<(), OutputError> {
    write(|out| writeln!(out, "{text}"))
}

/// What an attempt to write to standard output means: a reader that has gone
/// away is no failure.
///
/// # Errors
/// Every other error of `written`.
pub fn outcome(written: io::Result<()>) -> Result<(), OutputError> {
    match written {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(OutputError(error)),
        _ => Ok(()),
    }
}

/// The completion script of a program for a shell. It is made before it is
/// printed: clap_complete panics where it cannot write.
pub fn completions(program: &mut clap::Command, shell: Shell) -> String {
    let name = program.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, program, &name, &mut script);
    // For a program with a hyphen in its name clap_complete 4.6 looks the
    // options of a command up under another name than it stores them.
    String::from_utf8_lossy(&script).replace(
        &format!("{}__subcmd__", name.replace('-', "__subcmd__")),
        &format!("{}__subcmd__", name.replace('-', "__")),
    )
}

/// Appends the long help of a program and of all its commands to `help`, as a
/// terminal of 80 columns shows it. For tests that hold it by a snapshot.
pub fn collect_help(program: clap::Command, help: &mut String) {
    let mut program = program.term_width(80);
    // Gives the commands inside it their full names.
    program.build();
    append_help(&mut program, help);
}

fn append_help(command: &mut clap::Command, help: &mut String) {
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
    fn only_a_reader_that_has_gone_is_no_failure() {
        assert!(outcome(Ok(())).is_ok());
        assert!(outcome(Err(ErrorKind::BrokenPipe.into())).is_ok());
        assert!(outcome(Err(ErrorKind::StorageFull.into())).is_err());
    }
}
