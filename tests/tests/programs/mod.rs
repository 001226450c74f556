//! The workspace's programs, and what they write.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::collections::HashMap;
use std::path::Path;
use std::process::{Command, Output};

/// Runs one of the workspace's programs, which `cargo test --workspace` has
/// built beside this test.
pub fn run(program: &str, folder: &Path, arguments: &[&str]) -> Output {
    let path = assert_cmd::cargo::cargo_bin(program);
    assert!(
        path.is_file(),
        "{} is missing; build it with `cargo build --workspace`",
        path.display()
    );
    let output = Command::new(path)
        .current_dir(folder)
        .args(arguments)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// What a program has printed.
pub fn text(output: Output) -> String {
    String::from_utf8(output.stdout).unwrap()
}

/// What the trainer said of a tile.
pub struct Prediction {
    /// The class with the largest logit.
    pub class: String,
    /// By class, in the order of the network's classes.
    pub logits: Vec<f64>,
}

/// Reads the trainer's table: path, label, predicted, then a logit a class.
pub fn predictions(path: &Path) -> HashMap<String, Prediction> {
    let table = std::fs::read_to_string(path).unwrap();
    let mut lines = table.lines();
    let header: Vec<&str> = lines.next().unwrap().split(',').collect();
    let column = |name: &str| header.iter().position(|title| *title == name).unwrap();
    let (path, predicted) = (column("path"), column("predicted"));
    let logits: Vec<usize> = (0..header.len())
        .filter(|&index| header[index].starts_with("logit"))
        .collect();
    assert_eq!(logits.len(), 5);
    lines
        .map(|line| {
            let fields: Vec<&str> = line.split(',').collect();
            let prediction = Prediction {
                class: fields[predicted].into(),
                logits: logits
                    .iter()
                    .map(|&index| fields[index].parse().unwrap())
                    .collect(),
            };
            (fields[path].to_owned(), prediction)
        })
        .collect()
}
