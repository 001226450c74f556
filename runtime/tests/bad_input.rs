//! Bad input gets a message that names the file or field, says what is wrong
//! and what to do, and exit code 1.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::path::Path;
use std::process::Stdio;

use support::{Running, adds_up, fails_with, run, says_when_it_fails, strip_png, text, wait_until};

/// The demo station with its text changed.
fn station(path: &Path, edit: impl Fn(String) -> String) {
    support::station(path, "demo", edit);
}

#[test]
fn files_that_do_not_exist() {
    fails_with(
        &["replay", "nowhere.png"],
        &["nowhere.png", "check that it exists"],
    );
    fails_with(&["run", "--station", "nowhere.toml"], &["nowhere.toml"]);
    fails_with(&["classify", "nowhere.png"], &["nowhere.png"]);
    fails_with(&["record", "export", "nowhere"], &["nowhere", "no record"]);
    let folder = tempfile::tempdir().unwrap();
    let tile = folder.path().join("tile.png");
    strip_png(&tile, 512, 512);
    fails_with(
        &["classify", text(&tile), "--model", "nowhere.onnx"],
        &["nowhere.onnx"],
    );
}

#[test]
fn a_core_that_this_machine_has_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("station.toml");
    station(&path, |text| {
        format!("{text}\n[cores]\nclassify = [1000]\n")
    });
    fails_with(
        &["run", "--station", text(&path)],
        &["`cores.classify` names core 1000", "leave the key out"],
    );
}

#[test]
fn files_that_are_empty_or_something_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("empty.png"), b"").unwrap();
    fs::write(path("empty.lines"), b"").unwrap();
    fs::write(path("notes.txt"), b"these are no lines").unwrap();
    fs::write(path("empty.onnx"), b"").unwrap();
    fs::write(path("text.onnx"), b"this is not a model").unwrap();
    strip_png(&path("tile.png"), 512, 512);
    for name in ["empty.png", "empty.lines"] {
        fails_with(&["replay", text(&path(name))], &[name, "file is empty"]);
    }
    fails_with(&["classify", text(&path("empty.png"))], &["empty.png"]);
    fails_with(
        &["replay", text(&path("notes.txt"))],
        &["notes.txt", "neither", "millsight simulate"],
    );
    let tile = path("tile.png");
    for name in ["empty.onnx", "text.onnx"] {
        fails_with(
            &["classify", text(&tile), "--model", text(&path(name))],
            &[name],
        );
    }
}

#[test]
fn a_truncated_image() {
    let folder = tempfile::tempdir().unwrap();
    let tile = folder.path().join("tile.png");
    strip_png(&tile, 512, 512);
    let bytes = fs::read(&tile).unwrap();
    fs::write(&tile, &bytes[..bytes.len() / 2]).unwrap();
    fails_with(&["classify", text(&tile)], &["tile.png"]);
}

#[test]
fn one_bad_image_does_not_keep_the_others_from_being_judged() {
    let folder = tempfile::tempdir().unwrap();
    let good = folder.path().join("good.png");
    strip_png(&good, 300, 200);
    let (code, last, message) = run(&[
        "--json",
        "classify",
        "nowhere.png",
        text(&good),
        "--engine",
        "embedded",
    ]);
    assert_eq!(code, 1);
    assert!(message.contains("nowhere.png"), "{message}");
    assert_eq!(last["path"], text(&good));
    let sum: f64 = last["probabilities"]
        .as_object()
        .unwrap()
        .values()
        .map(|probability| probability.as_f64().unwrap())
        .sum();
    assert!((sum - 1.0).abs() < 1e-5);
}

#[test]
fn an_image_of_three_pixels() {
    let folder = tempfile::tempdir().unwrap();
    let narrow = folder.path().join("narrow.png");
    strip_png(&narrow, 3, 512);
    fails_with(&["classify", text(&narrow)], &["narrow.png", "3×512"]);
    fails_with(
        &["replay", text(&narrow)],
        &["narrow.png", "3 pixels", "512", "millsight classify"],
    );
}

#[test]
fn stations_with_an_unknown_key_or_an_impossible_relation() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("line.toml");
    station(&path, |text| text.replace("exposure_us", "exposure_ms"));
    fails_with(
        &["config", "check", text(&path)],
        &["line.toml", "exposure_ms", "exposure_us"],
    );
    fails_with(
        &["run", "--station", text(&path)],
        &["line.toml", "exposure_ms"],
    );
    station(&path, |text| {
        text.replace("verdict_ms = 400", "verdict_ms = 4")
    });
    fails_with(
        &["config", "check", text(&path)],
        &["line.toml", "verdict_ms", "row"],
    );
}

#[test]
fn a_threshold_for_a_class_that_the_model_does_not_know() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("line.toml");
    station(&path, |text| format!("{text}\n[thresholds]\ncrack = 0.5\n"));
    fails_with(&["run", "--station", text(&path)], &["`crack`", "cracks"]);
}

