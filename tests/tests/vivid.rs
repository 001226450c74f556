//! Cameras of the kernel's test driver vivid, in a virtual machine: formats, faults that
//! are injected, a camera that is unplugged and plugged in again.
//!
//! `tests/vm/vivid.sh` makes the machine from Debian's packages. Where one of them cannot be
//! had, the tests are passed over and say so, unless `MILLSIGHT_REQUIRE_VIVID` is set.
//! The processor is emulated, so that the tests are of what is counted, not of how fast.
#![allow(clippy::unwrap_used)]
#![cfg(target_os = "linux")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use millsight_export::engine::library;
use serde_json::Value;
use tempfile::TempDir;

const VM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/vm");

/// One machine at a time takes both processor cores.
static MACHINE: Mutex<()> = Mutex::new(());

/// Runs a script in the machine for at most so many seconds, with further files in its
/// path; gives the folder in which it has left what it found.
fn in_machine(
    script: &str,
    parameters: Option<&str>,
    seconds: u32,
    files: &[PathBuf],
) -> Option<TempDir> {
    let _alone = MACHINE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    for (file, name) in [
        ("vm/prepare.sh", "prepare.sh"),
        ("../models/millsight-screen.onnx", "screen.onnx"),
    ] {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        fs::copy(file, folder.path().join(name)).unwrap();
    }
    let mut machine = Command::new("bash");
    machine.arg(Path::new(VM).join("vivid.sh"));
    if let Some(parameters) = parameters {
        machine.args(["-p", parameters]);
    }
    machine.args(["-t", &seconds.to_string(), "-s"]);
    machine.arg(folder.path()).arg(Path::new(VM).join(script));
    machine
        .arg("v4l2-ctl")
        .arg(assert_cmd::cargo::cargo_bin("millsight"))
        .args(files);
    let output = machine.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    match output.status.code() {
        Some(0) => Some(folder),
        Some(77) => {
            assert!(
                std::env::var_os("MILLSIGHT_REQUIRE_VIVID").is_none(),
                "{said}"
            );
            eprintln!("skipped: no camera of vivid was tried: {said}");
            None
        }
        _ => panic!(
            "{script}: {:?}\n{}\n{said}",
            output.status,
            String::from_utf8_lossy(&output.stdout)
        ),
    }
}

fn text(folder: &TempDir, name: &str) -> String {
    fs::read_to_string(folder.path().join(name)).unwrap()
}

/// The last line of a file, as JSON.
fn json(folder: &TempDir, name: &str) -> Value {
    let text = text(folder, name);
    serde_json::from_str(text.lines().last().unwrap_or_default()).unwrap_or_else(|error| {
        panic!("{name}: {error}: {text}");
    })
}

fn count(value: &Value, pointer: &str) -> u64 {
    let found = value.pointer(pointer).and_then(Value::as_u64);
    found.unwrap_or_else(|| panic!("{pointer} of {value}"))
}

/// Every frame of a run is lines or a gap, and every tile has its state.
fn adds_up(summary: &Value, frame_lines: u64) {
    let camera = |name: &str| count(summary, &format!("/camera/{name}"));
    let whole = camera("frames") - camera("damaged_frames");
    // Of the last frame the run may take a part before it is stopped.
    let left = (whole * frame_lines).checked_sub(count(summary, "/lines/in"));
    assert!(left.is_some_and(|left| left <= frame_lines), "{summary}");
    let lost = (camera("dropped_frames") + camera("damaged_frames")) * frame_lines;
    match camera("losses") {
        0 => assert_eq!(count(summary, "/lines/missing"), lost, "{summary}"),
        // How many came in the meantime nobody knows.
        _ => assert!(count(summary, "/lines/missing") > lost, "{summary}"),
    }
    let states = ["background", "cleared", "judged", "unjudged"];
    let settled: u64 = states
        .iter()
        .map(|state| count(summary, &format!("/tiles/{state}")))
        .sum();
    assert!(settled > 0, "{summary}");
    assert_eq!(settled, count(summary, "/tiles/total"), "{summary}");
}

/// The gaps of a record: each with its reason, its moment and its lines.
fn gaps(folder: &TempDir, name: &str) -> Vec<Value> {
    let text = text(folder, name);
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    lines
        .filter(|line: &Value| line["record"] == "gap")
        .inspect(|gap| {
            assert!(count(gap, "/lines") > 0, "{gap}");
            assert!(gap["moment"].is_string(), "{gap}");
        })
        .collect()
}

