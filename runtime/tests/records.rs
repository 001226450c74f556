//! What a record holds after crashes, interruptions and on strange disks.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::path::Path;

use support::{
    Running, exported, fails_with, of_kind, ordinary_user, recorded_so_far, run, station,
    strip_png, text, wait_until,
};

/// A station that records every tile for a long time.
fn endless(path: &Path) {
    station(path, "demo", |text| {
        text.replace("metres = 19.6608", "metres = 500")
            .replace("keep_images = \"flagged\"", "keep_images = \"all\"")
    });
}

/// Names in a folder and below it.
fn names(folder: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        names.push(path.file_name().unwrap().to_str().unwrap().to_owned());
        if path.is_dir() {
            names.extend(self::names(&path));
        }
    }
    names
}

#[test]
fn a_crash_leaves_a_readable_record_which_the_next_run_tidies_up() {
    let folder = tempfile::tempdir().unwrap();
    let record = folder.path().join("record");
    let path = folder.path().join("line.toml");
    endless(&path);
    let arguments = ["run", "--station", text(&path), "--out", text(&record)];
    let mut crashed = Running::start(&arguments);
    wait_until("tiles are recorded", || {
        recorded_so_far(&record, "tile") >= 64
    });
    // SIGKILL: the program has no chance to tidy up.
    crashed.0.kill().unwrap();
    crashed.0.wait().unwrap();
    let tiles = exported(&record, "tile");
    assert!(tiles.len() >= 64);
    assert_eq!(
        exported(&record, "run")[0]["status"],
        "running",
        "an unfinished run must not look finished"
    );
    for tile in &tiles {
        let image = image::open(record.join(tile["image"].as_str().unwrap())).unwrap();
        assert_eq!((image.width(), image.height()), (512, 512));
    }
    let strip = folder.path().join("strip.png");
    strip_png(&strip, 512, 512);
    let (code, _, message) = run(&["replay", text(&strip), "--out", text(&record)]);
    assert_eq!(code, 0, "{message}");
    let runs = exported(&record, "run");
    assert_eq!(runs[0]["status"], "crashed");
    assert_eq!(runs[1]["status"], "complete");
    assert_eq!(exported(&record, "tile").len(), tiles.len());
    let names = names(&record);
    assert!(
        names.iter().all(|name| !name.starts_with(".partial-")),
        "{names:?}"
    );
}

#[cfg(unix)]
#[test]
fn a_run_that_is_interrupted_is_marked_as_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let record = folder.path().join("record");
    let path = folder.path().join("line.toml");
    endless(&path);
    let arguments = ["run", "--station", text(&path), "--out", text(&record)];
    let mut running = Running::start(&arguments);
    wait_until("tiles are recorded", || {
        recorded_so_far(&record, "tile") > 0
    });
    running.interrupt();
    let run = &exported(&record, "run")[0];
    assert_eq!(run["status"], "stopped");
    assert!(run["finished"].is_string());
    let recorded = run["summary"]["recorded"]["tiles"].as_u64().unwrap();
    assert_eq!(exported(&record, "tile").len() as u64, recorded);
}

#[cfg(unix)]
#[test]
fn a_simulation_that_is_interrupted_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let strip = folder.path().join("coil.lines");
    let arguments = ["simulate", "--strip", text(&strip), "--metres", "500"];
    let mut running = Running::start(&arguments);
    wait_until("the strip is drawn", || !names(folder.path()).is_empty());
    wait_until("the strip grows", || {
        let entries = fs::read_dir(folder.path()).unwrap();
        entries
            .map(|entry| entry.unwrap().metadata().unwrap().len())
            .sum::<u64>()
            > 1 << 20
    });
    assert_eq!(running.interrupt(), Some(1));
    assert!(names(folder.path()).is_empty());
}

#[cfg(unix)]
#[test]
fn files_have_the_permissions_of_ordinary_files() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let record = folder.path().join("record");
    let path = folder.path().join("line.toml");
    station(&path, "demo", |text| {
        text.replace("metres = 19.6608", "metres = 0.2")
            .replace("keep_images = \"flagged\"", "keep_images = \"all\"")
    });
    let (code, _, message) = run(&["run", "--station", text(&path), "--out", text(&record)]);
    assert_eq!(code, 0, "{message}");
    let lines = folder.path().join("record.jsonl");
    let (code, _, message) = run(&["record", "export", text(&record), "--out", text(&lines)]);
    assert_eq!(code, 0, "{message}");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
    let tiles = exported(&record, "tile");
    assert_eq!(
        fs::read(&lines)
            .unwrap()
            .split(|&byte| byte == b'\n')
            .count(),
        tiles.len() + 5
    );
    // The station was written by this test as any program writes a file.
    let ordinary = mode(&path);
    assert_eq!(mode(&lines), ordinary);
    assert_eq!(
        mode(&record.join(tiles[0]["image"].as_str().unwrap())),
        ordinary
    );
}

#[cfg(unix)]
#[test]
fn a_record_that_may_only_be_read_is_exported() {
    let folder = support::open_folder();
    let record = folder.path().join("record");
    let strip = folder.path().join("strip.png");
    strip_png(&strip, 512, 512);
    let (code, _, message) = run(&["replay", text(&strip), "--out", text(&record)]);
    assert_eq!(code, 0, "{message}");
    let export = |status: &str| {
        let output = ordinary_user(folder.path())
            .args(["record", "export", text(&record)])
            .output()
            .unwrap();
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{message}");
        let runs = of_kind(&output.stdout, "run");
        assert_eq!(runs.last().unwrap()["status"], status);
    };
    // Whoever owns the folder may write to it; permissions bind all the same.
    let writable = |yes| {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::Permissions::from_mode(if yes { 0o755 } else { 0o555 });
        fs::set_permissions(&record, mode).unwrap();
    };
    writable(false);
    export("complete");
    writable(true);

    // What a crash has left in the log is exported as well.
    let path = folder.path().join("line.toml");
    endless(&path);
    let arguments = ["run", "--station", text(&path), "--out", text(&record)];
    let mut crashed = Running::start(&arguments);
    wait_until("a second run", || recorded_so_far(&record, "run") == 2);
    crashed.0.kill().unwrap();
    crashed.0.wait().unwrap();
    writable(false);
    export("running");
    writable(true);
}

#[test]
fn a_file_that_is_no_record_is_not_called_a_full_disk() {
    let folder = tempfile::tempdir().unwrap();
    let strip = folder.path().join("strip.png");
    strip_png(&strip, 512, 512);
    fs::write(
        folder.path().join("record.sqlite"),
        "no database ".repeat(99),
    )
    .unwrap();
    let parts = [
        "record.sqlite",
        "cannot open",
        "no record",
        "another folder",
    ];
    fails_with(&["record", "export", text(folder.path())], &parts);
    fails_with(
        &["replay", text(&strip), "--out", text(folder.path())],
        &parts,
    );
}
