//! Scripts in Python to compare with.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use miette::{IntoDiagnostic, WrapErr, miette};
use serde::Deserialize;

/// What the scripts have in common.
const FLAT_FIELD: &str = include_str!("../../../../tests/peers/inspection/flat_field.py");

/// What the scripts print.
#[derive(Debug, Deserialize)]
struct Printed {
    lines_per_second: f64,
}

/// Runs a script with arguments that `with` adds; gives its lines per second.
///
/// # Errors
/// When the interpreter does not start, or the script fails or prints something
/// else.
pub fn lines_per_second(
    interpreter: &Path,
    script: &str,
    with: impl FnOnce(&mut Command),
) -> miette::Result<f64> {
    let folder = tempfile::tempdir().into_diagnostic()?;
    fs::write(folder.path().join("flat_field.py"), FLAT_FIELD).into_diagnostic()?;
    let file = folder.path().join("script.py");
    fs::write(&file, script).into_diagnostic()?;
    let mut command = Command::new(interpreter);
    command.arg(file);
    with(&mut command);
    run(command)
        .map(|printed| printed.lines_per_second)
        .wrap_err_with(|| format!("{} cannot run the script", interpreter.display()))
}

fn run(mut command: Command) -> miette::Result<Printed> {
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .into_diagnostic()?;
    if !output.status.success() {
        return Err(miette!(
            help = "install tests/peers/inspection/requirements.txt into it",
            "it ended with {}",
            output.status
        ));
    }
    serde_json::from_slice(&output.stdout).into_diagnostic()
}
