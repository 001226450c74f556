//! A fake GigE Vision camera: its pixels, its numbers, what becomes of lost packets, and of
//! a camera that is switched off.
#![allow(clippy::unwrap_used)]
#![cfg(feature = "genicam")]

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use chunk_camera::{COUNTS_PER_LINE, ChunkCamera, FIRST_COUNT, HEIGHT, LINE_STATUS};
use fake_camera::{
    ADDRESS, FIRST_ID, FakeCamera, ID, alone, assert_pixels, id_of, next, settings, start,
};
use millsight_firmware_config::{FeatureValue, PixelFormat, Source, Station};
use millsight_runtime::source::camera::FrameShape;
use millsight_runtime::source::genicam::camera::{Camera, Settings};
use millsight_runtime::source::genicam::chunks::ChunkNames;
use millsight_runtime::source::genicam::offered::Range;
use millsight_runtime::source::genicam::reception::StreamSettings;
use millsight_runtime::source::genicam::stream::Stream;
use millsight_runtime::source::genicam::{Error, GenicamSettings, devices, open};
use millsight_runtime::source::{Event, Source as _};
use serde_json::Value;

#[path = "support/chunk_camera.rs"]
mod chunk_camera;
#[path = "support/fake_camera.rs"]
mod fake_camera;

#[test]
fn lines_are_as_the_camera_draws_them() {
    let Some(_camera) = FakeCamera::start(0) else {
        return;
    };
    let mut stream = start(256, 50.0);
    let (mut lines, mut due, mut last_time) = (0, 0, Duration::ZERO);
    // The ids start again at 1 after 135 frames.
    while lines < 40_000 {
        let frame = next(&mut stream);
        assert!(frame.number >= due, "{} after {due}", frame.number);
        assert_eq!(frame.id, id_of(frame.number, FIRST_ID));
        due = frame.number + 1;
        // A busy computer may lose packets, the first of a stream most of all.
        if frame.damage.is_none() {
            lines += assert_pixels(&stream, &frame);
        }
        assert!(frame.timestamp > last_time);
        assert!(frame.received.abs_diff(frame.timestamp) < Duration::from_secs(2));
        last_time = frame.timestamp;
        stream.give_back(frame);
    }
    assert!(due > 135);
    let statistics = stream.statistics();
    assert!(statistics.completed >= lines as u64 / 256, "{statistics:?}");
    assert_eq!(statistics.underruns, 0);
}

#[test]
fn lost_packets_leave_damaged_frames_and_gaps_at_their_places() {
    const FRAMES: u64 = 400;
    // Four packets of pixels in a frame, the one before them has its id. One of 20 is lost.
    let Some(_camera) = FakeCamera::start(50) else {
        return;
    };
    let mut stream = start(8, 200.0);
    let (mut whole, mut damaged, mut gaps) = (BTreeSet::new(), 0, 0);
    let (mut first_id, mut due) = (None, 0);
    while due < FRAMES {
        let frame = next(&mut stream);
        let first_id = *first_id.get_or_insert(frame.id);
        assert_eq!(frame.id, id_of(frame.number, first_id));
        assert!(frame.number >= due, "{} after {due}", frame.number);
        gaps += frame.number - due;
        due = frame.number + 1;
        match &frame.damage {
            Some(damage) => {
                // In time, unless the computer was busy with something else.
                let is_known = ["MissingPackets", "Timeout"].map(|status| damage.contains(status));
                assert!(is_known.contains(&true), "{damage}");
                assert!(stream.pixels(&frame).is_empty());
                damaged += 1;
            }
            None => {
                assert_eq!(assert_pixels(&stream, &frame), 8);
                whole.insert(frame.number);
            }
        }
        stream.give_back(frame);
    }
    assert_eq!(whole.len() as u64 + damaged + gaps, due);
    let statistics = stream.statistics();
    // Each id that is lost is a gap; whole frames are hardly ever lost.
    assert!(
        gaps >= statistics.without_number.saturating_sub(1),
        "{gaps}, {statistics:?}"
    );
    assert!(
        statistics.failed >= damaged + statistics.without_number,
        "{statistics:?}"
    );
    assert!(
        statistics.missing_packets >= statistics.failed,
        "{statistics:?}"
    );
    // A quarter of the frames loses one packet of six, and a twentieth its id.
    assert!(damaged > FRAMES / 10 && damaged < FRAMES / 2, "{damaged}");
    assert!(gaps > 0 && gaps < FRAMES / 5, "{gaps}");
}

