//! Which way the arrows between the crates run.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::Command;

/// Names of all crates that a package is built from.
fn dependencies(package: &str) -> Vec<String> {
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--locked",
            "--offline",
            "--edges",
            "normal,build",
            "--prefix",
            "none",
        ])
        .args(["--format", "{p}", "--package", package])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
        .collect()
}

fn has(names: &[String], crate_name: &str) -> bool {
    names.iter().any(|name| name == crate_name)
}

#[test]
fn the_runtime_does_not_link_the_training_framework() {
    let runtime = dependencies("millsight-runtime");
    assert!(has(&runtime, "millsight-export") && has(&runtime, "millsight-firmware-config"));
    let burn: Vec<_> = runtime
        .iter()
        .filter(|name| name.starts_with("burn"))
        .collect();
    assert!(burn.is_empty(), "{burn:?}");
    assert!(!has(&runtime, "millsight-trainer"));
    assert!(
        dependencies("millsight-trainer")
            .iter()
            .any(|name| name.starts_with("burn"))
    );
}

#[test]
fn arrows_only_run_downwards() {
    let export = dependencies("millsight-export");
    for above in [
        "millsight-runtime",
        "millsight-trainer",
        "millsight-firmware-config",
    ] {
        assert!(!has(&export, above), "export depends on {above}");
    }
    let config = dependencies("millsight-firmware-config");
    for other in ["millsight-runtime", "millsight-trainer", "millsight-export"] {
        assert!(!has(&config, other), "firmware-config depends on {other}");
    }
    let trainer = dependencies("millsight-trainer");
    for other in ["millsight-runtime", "millsight-firmware-config"] {
        assert!(!has(&trainer, other), "the trainer depends on {other}");
    }
}

/// The clock on the wall jumps, by hand, by NTP and twice a year. What is due when is
/// therefore told by the monotonic clock alone; where a moment is written down, one
/// function reads the other.
#[test]
fn the_runtime_times_nothing_by_the_clock_on_the_wall() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../runtime/src");
    let mut readers = Vec::new();
    let mut folders = vec![source.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap_or_default();
            if ["SystemTime", "Timestamp::now", "Zoned::now"]
                .iter()
                .any(|clock| text.contains(clock))
            {
                let name = path.strip_prefix(&source).unwrap();
                readers.push(name.display().to_string());
            }
        }
    }
    readers.sort();
    // The moment of a recorded row, the name of the demonstration's folder, and whether
    // the clock was changed.
    let expected = ["commands/demo.rs", "record/database.rs", "review/watch.rs"];
    assert_eq!(readers, expected);
}
