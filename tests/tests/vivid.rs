//! Cameras of the kernel's test driver vivid, in a virtual machine: formats, faults that
//! are injected, a camera that is unplugged and plugged in again.
//!
//! `tests/vm/vivid.sh` makes the machine from Debian's packages. Where one of them cannot be
//! had, the tests are passed over and say so, unless `MILLSIGHT_REQUIRE_VIVID` is set.
//! The processor is emulated, so that the tests are of what is counted, not of how fast.
#![allow(clippy::unwrap_used)]
#![cfg(target_os = "linux")]

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use serde_json::Value;
use tempfile::TempDir;

const VM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/vm");

/// One machine at a time takes both processor cores.
static MACHINE: Mutex<()> = Mutex::new(());

/// Runs a script in the machine; gives the folder in which it has left what it found.
fn in_machine(script: &str, parameters: Option<&str>) -> Option<TempDir> {
    let _alone = MACHINE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    fs::copy(
        Path::new(VM).join("prepare.sh"),
        folder.path().join("prepare.sh"),
    )
    .unwrap();
    let mut machine = Command::new("bash");
    machine.arg(Path::new(VM).join("vivid.sh"));
    if let Some(parameters) = parameters {
        machine.args(["-p", parameters]);
    }
    machine.args(["-t", "280", "-s"]).arg(folder.path());
    machine.arg(Path::new(VM).join(script));
    machine
        .arg("v4l2-ctl")
        .arg(assert_cmd::cargo::cargo_bin("millsight"));
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

/// Every frame is lines or a gap.
fn adds_up(captured: &Value, frame_lines: u64) {
    let camera = |name: &str| count(captured, &format!("/camera/{name}"));
    let whole = camera("frames") - camera("damaged_frames");
    assert_eq!(count(captured, "/lines"), whole * frame_lines, "{captured}");
    let lost = (camera("dropped_frames") + camera("damaged_frames")) * frame_lines;
    match camera("losses") {
        0 => assert_eq!(count(captured, "/missing"), lost, "{captured}"),
        // How many came in the meantime nobody knows.
        _ => assert!(count(captured, "/missing") > lost, "{captured}"),
    }
}

#[test]
fn every_format_is_captured_and_what_cannot_be_used_is_explained() {
    let Some(folder) = in_machine("formats.sh", None) else {
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
        let text = text(&folder, &format!("{name}.txt")).replace('│', " ");
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
        let text = said(name);
        assert!(text.contains(words), "{name}: {text}");
    }
}

#[test]
fn each_of_two_thousand_frames_is_accounted_for() {
    let Some(folder) = in_machine("frames.sh", None) else {
        return;
    };
    let captured = json(&folder, "frames.json");
    adds_up(&captured, 256);
    assert_eq!(count(&captured, "/lines"), 512_000, "{captured}");
}

/// What happens to the camera, and what is said of it.
fn survives(parameters: Option<&str>) {
    let Some(folder) = in_machine("faults.sh", parameters) else {
        return;
    };
    let captured = json(&folder, "faults.json");
    adds_up(&captured, 256);
    let camera = |name: &str| count(&captured, &format!("/camera/{name}"));
    assert_eq!(camera("damaged_frames"), 1, "{captured}");
    assert!(camera("dropped_frames") >= 3, "{captured}");
    assert!(camera("losses") >= 5, "{captured}");
    assert_eq!(captured["camera"]["is_there"], true, "{captured}");
    let away = captured["camera"]["seconds_away"].as_f64().unwrap();
    assert!(
        away >= 4.0,
        "unplugged for three seconds, and two more: {captured}"
    );
    let told = text(&folder, "faults.err");
    assert!(told.contains("says that a frame is damaged"), "{told}");
    assert!(told.contains("is gone"), "{told}");
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
    let Some(folder) = in_machine("reconnects.sh", None) else {
        return;
    };
    let summary = json(&folder, "reconnects.json");
    adds_up(&summary, 256);
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