#[test]
fn deep_pixels_and_frames_without_buffers() {
    let Some(_camera) = FakeCamera::start(0) else {
        return;
    };
    let camera = Camera::open(ID).unwrap();
    let deep = Settings {
        pixel_format: "Mono16".to_owned(),
        ..settings(16, 100.0)
    };
    let (layout, _) = camera.set_up(&deep).unwrap();
    assert_eq!((layout.bits_per_pixel, layout.payload), (16, 2 * 4096 * 16));
    let few = StreamSettings {
        buffers: 2,
        ..fake_camera::stream_settings()
    };
    let (mut stream, _) = Stream::new(camera, layout, &few).unwrap();
    stream.run().unwrap();
    let held = [next(&mut stream), next(&mut stream)];
    let pixels = stream.pixels(&held[1]);
    assert_eq!(
        (held[1].lines, held[1].bytes_per_line, pixels.len()),
        (16, 8192, 131_072)
    );
    let sample = |index: usize| u16::from_le_bytes([pixels[2 * index], pixels[2 * index + 1]]);
    let expected = |index: u64| (256 * (index + held[1].id) % 65_535) as u16;
    assert_eq!(
        [sample(0), sample(1), sample(300)],
        [0, 1, 300].map(expected)
    );
    // Both buffers are held: what comes now is lost.
    thread::sleep(Duration::from_millis(200));
    assert!(stream.wait(Duration::ZERO).unwrap().is_none());
    assert!(stream.statistics().underruns > 0);
    let last = held[1].number;
    for frame in held {
        stream.give_back(frame);
    }
    let frame = next(&mut stream);
    assert!(frame.number > last + 10, "{} after {last}", frame.number);
}

/// Waits until the camera is gone; tells how long after its last frame that was.
fn until_gone(stream: &mut Stream) -> Duration {
    let mut last_frame = Instant::now();
    loop {
        match stream.wait(Duration::from_millis(100)) {
            Ok(Some(frame)) => {
                last_frame = Instant::now();
                stream.give_back(frame);
            }
            Ok(None) => assert!(last_frame.elapsed() < Duration::from_secs(30)),
            Err(error) => {
                assert!(matches!(error, Error::Gone { .. }), "{error}");
                return last_frame.elapsed();
            }
        }
    }
}

#[test]
fn a_camera_is_listed_and_opened_by_each_of_its_names() {
    let Some(_camera) = FakeCamera::start(0) else {
        return;
    };
    let listed = devices::list();
    let found = listed.iter().find(|camera| camera.id == ID).unwrap();
    let (vendor, model) = (found.vendor.as_str(), found.model.as_str());
    assert_eq!(
        (vendor, model, found.serial.as_str()),
        ("Aravis", "Fake", "T01")
    );
    assert_eq!(
        (found.protocol.as_str(), found.address.as_str()),
        ("GigEVision", ADDRESS)
    );
    for name in [ID, "T01", ADDRESS] {
        let camera = Camera::open(name).unwrap();
        assert_eq!(camera.identity().serial, "T01");
    }
    let error = Camera::open("of-nobody").unwrap_err();
    assert!(matches!(error, Error::Missing { .. }), "{error}");
}

