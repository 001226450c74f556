//! Bad input gets a message that names the file or field, says what is wrong
//! and what to do, and exit code 1.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use support::{adds_up, fails_with, millsight, run, strip_png, text};

/// Replaces a ready station's text and writes it.
fn station(path: &Path, edit: impl Fn(String) -> String) {
    let output = millsight()
        .args(["config", "show", "demo"])
        .output()
        .unwrap();
    let ready = String::from_utf8(output.stdout).unwrap();
    let edited = edit(ready.clone());
    assert_ne!(ready, edited, "the edit must change the station");
    fs::write(path, edited).unwrap();
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
fn files_that_are_empty_or_something_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("empty.png"), b"").unwrap();
    fs::write(path("notes.txt"), b"these are no lines").unwrap();
    fs::write(path("empty.onnx"), b"").unwrap();
    fs::write(path("text.onnx"), b"this is not a model").unwrap();
    strip_png(&path("tile.png"), 512, 512);
    fails_with(
        &["replay", text(&path("empty.png"))],
        &["empty.png", "empty"],
    );
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
        text.replace("verdict_ms = 2000", "verdict_ms = 20")
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
                .replace("metres = 4.9152", "metres = 0.2")
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
    let folder = tempfile::tempdir().unwrap();
    let closed = folder.path().join("closed");
    fs::create_dir(&closed).unwrap();
    strip_png(&closed.join("a.png"), 512, 512);
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
    // The superuser reads every folder; then an empty one must do.
    if fs::read_dir(&closed).is_ok() {
        let empty = folder.path().join("empty");
        fs::create_dir(&empty).unwrap();
        fails_with(&["replay", text(&empty)], &["empty", "no image"]);
    } else {
        fails_with(&["replay", text(&closed)], &["closed", "cannot read"]);
    }
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
}

/// A program that runs until the test is over.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn two_runtimes_on_one_record_folder() {
    let folder = tempfile::tempdir().unwrap();
    let record = folder.path().join("record");
    let path = folder.path().join("line.toml");
    station(&path, |text| {
        text.replace("pace = \"unpaced\"", "pace = \"line_rate\"")
            .replace("metres = 4.9152", "metres = 100")
    });
    let arguments = ["run", "--station", text(&path), "--out", text(&record)];
    let first = millsight()
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let first = Running(first);
    let start = Instant::now();
    while !record.join("record.sqlite").exists() {
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "the first never began"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
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
    for part in ["not recorded", "record", "space"] {
        assert!(problems.contains(part), "{problems}");
    }
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

#[test]
fn a_crash_leaves_a_readable_record() {
    let folder = tempfile::tempdir().unwrap();
    let record = folder.path().join("record");
    let path = folder.path().join("line.toml");
    station(&path, |text| {
        text.replace("metres = 4.9152", "metres = 100")
            .replace("keep_images = \"flagged\"", "keep_images = \"all\"")
    });
    let run = millsight()
        .args(["run", "--station", text(&path), "--out", text(&record)])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut run = Running(run);
    let export = || {
        let output = millsight()
            .args(["record", "export", text(&record)])
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
        lines.collect::<Vec<serde_json::Value>>()
    };
    let start = Instant::now();
    let tiles =
        |lines: &[serde_json::Value]| lines.iter().filter(|line| line["record"] == "tile").count();
    while tiles(&export()) < 64 {
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "nothing was recorded"
        );
        std::thread::sleep(Duration::from_millis(100));
    }
    // SIGKILL: the program has no chance to tidy up.
    run.0.kill().unwrap();
    run.0.wait().unwrap();
    let lines = export();
    assert!(tiles(&lines) >= 64);
    let status = lines.iter().find(|line| line["record"] == "run").unwrap();
    assert_eq!(
        status["status"], "running",
        "an unfinished run must not look finished"
    );
    for tile in lines.iter().filter(|line| line["record"] == "tile") {
        let image = image::open(record.join(tile["image"].as_str().unwrap())).unwrap();
        assert_eq!((image.width(), image.height()), (512, 512));
    }
}
