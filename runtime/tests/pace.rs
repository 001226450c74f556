//! A source that cannot wait: what is not judged in time is counted, kept and judged
//! later.
#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;

use serde_json::Value;
use support::{adds_up, run, text};

/// Runs 256 tiles at the rate of the camera, which one worker cannot judge in time:
/// exit code and summary of a run whose record is in `folder/record`.
fn overloaded(folder: &Path, keep_images: &str) -> (i32, Value) {
    let strip = folder.join("coil.lines");
    let (code, _, message) = run(&["simulate", "--strip", text(&strip), "--metres", "4"]);
    assert_eq!(code, 0, "{message}");
    let station = folder.join("fast.toml");
    let description = format!(
        r#"
name = "fast"
[camera]
line_rate_hz = 67000
[optics]
mm_per_pixel = 0.25
[material]
kind = "strip"
speed_m_per_s = {{ min = 10, nominal = 16.75, max = 17 }}
[source]
kind = "replay"
path = "coil.lines"
pace = "line_rate"
[engine]
name = "embedded"
workers = 1
[deadlines]
verdict_ms = 60
queue_rows = 2
[recording]
keep_images = "{keep_images}"
"#
    );
    std::fs::write(&station, description).unwrap();
    let (station, record) = (text(&station).to_owned(), folder.join("record"));
    let arguments = [
        "--json",
        "run",
        "--station",
        &station,
        "--out",
        text(&record),
    ];
    let (code, summary, _) = run(&arguments);
    adds_up(&summary);
    assert_eq!(summary["tiles"]["total"], 256);
    assert_eq!(summary["lines"]["in"], 16000);
    (code, summary)
}

fn recorded_tiles(record: &Path) -> Vec<Value> {
    let output = support::millsight()
        .args(["record", "export", text(record)])
        .output()
        .unwrap();
    let exported = String::from_utf8(output.stdout).unwrap();
    exported
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|line| line["record"] == "tile")
        .collect()
}

#[test]
fn overload_leaves_tiles_unjudged_with_their_reason() {
    let folder = tempfile::tempdir().unwrap();
    let (code, summary) = overloaded(folder.path(), "none");
    let unjudged = summary["tiles"]["unjudged"].as_u64().unwrap();
    assert!(
        unjudged > 0,
        "one worker cannot judge 1,047 tiles a second: {summary}"
    );
    assert_eq!(code, 1, "unjudged tiles must show in the exit status");
    let problems = summary["problems"].to_string();
    assert!(problems.contains("unjudged"), "{problems}");
    let tiles = recorded_tiles(&folder.path().join("record"));
    let kept = tiles.iter().filter(|tile| tile["state"] == "unjudged");
    let mut count = 0;
    for tile in kept {
        let reason = tile["reason"].as_str().unwrap();
        assert!(summary["unjudged_reasons"][reason].is_u64(), "{reason}");
        count += 1;
    }
    assert_eq!(count, unjudged);
}

#[test]
fn tiles_that_were_overdue_are_judged_from_their_images() {
    let folder = tempfile::tempdir().unwrap();
    let (code, summary) = overloaded(folder.path(), "flagged");
    let tiles = &summary["tiles"];
    let [late, unjudged] = ["late", "unjudged"].map(|state| tiles[state].as_u64().unwrap());
    assert!(late > 0, "{summary}");
    assert_eq!(code, 1, "late verdicts must show in the exit status");
    let problems = summary["problems"].to_string();
    assert!(problems.contains("after the deadline"), "{problems}");
    let record = folder.path().join("record");
    let recorded = recorded_tiles(&record);
    let mut left = 0;
    for tile in &recorded {
        left += u64::from(tile["state"] == "unjudged");
        if tile["reason"] != "image_lost" {
            assert!(record.join(tile["image"].as_str().unwrap()).is_file());
        }
    }
    assert_eq!(left, unjudged);
    let later = summary["recorded"]["late_verdicts"].as_u64().unwrap();
    assert!(later > 0 && later <= late, "{summary}");
}
