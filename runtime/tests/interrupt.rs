//! A run that is told to stop ends in order.
#![allow(clippy::unwrap_used)]
#![cfg(unix)]

mod support;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use support::{adds_up, millsight, text};

#[test]
fn an_interrupted_run_judges_what_has_entered_and_its_summary_adds_up() {
    let folder = tempfile::tempdir().unwrap();
    let record = folder.path().join("record");
    let run = millsight()
        .args(["--json", "demo", "--metres", "1000", "--out", text(&record)])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let start = Instant::now();
    let images = record.join("tiles/1");
    while std::fs::read_dir(&images).map_or(0, Iterator::count) == 0 {
        assert!(start.elapsed() < Duration::from_secs(60), "it never began");
        std::thread::sleep(Duration::from_millis(20));
    }
    let killed = Command::new("kill")
        .args(["-INT", &run.id().to_string()])
        .status()
        .unwrap();
    assert!(killed.success());
    let output = run.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let stdout = String::from_utf8(output.stdout).unwrap();
    let summary: Value = serde_json::from_str(stdout.lines().last().unwrap()).unwrap();
    adds_up(&summary);
    assert_eq!(summary["tiles"]["unjudged"], 0);
    let lines = summary["lines"]["in"].as_u64().unwrap();
    assert!(lines > 0 && lines < 3_000_000, "{lines}");
    assert_eq!(
        summary["tiles"]["total"].as_u64().unwrap(),
        lines.div_ceil(512) * 8
    );
    assert!(summary["notices"].to_string().contains("stopped"));

    let exported = millsight()
        .args(["record", "export", text(&record)])
        .output()
        .unwrap();
    let exported = String::from_utf8(exported.stdout).unwrap();
    let mut lines = exported
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let recorded = lines.find(|line| line["record"] == "run").unwrap();
    assert_eq!(recorded["summary"]["tiles"], summary["tiles"]);
}