#[test]
fn formats_and_features_are_checked() {
    let Some(_camera) = FakeCamera::start(0) else {
        return;
    };
    let camera = Camera::open(ADDRESS).unwrap();
    let offered = camera.offered().unwrap();
    assert!(offered.pixel_formats.iter().any(|format| format == "Mono8"));
    let (least, step) = (1, 1);
    let range = |most| Range { least, most, step };
    assert_eq!(
        (offered.width, offered.height),
        (range(16_384), range(2048))
    );
    assert_eq!(offered.line_rates.unwrap().feature, "AcquisitionFrameRate");

    let mut asked = settings(256, 30.0);
    let further = [
        ("TestBoolean", FeatureValue::Boolean(true)),
        ("GainRaw", FeatureValue::Integer(3)),
        ("ExposureTimeAbs", FeatureValue::Integer(5000)),
        ("GainAuto", FeatureValue::Text("Once".to_owned())),
        (
            "TriggerSelector",
            FeatureValue::Text("FrameStart".to_owned()),
        ),
    ];
    for (name, value) in &further {
        asked.features.insert((*name).to_owned(), value.clone());
    }
    let (layout, notices) = camera.set_up(&asked).unwrap();
    assert_eq!(
        (layout.width, layout.height, notices),
        (4096, 256, Vec::new())
    );
    assert_eq!(
        camera.feature("GainRaw").unwrap(),
        Some(FeatureValue::Integer(3))
    );
    let exposure = camera.feature("ExposureTimeAbs").unwrap();
    assert_eq!(exposure, Some(FeatureValue::Float(5000.0)));

    let refused = [
        (
            "GainRaw",
            FeatureValue::Integer(11),
            "11 is not from 0 to 10",
        ),
        ("GainRaw", FeatureValue::Boolean(true), "a whole number"),
        (
            "ExposureTimeAbs",
            FeatureValue::Float(1.0),
            "1 is not from 10",
        ),
        (
            "GainAuto",
            FeatureValue::Text("Never".to_owned()),
            "Off, Once, Continuous",
        ),
        ("Gain3", FeatureValue::Integer(0), "none of this name"),
    ];
    for (name, value, reason) in refused {
        let mut asked = settings(256, 30.0);
        asked.features.insert(name.to_owned(), value);
        let error = camera.set_up(&asked).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, Error::Feature { .. }), "{text}");
        assert!(text.contains(name) && text.contains(reason), "{text}");
    }
    let error = camera
        .set_up(&settings(4000, 30.0))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("Height") && error.contains("2048"),
        "{error}"
    );
    // It exposes for whole microseconds.
    let mut rounded = settings(256, 30.0);
    let exposure = ("ExposureTimeAbs".to_owned(), FeatureValue::Float(10.7));
    rounded.features.extend([exposure]);
    let (_, notices) = camera.set_up(&rounded).unwrap();
    assert_eq!(notices.len(), 1, "{notices:?}");
    assert!(
        notices[0].contains("ExposureTimeAbs") && notices[0].contains("instead of 10.7"),
        "{notices:?}"
    );
}

#[test]
fn a_camera_that_another_controls_is_busy() {
    let Some(_camera) = FakeCamera::start(0) else {
        return;
    };
    let stream = start(256, 20.0);
    let error = Camera::open(ADDRESS).unwrap_err();
    assert!(matches!(error, Error::Busy { .. }), "{error}");
    drop(stream);
    Camera::open(ADDRESS).unwrap();
}

#[test]
fn a_camera_that_was_restarted_is_gone_and_opened_anew() {
    let Some(mut camera) = FakeCamera::start(0) else {
        return;
    };
    let mut stream = start(256, 20.0);
    let frame = next(&mut stream);
    stream.give_back(frame);
    camera.restart();
    let gone = until_gone(&mut stream);
    eprintln!("restarted: gone {gone:?} after the last frame");
    assert!(gone < Duration::from_secs(10), "{gone:?}");
    // A moment later another stream of the same camera runs, and the old one is closed.
    let old = thread::spawn(move || drop(stream));
    let mut stream = start(256, 20.0);
    old.join().unwrap();
    for _ in 0..5 {
        let frame = next(&mut stream);
        if frame.damage.is_none() {
            assert_pixels(&stream, &frame);
        }
        stream.give_back(frame);
    }
}

#[test]
fn a_camera_without_power_is_gone_and_opened_when_it_is_back() {
    let Some(mut camera) = FakeCamera::start(0) else {
        return;
    };
    let mut stream = start(256, 20.0);
    let frame = next(&mut stream);
    stream.give_back(frame);
    camera.kill();
    let gone = until_gone(&mut stream);
    assert!(gone < Duration::from_secs(20), "{gone:?}");
    let begun = Instant::now();
    let old = thread::spawn(move || {
        drop(stream);
        begun.elapsed()
    });
    let error = Camera::open(ADDRESS).unwrap_err();
    assert!(matches!(error, Error::Missing { .. }), "{error}");
    let failed = begun.elapsed();
    camera.restart();
    let mut stream = start(256, 20.0);
    let frame = next(&mut stream);
    stream.give_back(frame);
    let closed = old.join().unwrap();
    eprintln!("no power: gone after {gone:?}, not there {failed:?}, closed {closed:?}");
    for _ in 0..5 {
        let frame = next(&mut stream);
        stream.give_back(frame);
    }
}

