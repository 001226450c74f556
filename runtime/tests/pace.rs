//! A source that cannot wait: what is not judged in time is counted and kept.
#![allow(clippy::unwrap_used)]

mod support;

use serde_json::Value;
use support::{adds_up, run, text};

#[test]
fn overload_leaves_tiles_unjudged_with_their_reason_and_image() {
    let folder = tempfile::tempdir().unwrap();
    let strip = folder.path().join("coil.lines");
    let (code, _, message) = run(&["simulate", "--strip", text(&strip), "--metres", "4"]);
    assert_eq!(code, 0, "{message}");
    let station = folder.path().join("fast.toml");
    let description = r#"
name = "fast"
[camera]
line_rate_hz = 67000
[optics]
mm_per_pixel = 0.25
[material]
kind = "strip"
speed_m_per_s = { min = 10, nominal = 16.75, max = 17 }
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
"#;
    std::fs::write(&station, description).unwrap();
    let record = folder.path().join("record");
    let arguments = [
        "--json",
        "run",
        "--station",
        text(&station),
        "--out",
        text(&record),
    ];
    let (code, summary, _) = run(&arguments);
    adds_up(&summary);
    assert_eq!(summary["tiles"]["total"], 256);
    assert_eq!(summary["lines"]["in"], 16000);
    let unjudged = summary["tiles"]["unjudged"].as_u64().unwrap();
    assert!(
        unjudged > 0,
        "one worker cannot judge 1,047 tiles a second: {summary}"
    );
    assert_eq!(code, 1, "unjudged tiles must show in the exit status");
    let problems = summary["problems"].to_string();
    assert!(problems.contains("unjudged"), "{problems}");

    let output = support::millsight()
        .args(["record", "export", text(&record)])
        .output()
        .unwrap();
    let exported = String::from_utf8(output.stdout).unwrap();
    let kept: Vec<Value> = exported
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|line| line["record"] == "tile" && line["state"] == "unjudged")
        .collect();
    assert_eq!(kept.len() as u64, unjudged);
    for tile in &kept {
        let reason = tile["reason"].as_str().unwrap();
        assert!(summary["unjudged_reasons"][reason].is_u64(), "{reason}");
        if reason != "image_lost" {
            assert!(record.join(tile["image"].as_str().unwrap()).is_file());
        }
    }
}