#[test]
fn every_format_is_captured_and_what_cannot_be_used_is_explained() {
    let Some(folder) = in_machine("formats.sh", None, 280, &[]) else {
        return;
    };
    let devices = json(&folder, "devices.json");
    let camera = &devices["cameras"][0];
    assert!(
        camera["name"].as_str().unwrap().starts_with("vivid"),
        "{camera}"
    );
    let formats = camera["formats"].as_array().unwrap();
    for name in ["mono8", "mono10", "mono12", "mono16", "rgb8", "bgr8"] {
        let is_listed = |format: &&Value| format.as_str().unwrap().starts_with(name);
        assert!(
            formats.iter().any(|format| is_listed(&format)),
            "{name} in {camera}"
        );
        let captured = json(&folder, &format!("{name}.json"));
        assert_eq!(count(&captured, "/lines"), 2048, "{captured}");
    }
    // Without the frame that is drawn around a message.
    let said = |name: &str| {
        let text = text(&folder, name).replace('│', " ");
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    for (name, words) in [
        ("busy", "is in use by another program"),
        ("wide", "8192 × 256 pixels of `GREY`"),
        ("unknown", "has no control `brightnes`"),
        ("large", "takes 0 to 255"),
        ("absent", "there is no /dev/video7"),
        ("refused", "the group `video`"),
    ] {
        for said in [
            said(&format!("{name}.txt")),
            said(&format!("{name}.doctor")),
        ] {
            assert!(said.contains(words), "{name}: {said}");
        }
    }
    for (listing, words) in [
        ("devices-busy.txt", "is in use by another program"),
        ("devices-refused.txt", "the group `video`"),
        ("devices-none.txt", "no camera is connected"),
        ("bright.txt", "80 % of the range"),
    ] {
        let text = said(listing);
        assert!(text.contains(words), "{listing}: {text}");
    }
    assert!(!folder.path().join("bright.json").exists());
    let flat_field = json(&folder, "flat.json");
    let level = |part: &str| flat_field[part][2048].as_f64().unwrap();
    assert!(
        level("dark") < 30.0 && level("white") > 100.0,
        "{} and {}",
        level("dark"),
        level("white")
    );
}

#[test]
fn each_of_two_thousand_frames_is_accounted_for() {
    let Some(onnx_runtime) = library::candidates(None).into_iter().next() else {
        assert!(
            std::env::var_os("MILLSIGHT_REQUIRE_ONNXRUNTIME").is_none(),
            "no ONNX Runtime is installed, and it is required"
        );
        eprintln!("skipped: the shipped model needs ONNX Runtime to start in time there");
        return;
    };
    let Some(folder) = in_machine("frames.sh", None, 600, &[onnx_runtime.path]) else {
        return;
    };
    let summary = json(&folder, "frames.json");
    adds_up(&summary, 256);
    assert!(count(&summary, "/camera/frames") >= 2000, "{summary}");
    assert_eq!(summary["engine"]["name"], "onnxruntime", "{summary}");
    let missing: u64 = gaps(&folder, "frames.jsonl")
        .iter()
        .map(|gap| count(gap, "/lines"))
        .sum();
    assert_eq!(missing, count(&summary, "/lines/missing"), "{summary}");
}

/// What happens to the camera, and what is said of it.
fn survives(parameters: Option<&str>) {
    let Some(folder) = in_machine("faults.sh", parameters, 280, &[]) else {
        return;
    };
    let summary = json(&folder, "faults.json");
    adds_up(&summary, 256);
    let camera = |name: &str| count(&summary, &format!("/camera/{name}"));
    assert_eq!(camera("damaged_frames"), 1, "{summary}");
    assert!(camera("dropped_frames") >= 3, "{summary}");
    assert!(camera("losses") >= 5, "{summary}");
    assert_eq!(summary["camera"]["is_there"], true, "{summary}");
    let away = summary["camera"]["seconds_away"].as_f64().unwrap();
    assert!(
        away >= 4.0,
        "unplugged for three seconds, and two more: {summary}"
    );
    // The record says of each what happened, when, and for how long.
    let gaps = gaps(&folder, "faults.jsonl");
    let because = |part: &str| {
        let is_so = |gap: &&Value| gap["reason"].as_str().unwrap().contains(part);
        gaps.iter().filter(is_so).count()
    };
    assert_eq!(because("says that a frame is damaged"), 1, "{gaps:?}");
    assert!(because("frame(s) of the camera were lost") >= 1, "{gaps:?}");
    assert!(because("is gone") >= 1, "{gaps:?}");
    let seconds: f64 = gaps.iter().filter_map(|gap| gap["seconds"].as_f64()).sum();
    assert!(
        (seconds - away).abs() < 0.1,
        "{seconds} of {away}: {gaps:?}"
    );
    let lines: u64 = gaps.iter().map(|gap| count(gap, "/lines")).sum();
    assert_eq!(lines, count(&summary, "/lines/missing"), "{gaps:?}");
}

#[test]
fn a_camera_that_fails_and_is_unplugged_comes_back() {
    survives(None);
}

#[test]
fn so_does_one_that_hands_out_planes_by_themselves() {
    survives(Some(
        "n_devs=1 num_inputs=1 input_types=3 node_types=1 ccs_cap_mode=1 multiplanar=2",
    ));
}

#[test]
fn a_hundred_reconnections_leave_nothing_behind() {
    let Some(folder) = in_machine("reconnects.sh", None, 280, &[]) else {
        return;
    };
    let summary = json(&folder, "reconnects.json");
    let camera = |name: &str| count(&summary, &format!("/camera/{name}"));
    let whole = camera("frames") - camera("damaged_frames");
    assert_eq!(count(&summary, "/lines"), whole * 256, "{summary}");
    assert!(count(&summary, "/camera/losses") >= 95, "{summary}");
    let counts = |name| -> Vec<u64> {
        let text = text(&folder, name);
        text.split_whitespace()
            .map(|count| count.parse().unwrap())
            .collect()
    };
    let (before, after) = (counts("before"), counts("after"));
    // Descriptors and mappings of the device, and the memory in KiB.
    assert_eq!(before[..2], after[..2], "{before:?} {after:?}");
    assert!(after[2] < before[2] + 8 * 1024, "{before:?} {after:?}");
}
