//! Scripts in Python to compare with.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use miette::{IntoDiagnostic, WrapErr, miette};
use serde::Deserialize;

/// What the scripts print.
#[derive(Debug, Deserialize)]
struct Printed {
    lines_per_second: f64,
}

/// Runs a script, which the interpreter reads from its standard input, with
/// arguments that `with` adds; gives its lines per second.
///
/// # Errors
/// When the interpreter does not start, or the script fails or prints something
/// else.
pub fn lines_per_second(
    interpreter: &Path,
    script: &str,
    with: impl FnOnce(&mut Command),
) -> miette::Result<f64> {
    let mut command = Command::new(interpreter);
    command.arg("-");
    with(&mut command);
    run(command, script)
        .map(|printed| printed.lines_per_second)
        .wrap_err_with(|| format!("{} cannot run the script", interpreter.display()))
}

fn run(mut command: Command, script: &str) -> miette::Result<Printed> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .into_diagnostic()?;
    if let Some(mut input) = child.stdin.take() {
        // One that reads none of it says why itself.
        let _ = input.write_all(script.as_bytes());
    }
    let output = child.wait_with_output().into_diagnostic()?;
    if !output.status.success() {
        return Err(miette!(
            help = "install tests/peers/inspection/requirements.txt into it",
            "it ended with {}",
            output.status
        ));
    }
    serde_json::from_slice(&output.stdout).into_diagnostic()
}
