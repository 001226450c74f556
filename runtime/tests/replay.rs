//! Strips that are replayed: every line and tile is accounted for.
#![allow(clippy::unwrap_used)]

mod support;

use serde_json::Value;
use support::{adds_up, run, strip_png, text};

fn replay(arguments: &[&str]) -> (i32, Value, String) {
    let mut all = vec!["--json", "replay", "--engine", "embedded"];
    all.extend(arguments);
    run(&all)
}

#[test]
fn a_strip_of_whole_rows_gives_eight_tiles_a_row() {
    let folder = tempfile::tempdir().unwrap();
    let strip = folder.path().join("strip.png");
    strip_png(&strip, 4096, 8192);
    let (code, summary, _) = replay(&[text(&strip)]);
    assert_eq!(code, 0);
    adds_up(&summary);
    assert_eq!(summary["lines"]["in"], 8192);
    assert_eq!(summary["tiles"]["total"], 128);
    assert_eq!(summary["tiles"]["padded"], 0);
    assert_eq!(summary["tiles"]["unjudged"], 0);
    assert_eq!(summary["engine"]["name"], "embedded");
    assert_eq!(summary["model"]["sha256"].as_str().unwrap().len(), 64);
    let flagged = summary["flagged"].as_object().unwrap();
    assert_eq!(
        flagged.keys().map(String::as_str).collect::<Vec<_>>(),
        ["cracks", "overfill", "scrap_mark", "scrap_mark_ii"]
    );
}

#[test]
fn the_last_partial_row_is_padded_and_marked() {
    let folder = tempfile::tempdir().unwrap();
    let strip = folder.path().join("strip.png");
    strip_png(&strip, 4096, 8200);
    let record = folder.path().join("record");
    let (code, summary, _) = replay(&[text(&strip), "--out", text(&record)]);
    assert_eq!(code, 0);
    adds_up(&summary);
    assert_eq!(summary["tiles"]["total"], 136);
    assert_eq!(summary["tiles"]["padded"], 8);
}

#[test]
fn a_recording_is_replayed_with_its_own_geometry() {
    let folder = tempfile::tempdir().unwrap();
    let strip = folder.path().join("coil.lines");
    let simulate = [
        "--json",
        "simulate",
        "--strip",
        text(&strip),
        "--metres",
        "0.5",
    ];
    let (code, made, _) = run(&simulate);
    assert_eq!(code, 0);
    let record = folder.path().join("record");
    let (code, summary, _) = replay(&[text(&strip), "--out", text(&record)]);
    assert_eq!(code, 0);
    adds_up(&summary);
    assert_eq!(summary["lines"]["in"], made["lines"]);
    assert_eq!(summary["lines"]["gaps"], 0);

    let output = support::millsight()
        .args(["record", "export", text(&record)])
        .output()
        .unwrap();
    let lines: Vec<Value> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let of = |kind: &'static str| lines.iter().filter(move |line| line["record"] == kind);
    let run = of("run").next().unwrap();
    assert_eq!(run["status"], "complete");
    assert_eq!(run["lines_per_metre"], 4000.0);
    assert_eq!(run["summary"]["tiles"], summary["tiles"]);
    assert_eq!(of("piece").next().unwrap()["name"], "simulated strip 1");
    let flagged: u64 = summary["flagged"]
        .as_object()
        .unwrap()
        .values()
        .map(|n| n.as_u64().unwrap())
        .sum();
    assert_eq!(of("tile").count() as u64, flagged);
    for tile in of("tile") {
        let image = image::open(record.join(tile["image"].as_str().unwrap())).unwrap();
        assert_eq!((image.width(), image.height()), (512, 512));
        let metres = tile["first_line"].as_f64().unwrap() / 4000.0;
        assert!((tile["metres"].as_f64().unwrap() - metres).abs() < 1e-9);
    }
}

