//! What is printed, where, and what happens when it cannot be.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::process::{Command, Stdio};

use serde_json::Value;
use support::{millsight, run, strip_png, text};

/// The command with standard output that cannot be written: exit code and
/// standard error.
fn with_full_output(arguments: &[&str]) -> (i32, String) {
    let full = fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    finished(millsight().args(arguments).stdout(full))
}

/// The command with a reader of standard output that has gone away.
fn without_reader(arguments: &[&str]) -> (i32, String) {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    finished(millsight().args(arguments).stdout(writer))
}

fn finished(command: &mut Command) -> (i32, String) {
    let output = command.stderr(Stdio::piped()).output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    (output.status.code().unwrap(), message)
}

#[test]
fn output_that_cannot_be_written_is_a_failure_and_a_reader_that_has_gone_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (tile, out, tiles) = (path("tile.png"), path("tile.safetensors"), path("tiles"));
    strip_png(&folder.path().join("tile.png"), 512, 512);
    let (strip, record) = (path("coil.lines"), path("record"));
    let (code, ..) = run(&["simulate", "--strip", &strip, "--metres", "0.1"]);
    assert_eq!(code, 0);
    let replay = ["replay", &strip, "--out", &record, "--engine", "embedded"];
    assert_eq!(run(&replay).0, 0);
    let commands: [&[&str]; 12] = [
        &["--help"],
        &["config", "schema"],
        &["config", "show", "demo"],
        &["--json", "config", "list"],
        &["completions", "bash"],
        &["engine", "list"],
        &["doctor"],
        &["simulate", "--tiles", "1", "--out", &tiles],
        &["simulate", "--strip", &strip, "--metres", "0.01"],
        &["preprocess", &tile, "--out", &out],
        &["classify", &tile, "--engine", "embedded"],
        &["record", "export", &record],
    ];
    for command in commands {
        let (code, message) = without_reader(command);
        assert_eq!(code, 0, "{command:?}: {message}");
        assert!(!message.contains("panicked"), "{command:?}: {message}");
        // clap prints the help, and takes no notice.
        if command == ["--help"] {
            continue;
        }
        // Tiles go into a folder of their own.
        let _ = fs::remove_dir_all(&tiles);
        let (code, message) = with_full_output(command);
        assert_eq!(code, 1, "{command:?}: {message}");
        let words = message.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains("space"), "{command:?}: {words}");
        assert!(!words.contains("panicked"), "{command:?}: {words}");
    }
}

#[test]
fn wrong_usage_has_code_2() {
    let wrong: [&[&str]; 8] = [
        &["frobnicate"],
        &["run"],
        &["replay"],
        &["classify"],
        &["simulate"],
        &["simulate", "--tiles", "4"],
        &["simulate", "--tiles", "0", "--out", "nowhere"],
        &["config", "check"],
    ];
    for arguments in wrong {
        let (code, _, message) = run(arguments);
        assert_eq!(code, 2, "{arguments:?}: {message}");
    }
    let (_, _, message) = run(&["simulate", "--tiles", "0", "--out", "nowhere"]);
    assert!(message.contains("at least 1"), "{message}");
    assert!(!fs::exists("nowhere").unwrap());
}

#[test]
fn a_bound_in_a_message_is_a_number_as_one_writes_it() {
    let folder = tempfile::tempdir().unwrap();
    let out = text(folder.path());
    let (code, _, message) = run(&["demo", "--metres", "0.0001", "--out", out]);
    assert_eq!(code, 1);
    assert!(message.contains("from 0.01 to 100000"), "{message}");
}

#[test]
fn a_station_that_cannot_be_used_is_described_for_programs() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("line.toml");
    let ready = millsight()
        .args(["config", "show", "demo"])
        .output()
        .unwrap();
    let ready = String::from_utf8(ready.stdout).unwrap();
    let spoiled = ready
        .replace("exposure_us = 10", "exposure_us = 1000")
        .replace("queue_rows", "queue_row");
    fs::write(&path, &spoiled).unwrap();
    let (code, said, _) = run(&["--json", "config", "check", text(&path)]);
    assert_eq!(code, 1);
    assert_eq!(said["valid"], false);
    let problems = said["problems"].as_array().unwrap();
    let keys: Vec<&str> = problems
        .iter()
        .map(|p| p["key"].as_str().unwrap())
        .collect();
    assert_eq!(keys, ["camera.exposure_us", "deadlines.queue_row"]);
    for problem in problems {
        let line = problem["line"].as_u64().unwrap() as usize;
        let key = problem["key"]
            .as_str()
            .unwrap()
            .split('.')
            .next_back()
            .unwrap();
        assert!(spoiled.lines().nth(line - 1).unwrap().starts_with(key));
        for part in ["message", "remedy"] {
            assert!(!problem[part].as_str().unwrap().is_empty());
        }
    }
    let (code, said, _) = run(&["--json", "config", "check", "nowhere.toml"]);
    assert_eq!((code, &said["valid"]), (1, &Value::Bool(false)));
    let message = said["problems"][0]["message"].as_str().unwrap();
    assert!(message.contains("nowhere.toml") && message.contains("No such file"));

    fs::write(
        &path,
        ready.replace("exposure_us = 10 ", "exposure_us = 14 "),
    )
    .unwrap();
    let (code, said, _) = run(&["--json", "config", "check", text(&path)]);
    assert_eq!((code, &said["valid"]), (0, &Value::Bool(true)));
    assert_eq!(said["warnings"][0]["key"], "camera.exposure_us");
}

#[test]
fn ready_stations_are_listed_and_shown_for_programs() {
    let (code, list, _) = run(&["--json", "config", "list"]);
    assert_eq!(code, 0);
    let names: Vec<&str> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|station| station["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["demo", "strip", "rod", "wire", "replay"]);
    assert!(!list[0]["description"].as_str().unwrap().is_empty());
    let (code, station, _) = run(&["--json", "config", "show", "rod"]);
    assert_eq!((code, &station["name"]), (0, &Value::from("rod")));
}

#[test]
fn an_image_that_cannot_be_judged_has_its_line_too() {
    let folder = tempfile::tempdir().unwrap();
    let good = folder.path().join("good.png");
    strip_png(&good, 300, 200);
    let arguments = [
        "--json",
        "classify",
        text(&good),
        "nowhere.png",
        "--engine",
        "embedded",
    ];
    let output = millsight().args(arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let stdout = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<Value> = stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    assert!(lines[0]["class"].is_string());
    assert_eq!(lines[1]["path"], "nowhere.png");
    assert!(lines[1]["error"].as_str().unwrap().contains("nowhere.png"));
}

#[test]
fn a_log_that_is_no_terminal_holds_no_control_codes() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.png"), b"not an image").unwrap();
    let (_, _, log) = run(&["replay", text(folder.path()), "--engine", "embedded"]);
    assert!(log.contains("could not be read"), "{log}");
    assert!(!log.contains('\u{1b}'), "{log:?}");
}
