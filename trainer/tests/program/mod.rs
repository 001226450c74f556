//! The program as a user runs it.
#![allow(
    dead_code,
    reason = "not every test file that shares this module needs all of it"
)]

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

pub fn program(arguments: &[&str], more: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_millsight-train"))
        .args(arguments)
        .args(more.split_whitespace())
        .output()
        .unwrap()
}

/// Runs the program, which must succeed, and reads its line of JSON.
pub fn json(arguments: &[&str], more: &str) -> Value {
    let output = program(arguments, &format!("{more} --json"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What a program that fails says; it must end with code 1.
pub fn complaint(arguments: &[&str], more: &str) -> String {
    let output = program(arguments, more);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    // The message is wrapped for the terminal.
    said.split_whitespace()
        .filter(|word| *word != "│")
        .collect::<Vec<_>>()
        .join(" ")
}

pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
