//! Lines that another program feeds, through a whole run.
#![allow(clippy::unwrap_used)]
#![cfg(unix)]

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use millsight_firmware_config::{FlatField, ScanDirection, Source, Station};
use millsight_runtime::source::LineBlock;
use millsight_runtime::source::recording::{BlockWriter, Header};
use serde_json::Value;
use tempfile::TempDir;

const WIDTH: usize = 1024;

fn header() -> Header {
    Header {
        pixels_per_line: WIDTH,
        line_rate_hz: 10_000.0,
        lines_per_metre: 3333.0,
        mm_per_pixel: 0.3,
        piece: "coil-9".into(),
        origin: "test".into(),
    }
}

/// A station that is fed; its folder, and the socket.
fn station(has_socket: bool) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("lines");
    let mut station = Station::ready("demo").unwrap();
    // A busy computer that judges late is no matter of these tests.
    station.deadlines.verdict_ms = 60_000.0;
    station.deadlines.queue_rows = 256;
    station.source = Source::Feed {
        socket: has_socket.then(|| socket.clone()),
    };
    std::fs::write(
        folder.path().join("station.toml"),
        station.to_toml().unwrap(),
    )
    .unwrap();
    (folder, socket)
}

fn run(folder: &Path) -> Child {
    let program = assert_cmd::cargo::cargo_bin("millsight");
    Command::new(program)
        .current_dir(folder)
        .args([
            "--json",
            "run",
            "--station",
            "station.toml",
            "--out",
            "record",
        ])
        .args(["--engine", "embedded"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The summary, and whether the run went well.
fn summary(run: Child) -> (Value, bool, String) {
    let output = run.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = words(&String::from_utf8(output.stderr).unwrap());
    let last = text.lines().last().unwrap_or_default();
    let summary = serde_json::from_str(last).unwrap_or(Value::Null);
    (summary, output.status.success(), errors)
}

/// What a message says: its long lines are wrapped.
fn words(message: &str) -> String {
    let message = message.replace('│', " ");
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn connect(socket: &Path) -> UnixStream {
    let begun = Instant::now();
    loop {
        match UnixStream::connect(socket) {
            Ok(stream) => return stream,
            Err(error) => assert!(begun.elapsed() < Duration::from_secs(60), "{error}"),
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Writes blocks of 128 lines from some lines on.
fn blocks<W: Write>(writer: &mut BlockWriter<W>, firsts: impl IntoIterator<Item = u64>) {
    for first_line in firsts {
        let block = LineBlock {
            first_line,
            pixels: &vec![90; 128 * WIDTH],
            timestamp: Duration::from_micros(100 * first_line),
            encoder: None,
        };
        writer.write(&block).unwrap();
    }
}

fn count(summary: &Value, pointer: &str) -> u64 {
    let found = summary.pointer(pointer).and_then(Value::as_u64);
    found.unwrap_or_else(|| panic!("{pointer} of {summary}"))
}

#[test]
fn a_program_that_dies_is_followed_by_another() {
    let (folder, socket) = station(true);
    let run = run(folder.path());
    let mut first = BlockWriter::begin(connect(&socket), &header()).unwrap();
    // Lines 512 to 639 were lost by the program itself.
    blocks(&mut first, [0, 128, 256, 384, 640]);
    drop(first);
    thread::sleep(Duration::from_millis(300));
    let mut second = BlockWriter::begin(connect(&socket), &header()).unwrap();
    blocks(&mut second, [0, 128]);
    second.end().unwrap();
    let (summary, went_well, errors) = summary(run);
    assert!(!went_well, "lines are missing: {summary}");
    assert_eq!(count(&summary, "/lines/in"), 7 * 128, "{summary}{errors}");
    assert_eq!(count(&summary, "/lines/gaps"), 2, "{summary}");
    // At 10,000 lines a second, for 0.3 s at least.
    assert!(count(&summary, "/lines/missing") >= 128 + 2900, "{summary}");
    assert_eq!(count(&summary, "/camera/losses"), 1, "{summary}");
    assert_eq!(count(&summary, "/camera/frames"), 7, "{summary}");
    assert!(!socket.exists(), "the socket is gone with the run");
}

#[test]
fn lines_may_come_on_standard_input_and_end_there() {
    let (folder, _) = station(false);
    let mut run = run(folder.path());
    let mut writer = BlockWriter::begin(run.stdin.take().unwrap(), &header()).unwrap();
    blocks(&mut writer, (0..8).map(|number| number * 128));
    drop(writer.end().unwrap());
    let (whole, went_well, errors) = summary(run);
    assert!(went_well, "{whole}{errors}");
    assert_eq!(count(&whole, "/lines/in"), 1024);
    assert_eq!(count(&whole, "/tiles/total"), 4);

    // Cut off: what came was judged, and the run says what happened.
    let mut run = self::run(folder.path());
    let mut writer = BlockWriter::begin(run.stdin.take().unwrap(), &header()).unwrap();
    blocks(&mut writer, [0, 128]);
    drop(writer);
    let (cut, went_well, _) = summary(run);
    assert!(!went_well, "{cut}");
    assert_eq!(count(&cut, "/lines/in"), 256, "{cut}");
    assert!(
        cut["problems"][0].as_str().unwrap().contains("cut off"),
        "{cut}"
    );

    // What is no recording is refused before anything is recorded.
    let mut run = self::run(folder.path());
    run.stdin
        .take()
        .unwrap()
        .write_all(b"GIF89a lines")
        .unwrap();
    let (_, went_well, errors) = summary(run);
    assert!(
        !went_well && errors.contains("does not begin with"),
        "{errors}"
    );
}

#[test]
fn the_program_in_c_feeds_lines() {
    let (folder, socket) = station(true);
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/feed.c");
    let program = folder.path().join("feed");
    let compiled = Command::new("cc")
        .args(["-O2", source, "-lz", "-o"])
        .arg(&program)
        .output();
    if !compiled.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: no C compiler with zlib is here, so that docs/feed.c was not tried");
        return;
    }
    let run = run(folder.path());
    drop(connect(&socket));
    // What connects and goes at once is refused, and the next is waited for.
    let fed = Command::new(&program)
        .arg(&socket)
        .args(["1024", "2560"])
        .status();
    assert!(fed.unwrap().success());
    let (summary, went_well, errors) = summary(run);
    assert!(went_well, "{summary}{errors}");
    assert_eq!(count(&summary, "/lines/in"), 2560, "{summary}");
    assert_eq!(summary.pointer("/camera/losses"), Some(&Value::from(0)));
}

/// Records a flat field of a camera that every second pixel of is half as sensitive, and
/// that sees one light after the other, each from the moment on at which it is asked for.
fn record_flat_field(folder: &Path, socket: &Path, lights: &[u8]) -> (Value, bool, String) {
    let mut child = Command::new(assert_cmd::cargo::cargo_bin("millsight"))
        .current_dir(folder)
        .args(["--json", "flat-field", "record", "--lines", "300"])
        .args(["--station", "station.toml", "--out", "flat.json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let light = Arc::new(AtomicU8::new(99));
    let (seen, socket) = (Arc::clone(&light), socket.to_owned());
    let camera = thread::spawn(move || {
        let mut writer = BlockWriter::begin(connect(&socket), &header()).unwrap();
        for number in 0.. {
            let light = seen.load(Ordering::Relaxed);
            let levels = [3 + light, 5 + light / 2].into_iter().cycle();
            let block = LineBlock {
                first_line: 128 * number,
                pixels: &levels.take(128 * WIDTH).collect::<Vec<_>>(),
                timestamp: Duration::ZERO,
                encoder: None,
            };
            // Until nobody listens any more.
            if writer.write(&block).is_err() {
                break;
            }
            thread::sleep(Duration::from_millis(2));
        }
    });
    let mut input = child.stdin.take();
    let mut errors = BufReader::new(child.stderr.take().unwrap());
    let mut told = String::new();
    let mut lights = lights.iter();
    while errors.read_line(&mut told).unwrap() > 0 {
        if !told.ends_with("press Enter.\n") {
            continue;
        }
        match lights.next() {
            Some(next) => {
                light.store(*next, Ordering::Relaxed);
                // What is on its way was seen by the light before.
                thread::sleep(Duration::from_millis(500));
                let _ = input.as_mut().unwrap().write_all(b"\n");
            }
            None => input = None,
        }
    }
    let (made, went_well, _) = summary(child);
    camera.join().unwrap();
    (made, went_well, words(&told))
}

#[test]
fn a_flat_field_is_recorded_and_belongs_to_its_scan_direction() {
    let (folder, socket) = station(true);
    let flat_field = folder.path().join("flat.json");
    let (_, went_well, errors) = record_flat_field(folder.path(), &socket, &[100]);
    assert!(!went_well && errors.contains("not dark"), "{errors}");
    let (_, went_well, errors) = record_flat_field(folder.path(), &socket, &[0, 230]);
    assert!(!went_well && errors.contains("80 %"), "{errors}");
    // Nobody presses Enter a second time.
    let (_, went_well, errors) = record_flat_field(folder.path(), &socket, &[0]);
    assert!(!went_well && errors.contains("has ended"), "{errors}");
    assert!(!flat_field.exists());
    let (made, went_well, errors) = record_flat_field(folder.path(), &socket, &[0, 180]);
    assert!(went_well, "{errors}");
    assert_eq!(made["brightest"], 183.0, "{made}");
    let file: Value = serde_json::from_slice(&std::fs::read(&flat_field).unwrap()).unwrap();
    assert_eq!(
        (&file["dark"][0], &file["dark"][1]),
        (&3.0.into(), &5.0.into())
    );
    assert_eq!(
        (&file["white"][0], &file["white"][1]),
        (&183.0.into(), &95.0.into())
    );
    assert_eq!(
        file["taken"]["scan_direction"], "forward",
        "{}",
        file["taken"]
    );

    let path = folder.path().join("station.toml");
    let mut used = Station::load(&path).unwrap();
    used.flat_field = Some(FlatField {
        file: flat_field.clone(),
    });
    let lines_of = |station: &Station| {
        std::fs::write(&path, station.to_toml().unwrap()).unwrap();
        let run = run(folder.path());
        let mut writer = BlockWriter::begin(connect(&socket), &header()).unwrap();
        blocks(&mut writer, (0..4).map(|number| number * 128));
        writer.end().unwrap();
        summary(run)
    };
    used.camera.exposure_us /= 2.0;
    let (whole, went_well, errors) = lines_of(&used);
    assert!(went_well, "{whole}{errors}");
    let notices = whole["notices"].to_string();
    assert!(notices.contains("exposure of 10 µs"), "{notices}");

    used.optics.scan_direction = ScanDirection::Reverse;
    std::fs::write(&path, used.to_toml().unwrap()).unwrap();
    let refused = run(folder.path());
    let _camera = BlockWriter::begin(connect(&socket), &header()).unwrap();
    let (_, went_well, errors) = summary(refused);
    assert!(!went_well, "{errors}");
    for part in [
        "flat.json",
        "\"forward\"",
        "\"reverse\"",
        "flat-field record",
    ] {
        assert!(errors.contains(part), "{part}: {errors}");
    }
}
