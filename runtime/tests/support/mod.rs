//! What the tests of the program share: running it and making its input.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::path::Path;
use std::process::Command;

use assert_cmd::assert::OutputAssertExt;
use image::GrayImage;
use serde_json::Value;

/// The program, with the embedded engine's environment untouched.
pub fn millsight() -> Command {
    Command::new(env!("CARGO_BIN_EXE_millsight"))
}

/// Runs the program and gives exit code, last line of standard output as JSON
/// (null when it is none) and standard error.
pub fn run(arguments: &[&str]) -> (i32, Value, String) {
    let output = millsight().args(arguments).output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    let last = stdout.lines().last().unwrap_or_default();
    (
        output.status.code().unwrap(),
        serde_json::from_str(last).unwrap_or(Value::Null),
        String::from_utf8(output.stderr).unwrap(),
    )
}

/// Runs the program, expects that it fails with exit code 1 and that its
/// message holds each of the given parts.
pub fn fails_with(arguments: &[&str], parts: &[&str]) {
    let assert = millsight().args(arguments).assert().code(1);
    // Long lines of a message are wrapped; what it says is what counts.
    let message: String = String::from_utf8_lossy(&assert.get_output().stderr)
        .replace(['│', '\n'], " ")
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    for part in parts {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
}

/// A grey strip with a texture, written as PNG.
pub fn strip_png(path: &Path, width: u32, height: u32) {
    let image = GrayImage::from_fn(width, height, |x, y| {
        image::Luma([(96 + (x * 7 + y * 13 + (x * y) % 17) % 64) as u8])
    });
    image.save(path).unwrap();
}

/// A path as text.
pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Checks that a summary adds up.
pub fn adds_up(summary: &Value) {
    let tiles = &summary["tiles"];
    let count = |name: &str| tiles[name].as_u64().unwrap();
    let states = ["background", "cleared", "judged", "unjudged"];
    assert_eq!(
        count("total"),
        states.iter().map(|state| count(state)).sum::<u64>(),
        "{tiles}"
    );
    let reasons = summary["unjudged_reasons"].as_object().unwrap();
    let by_reason: u64 = reasons.values().map(|count| count.as_u64().unwrap()).sum();
    assert_eq!(by_reason, count("unjudged"));
}