#[test]
fn a_truncated_recording_is_judged_up_to_the_cut() {
    let folder = tempfile::tempdir().unwrap();
    let strip = folder.path().join("coil.lines");
    run(&[
        "--json",
        "simulate",
        "--strip",
        text(&strip),
        "--metres",
        "0.5",
    ]);
    let bytes = std::fs::read(&strip).unwrap();
    // Cut within the third block of 512 lines.
    let kept = 2 * 512 * 4096 + 300_000;
    std::fs::write(&strip, &bytes[..kept]).unwrap();
    let (code, summary, _) = replay(&[text(&strip)]);
    assert_eq!(code, 1);
    adds_up(&summary);
    assert_eq!(summary["lines"]["in"], 1024);
    assert_eq!(
        summary["tiles"]["judged"].as_u64().unwrap()
            + summary["tiles"]["background"].as_u64().unwrap(),
        16
    );
    let problem = summary["problems"][0].as_str().unwrap();
    for part in ["coil.lines", "line 1024", "cut off"] {
        assert!(problem.contains(part), "{problem}");
    }
}

#[test]
fn a_corrupted_recording_says_where() {
    let folder = tempfile::tempdir().unwrap();
    let strip = folder.path().join("coil.lines");
    run(&[
        "--json",
        "simulate",
        "--strip",
        text(&strip),
        "--metres",
        "0.5",
    ]);
    let mut bytes = std::fs::read(&strip).unwrap();
    bytes[512 * 4096 + 100_000] ^= 0x40;
    std::fs::write(&strip, &bytes).unwrap();
    let (code, summary, _) = replay(&[text(&strip)]);
    assert_eq!(code, 1);
    adds_up(&summary);
    // The block is left out, and the blocks behind it are judged.
    assert_eq!(summary["lines"]["in"], 2000 - 512);
    assert_eq!(summary["lines"]["missing"], 512);
    let problem = summary["problems"][0].as_str().unwrap();
    for part in ["coil.lines", "line 512", "checksum"] {
        assert!(problem.contains(part), "{problem}");
    }
}

#[test]
fn a_truncated_png_is_judged_up_to_the_cut() {
    let folder = tempfile::tempdir().unwrap();
    let strip = folder.path().join("strip.png");
    strip_png(&strip, 1024, 4096);
    let bytes = std::fs::read(&strip).unwrap();
    std::fs::write(&strip, &bytes[..bytes.len() / 2]).unwrap();
    let (code, summary, _) = replay(&[text(&strip)]);
    assert_eq!(code, 1);
    adds_up(&summary);
    let lines = summary["lines"]["in"].as_u64().unwrap();
    assert!(lines > 512 && lines < 4096, "{lines}");
    assert_eq!(
        summary["tiles"]["total"].as_u64().unwrap(),
        lines.div_ceil(512) * 2
    );
    assert!(
        summary["problems"][0]
            .as_str()
            .unwrap()
            .contains("strip.png")
    );
}

#[test]
fn a_folder_of_tiles_is_replayed_and_an_unreadable_one_is_a_gap() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.png", "b.png", "d.png"] {
        strip_png(&folder.path().join(name), 512, 512);
    }
    std::fs::write(folder.path().join("c.png"), b"not an image").unwrap();
    let (code, summary, _) = replay(&[text(folder.path())]);
    assert_eq!(code, 1);
    adds_up(&summary);
    assert_eq!(summary["tiles"]["total"], 3);
    assert_eq!(summary["lines"]["gaps"], 1);
    assert_eq!(summary["lines"]["missing"], 512);
    assert!(summary["problems"][0].as_str().unwrap().contains("c.png"));
}

#[test]
fn dark_columns_are_background() {
    let folder = tempfile::tempdir().unwrap();
    let strip = folder.path().join("strip.png");
    image::GrayImage::from_fn(2048, 1024, |x, _| {
        image::Luma([if x < 1024 { 2 } else { 120 }])
    })
    .save(&strip)
    .unwrap();
    let (code, summary, _) = replay(&[text(&strip)]);
    assert_eq!(code, 0);
    adds_up(&summary);
    assert_eq!(summary["tiles"]["background"], 4);
    assert_eq!(summary["tiles"]["judged"], 4);
}
