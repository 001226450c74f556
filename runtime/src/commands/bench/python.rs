//! Scripts in Python to compare with.

use std::io::Write;
use std::process::{Command, Stdio};

use miette::{IntoDiagnostic, miette};
use serde::de::DeserializeOwned;

/// Runs a script, which an interpreter reads from its standard input, and gives
/// what it prints.
///
/// # Errors
/// When the interpreter does not start, or the script fails or prints something
/// else.
pub fn run<T: DeserializeOwned>(mut command: Command, script: &str) -> miette::Result<T> {
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
