//! What the tests of the program share: running it and making its input.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use assert_cmd::assert::OutputAssertExt;
use image::GrayImage;
use serde_json::Value;
use tempfile::TempDir;

/// The program, with the embedded engine's environment untouched.
pub fn millsight() -> Command {
    Command::new(env!("CARGO_BIN_EXE_millsight"))
}

/// Runs the program and gives exit code, last line of standard output as JSON
/// (null when it is none) and standard error.
pub fn run(arguments: &[&str]) -> (i32, Value, String) {
    let output = millsight().args(arguments).output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    let last = stdout.lines().last().unwrap_or_default();
    (
        output.status.code().unwrap(),
        serde_json::from_str(last).unwrap_or(Value::Null),
        String::from_utf8(output.stderr).unwrap(),
    )
}

/// Runs the program, expects that it fails with exit code 1 and that its
/// message holds each of the given parts.
pub fn fails_with(arguments: &[&str], parts: &[&str]) {
    says_when_it_fails(millsight().args(arguments), parts);
}

/// As [`fails_with`], for a command of one's own.
pub fn says_when_it_fails(command: &mut Command, parts: &[&str]) {
    let assert = command.assert().code(1);
    // Long lines of a message are wrapped; what it says is what counts.
    let message: String = String::from_utf8_lossy(&assert.get_output().stderr)
        .replace(['│', '\n'], " ")
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    for part in parts {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
}

/// A grey strip with a texture, written as PNG.
pub fn strip_png(path: &Path, width: u32, height: u32) {
    let image = GrayImage::from_fn(width, height, |x, y| {
        image::Luma([(96 + (x * 7 + y * 13 + (x * y) % 17) % 64) as u8])
    });
    image.save(path).unwrap();
}

/// A path as text.
pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Checks that a summary adds up.
pub fn adds_up(summary: &Value) {
    let tiles = &summary["tiles"];
    let count = |name: &str| tiles[name].as_u64().unwrap();
    let states = ["background", "cleared", "judged", "unjudged"];
    assert_eq!(
        count("total"),
        states.iter().map(|state| count(state)).sum::<u64>(),
        "{tiles}"
    );
    let reasons = summary["unjudged_reasons"].as_object().unwrap();
    let by_reason: u64 = reasons.values().map(|count| count.as_u64().unwrap()).sum();
    assert_eq!(by_reason, count("unjudged"));
}

/// The lines of a record of one kind: `run`, `piece`, `gap` or `tile`.
pub fn exported(record: &Path, kind: &str) -> Vec<Value> {
    let output = millsight()
        .args(["record", "export", text(record)])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    of_kind(&output.stdout, kind)
}

/// How many lines of a kind a record holds that another program writes, or is
/// about to.
pub fn recorded_so_far(record: &Path, kind: &str) -> usize {
    let output = millsight()
        .args(["record", "export", text(record)])
        .output()
        .unwrap();
    of_kind(&output.stdout, kind).len()
}

/// The lines of an exported record that are of one kind.
pub fn of_kind(exported: &[u8], kind: &str) -> Vec<Value> {
    let text = std::str::from_utf8(exported).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|line: &Value| line["record"] == kind)
        .collect()
}

/// A folder that every user may enter.
pub fn open_folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let everyone = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(folder.path(), everyone).unwrap();
    }
    folder
}

/// The program as a user whom permissions bind. The superuser, as whom tests
/// run in containers, may read and write everything; then it is a copy of the
/// program in `folder`, where that user can reach it, run as `nobody`.
#[cfg(unix)]
pub fn ordinary_user(folder: &Path) -> Command {
    use std::os::unix::fs::MetadataExt;
    use std::os::unix::process::CommandExt;
    const NOBODY: u32 = 65534;
    let probe = folder.join("probe");
    std::fs::write(&probe, b"").unwrap();
    if std::fs::metadata(&probe).unwrap().uid() != 0 {
        return millsight();
    }
    let copy = folder.join("millsight");
    // Not by this process: a child that another test starts meanwhile would hold the
    // copy open for writing, and what is written to cannot be run.
    let copied = Command::new("cp")
        .arg(env!("CARGO_BIN_EXE_millsight"))
        .arg(&copy)
        .status();
    assert!(copied.unwrap().success());
    let mut command = Command::new(copy);
    command.uid(NOBODY).gid(NOBODY).current_dir("/");
    command
}

/// A ready station with its text changed.
pub fn station(path: &Path, ready: &str, edit: impl Fn(String) -> String) {
    let output = millsight()
        .args(["config", "show", ready])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let edited = edit(text.clone());
    assert_ne!(text, edited, "the edit must change the station");
    std::fs::write(path, edited).unwrap();
}

/// A program that runs until the test is over.
pub struct Running(pub Child);

impl Running {
    /// Starts the program; what it prints is not kept.
    pub fn start(arguments: &[&str]) -> Self {
        let child = millsight()
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self(child.unwrap())
    }

    /// Presses Ctrl-C and gives the exit code.
    #[cfg(unix)]
    pub fn interrupt(&mut self) -> Option<i32> {
        let id = self.0.id().to_string();
        let sent = Command::new("kill").args(["-INT", &id]).status().unwrap();
        assert!(sent.success());
        self.0.wait().unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until something holds, for a minute at most.
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(60), "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
