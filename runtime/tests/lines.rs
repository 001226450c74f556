//! Recordings whose lines are missing or moved unevenly: what the summary and
//! the record say of them.
#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;
use std::time::Duration;

use millsight_runtime::source::recording::{Header, RecordingWriter};
use millsight_runtime::source::{EncoderSpan, LineBlock};
use serde_json::Value;
use support::{adds_up, run, text};

const WIDTH: usize = 512;

/// Writes blocks of the given lines; the encoder counts `counts` for each.
fn recording(path: &Path, blocks: &[(u64, usize)], counts: Option<i64>) {
    let header = Header {
        pixels_per_line: WIDTH,
        line_rate_hz: 10_000.0,
        lines_per_metre: 1000.0,
        mm_per_pixel: 0.5,
        piece: "coil 7".into(),
        origin: "test".into(),
    };
    let mut writer = RecordingWriter::create(path, &header).unwrap();
    for &(first_line, lines) in blocks {
        let end = first_line + lines as u64;
        let count = |line: u64, counts: i64| 4000 + line as i64 * counts;
        writer
            .write(&LineBlock {
                first_line,
                pixels: &vec![120; lines * WIDTH],
                timestamp: Duration::from_micros(end * 100),
                encoder: counts.map(|counts| EncoderSpan {
                    first: count(first_line, counts),
                    last: count(end - 1, counts),
                }),
            })
            .unwrap();
    }
    writer.finish().unwrap();
}

fn replay(arguments: &[&str]) -> (i32, Value) {
    let mut all = vec!["--json", "replay", "--engine", "embedded"];
    all.extend(arguments);
    let (code, summary, _) = run(&all);
    (code, summary)
}

#[test]
fn a_gap_that_a_recording_declares_is_counted_and_told() {
    let folder = tempfile::tempdir().unwrap();
    let strip = folder.path().join("coil.lines");
    recording(&strip, &[(0, 600), (700, 300)], None);
    let (code, summary) = replay(&[text(&strip)]);
    assert_eq!(code, 0, "{summary}");
    adds_up(&summary);
    assert_eq!(summary["lines"]["gaps"], 1);
    assert_eq!(summary["lines"]["missing"], 100);
    let notice = summary["notices"][0].as_str().unwrap();
    assert!(notice.contains("100 lines from line 600"), "{notice}");
}

#[test]
fn a_recording_without_lines_has_shown_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let strip = folder.path().join("coil.lines");
    recording(&strip, &[], None);
    let (code, summary) = replay(&[text(&strip)]);
    assert_eq!(code, 1, "{summary}");
    assert!(summary["problems"][0].as_str().unwrap().contains("no line"));
}

#[test]
fn positions_follow_the_encoder_where_the_station_has_one() {
    let folder = tempfile::tempdir().unwrap();
    let strip = folder.path().join("coil.lines");
    // Blocks that end within the rows of tiles; half the lines of a metre.
    recording(&strip, &[(0, 300), (300, 500), (800, 224)], Some(2));
    let station = folder.path().join("station.toml");
    let description = r#"
name = "encoder"
[camera]
pixels_per_line = 512
line_rate_hz = 10000
trigger = { mode = "encoder", lines_per_metre = 1000 }
[optics]
mm_per_pixel = 0.5
[material]
kind = "strip"
speed_m_per_s = { min = 1, nominal = 5, max = 10 }
[source]
kind = "replay"
path = "coil.lines"
pace = "unpaced"
[recording]
keep_images = "all"
"#;
    std::fs::write(&station, description).unwrap();
    let record = folder.path().join("record");
    let arguments = [
        text(&strip),
        "--station",
        text(&station),
        "--out",
        text(&record),
    ];
    let (code, summary) = replay(&arguments);
    assert_eq!(code, 0, "{summary}");
    let output = support::millsight()
        .args(["record", "export", text(&record)])
        .output()
        .unwrap();
    let mut tiles: Vec<Value> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|line| line["record"] == "tile")
        .collect();
    // Recorded in the order in which they are judged.
    tiles.sort_by_key(|tile| tile["row"].as_u64());
    assert_eq!(tiles.len(), 2);
    assert_eq!(tiles[0]["encoder"], 4000);
    assert_eq!(tiles[0]["metres"], 0.0);
    assert_eq!(tiles[1]["encoder"], 4000 + 2 * 512);
    let metres = tiles[1]["metres"].as_f64().unwrap();
    assert!((metres - 1.024).abs() < 1e-9, "{metres}");
}