#[test]
fn a_provider_that_cannot_start_is_an_error_unless_fallback_is_allowed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("line.toml");
    let with_engine = |fallback: bool| {
        move |text: String| {
            format!("{text}\n[engine]\nproviders = [\"cuda\", \"cpu\"]\nfallback = {fallback}\n")
                .replace("metres = 19.6608", "metres = 0.2")
        }
    };
    let record = folder.path().join("record");
    station(&path, with_engine(false));
    let arguments = [
        "--json",
        "run",
        "--station",
        text(&path),
        "--out",
        text(&record),
    ];
    let (code, summary, message) = run(&arguments);
    if code == 0 {
        assert_eq!(
            summary["engine"]["provider"], "cuda",
            "nothing else may stand in"
        );
        return;
    }
    assert!(message.contains("cuda"), "{message}");
    station(&path, with_engine(true));
    let (code, summary, message) = run(&arguments);
    assert_eq!(code, 0, "{message}");
    adds_up(&summary);
    assert_eq!(summary["engine"]["provider"], "cpu");
    assert!(
        message.contains("cuda"),
        "the fallback must be loud: {message}"
    );
    assert!(summary["notices"][0].as_str().unwrap().contains("cuda"));
}

#[cfg(unix)]
#[test]
fn a_folder_that_cannot_be_read() {
    use std::os::unix::fs::PermissionsExt;
    let folder = support::open_folder();
    let closed = folder.path().join("closed");
    fs::create_dir(&closed).unwrap();
    strip_png(&closed.join("a.png"), 512, 512);
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
    says_when_it_fails(
        support::ordinary_user(folder.path()).args(["replay", text(&closed)]),
        &["closed", "cannot read", "check that"],
    );
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
    let empty = folder.path().join("empty");
    fs::create_dir(&empty).unwrap();
    fails_with(&["replay", text(&empty)], &["empty", "no image"]);
}

#[test]
fn two_runtimes_on_one_record_folder() {
    let folder = tempfile::tempdir().unwrap();
    let record = folder.path().join("record");
    let path = folder.path().join("line.toml");
    station(&path, |text| {
        text.replace("pace = \"unpaced\"", "pace = \"line_rate\"")
            .replace("metres = 19.6608", "metres = 100")
    });
    let arguments = ["run", "--station", text(&path), "--out", text(&record)];
    let first = Running::start(&arguments);
    wait_until("the first runs", || {
        support::recorded_so_far(&record, "run") == 1
    });
    let holder = format!("process {}", first.0.id());
    fails_with(&arguments, &["record", "in use", &holder]);
}

#[test]
fn a_disk_that_is_full_while_recording() {
    let mount = tempfile::tempdir().unwrap();
    // A small file system of its own needs the right to mount; without it a
    // limit on the size of files makes the same writes fail.
    let mounted = millsight_mount(mount.path());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("line.toml");
    station(&path, |text| {
        text.replace("keep_images = \"flagged\"", "keep_images = \"all\"")
            .replace("metres = 19.6608", "metres = 4.9152")
    });
    let record = if mounted { mount.path() } else { folder.path() }.join("record");
    let mut command = std::process::Command::new("sh");
    let limit = if mounted {
        ""
    } else {
        "ulimit -f 150; trap '' XFSZ; "
    };
    command.args([
        "-c",
        &format!("{limit}exec \"$@\""),
        "sh",
        env!("CARGO_BIN_EXE_millsight"),
    ]);
    command.args([
        "--json",
        "run",
        "--station",
        text(&path),
        "--out",
        text(&record),
    ]);
    let output = command.output().unwrap();
    // The record is read before its disk goes.
    let tiles = support::exported(&record, "tile");
    let runs = support::exported(&record, "run");
    if mounted {
        let unmounted = std::process::Command::new("umount")
            .arg("-l")
            .arg(mount.path())
            .status();
        assert!(unmounted.unwrap().success());
    }
    let stdout = String::from_utf8(output.stdout).unwrap();
    let summary: serde_json::Value = serde_json::from_str(stdout.lines().last().unwrap()).unwrap();
    assert_eq!(output.status.code(), Some(1));
    adds_up(&summary);
    assert_eq!(
        summary["tiles"]["total"], 256,
        "a full disk must not stop the inspection"
    );
    let problems = summary["problems"].to_string();
    for part in ["not recorded", "record", "space", "lost from the record"] {
        assert!(problems.contains(part), "{problems}");
    }
    let number = |name: &str| summary["recorded"][name].as_u64().unwrap();
    let with_material = 256 - summary["tiles"]["background"].as_u64().unwrap();
    assert_eq!(number("tiles") + number("tiles_lost"), with_material);
    assert!(number("tiles_lost") + number("images_lost") > 0);
    assert_eq!(runs.len(), 1);
    assert_eq!(tiles.len() as u64, number("tiles"));
    let images = tiles.iter().filter(|tile| tile["image"].is_string());
    assert_eq!(images.count() as u64, number("images"));
}

/// Mounts a file system of 2 MiB; false where that is not allowed.
fn millsight_mount(path: &Path) -> bool {
    std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=2m", "tmpfs"])
        .arg(path)
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