#[test]
fn a_run_outlives_its_camera() {
    let Some(mut camera) = FakeCamera::start(0) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let mut station = Station::ready("demo").unwrap();
    station.camera.line_rate_hz = 5120.0;
    station.camera.exposure_us = 100.0;
    station.source = Source::Genicam {
        camera: ADDRESS.into(),
        frame_lines: 256,
        buffers: 32,
        socket_buffer_mib: 8,
        resend: false,
        features: [("AcquisitionFrameRate".to_owned(), FeatureValue::Float(20.0))].into(),
        encoder: None,
        line_status_chunk: None,
    };
    std::fs::write(
        folder.path().join("station.toml"),
        station.to_toml().unwrap(),
    )
    .unwrap();
    let run = Command::new(assert_cmd::cargo::cargo_bin("millsight"))
        .current_dir(folder.path())
        .args([
            "--json",
            "run",
            "--station",
            "station.toml",
            "--out",
            "record",
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    thread::sleep(Duration::from_secs(6));
    camera.kill();
    thread::sleep(Duration::from_secs(9));
    camera.restart();
    thread::sleep(Duration::from_secs(9));
    let interrupt = Command::new("kill")
        .args(["-INT", &run.id().to_string()])
        .status();
    assert!(interrupt.unwrap().success());
    let output = run.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    let summary: Value = serde_json::from_str(text.lines().last().unwrap_or_default())
        .unwrap_or_else(|error| panic!("{error}: {text}{errors}"));
    let count = |pointer: &str| summary.pointer(pointer).and_then(Value::as_u64).unwrap();
    assert_eq!(count("/camera/losses"), 1, "{summary}");
    assert_eq!(summary["camera"]["is_there"], true, "{summary}");
    let whole = count("/camera/frames") - count("/camera/damaged_frames");
    // Of the last frame the run may take a part before it is stopped.
    let left = (whole * 256).checked_sub(count("/lines/in"));
    assert!(left.is_some_and(|left| left <= 256), "{summary}");
    let away = summary["camera"]["seconds_away"].as_f64().unwrap();
    assert!((8.0..30.0).contains(&away), "{summary}");
    // What was missing in the meantime is estimated, and frames that were lost are added.
    assert!(
        count("/lines/missing") >= (8.0 * 5120.0) as u64,
        "{summary}"
    );
    let states = ["background", "cleared", "judged", "unjudged"];
    let settled: u64 = states
        .iter()
        .map(|state| count(&format!("/tiles/{state}")))
        .sum();
    assert_eq!(settled, count("/tiles/total"), "{summary}");
}

fn chunks(line_status: &str) -> GenicamSettings {
    GenicamSettings {
        camera: ADDRESS.to_owned(),
        shape: FrameShape {
            pixel_format: PixelFormat::Mono8,
            window: None,
            pixels_per_line: 1024,
            frame_lines: HEIGHT as u32,
        },
        features: [].into(),
        chunks: ChunkNames {
            encoder: Some("EncoderValue".to_owned()),
            line_status: Some(line_status.to_owned()),
        },
        lines_per_count: Some(1.0 / COUNTS_PER_LINE as f64),
        stream: fake_camera::stream_settings(),
    }
}

#[test]
fn encoder_and_input_lines_come_with_the_frames() {
    let _alone = alone();
    let _camera = ChunkCamera::start();
    let error = open(chunks("CounterValue"), 6400.0).err().unwrap();
    let told = error.to_string();
    assert!(
        told.contains("ChunkSelector") && told.contains("EncoderValue, LineStatusAll"),
        "{told}"
    );
    let (mut source, notices) = open(chunks("LineStatusAll"), 6400.0).unwrap();
    assert!(
        notices.iter().all(|notice| notice.contains("rmem_max")),
        "{notices:?}"
    );
    let (mut blocks, begun) = (0, Instant::now());
    while blocks < 20 {
        assert!(begun.elapsed() < Duration::from_secs(20));
        let Event::Lines(block) = source.next_event().unwrap() else {
            continue;
        };
        let frame = block.first_line as i64 / HEIGHT as i64;
        assert!(block.pixels.iter().all(|&pixel| pixel == frame as u8));
        let span = block.encoder.unwrap();
        // Three counts are a line of the material, which began at -1000 of them.
        let place =
            |line: i64| ((FIRST_COUNT + COUNTS_PER_LINE * line) as f64 / 3.0).round() as i64;
        assert_eq!(span.first, place(block.first_line as i64));
        // How fast the material moves shows with the second frame.
        if blocks > 0 {
            assert_eq!(span.last, span.first + HEIGHT as i64 - 1);
        }
        blocks += 1;
    }
    let counts = source.camera().unwrap();
    assert_eq!(counts.line_status, Some(LINE_STATUS.into()));
    assert_eq!(counts.damaged_frames, 0, "{counts:?}");
}
