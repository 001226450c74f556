//! What holds for every station and every text.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::path::PathBuf;

use miette::{GraphicalReportHandler, GraphicalTheme, Severity};
use millsight_firmware_config::{
    Camera, Cores, Deadlines, EncoderChunk, Engine, EngineChoice, FeatureValue, FlatField,
    HIGHEST_CORE, KeepImages, LevelWindow, Material, MaterialDetection, MaterialKind, Model,
    Optics, Pace, PixelFormat, Provider, READY_STATIONS, Recording, ScanDirection, Screen, Source,
    Speed, Station, Trigger,
};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};

fn text() -> impl Strategy<Value = String> {
    "[ -~äµ→\"'\\\\#=]{0,20}x"
}

fn path() -> impl Strategy<Value = PathBuf> {
    text().prop_map(PathBuf::from)
}

prop_compose! {
    fn material()(
        kind in select(vec![MaterialKind::Strip, MaterialKind::Rod, MaterialKind::Wire]),
        max in 0.01..40.0f64,
        nominal in 0.1..=1.0f64,
        min in 0.0..=1.0f64,
        piece_id in "[a-zA-Z0-9 _.ü-]{0,20}1",
    ) -> Material {
        let nominal = max * nominal;
        let min = nominal * min;
        Material { kind, speed_m_per_s: Speed { min, nominal, max }, piece_id }
    }
}

prop_compose! {
    fn camera(maximum_speed: f64)(
        columns in 1usize..=32,
        line_rate_hz in 500.0..400_000.0f64,
        pixel_format in select(vec![
            PixelFormat::Mono8, PixelFormat::Mono10, PixelFormat::Mono12, PixelFormat::Mono16,
            PixelFormat::Rgb8, PixelFormat::Bgr8,
        ]),
        window in option::of((0..500u16, 501..1024u16)),
        exposure in 0.1..=1.0f64,
        encoder in option::of(0.1..=1.0f64),
    ) -> Camera {
        let lines_per_metre = |share: f64| (share * line_rate_hz / maximum_speed).min(1e6);
        Camera {
            pixels_per_line: columns * 512,
            line_rate_hz,
            pixel_format,
            window: window
                .filter(|_| pixel_format.bits() > 8)
                .map(|(black, white)| LevelWindow { black, white }),
            exposure_us: exposure * 1e6 / line_rate_hz,
            trigger: match encoder.map(lines_per_metre) {
                Some(lines_per_metre) if lines_per_metre >= 10.0 => {
                    Trigger::Encoder { lines_per_metre }
                }
                _ => Trigger::FreeRunning,
            },
        }
    }
}

fn features() -> impl Strategy<Value = BTreeMap<String, FeatureValue>> {
    let value = prop_oneof![
        any::<bool>().prop_map(FeatureValue::Boolean),
        any::<i64>().prop_map(FeatureValue::Integer),
        (0.001..1e6f64).prop_map(FeatureValue::Float),
        text().prop_map(FeatureValue::Text),
    ];
    btree_map("[A-Za-z]{1,12}", value, 0..3)
}

fn source() -> impl Strategy<Value = Source> {
    let pace = || select(vec![Pace::LineRate, Pace::Unpaced]);
    prop_oneof![
        (
            0..=i64::MAX as u64,
            0.01..100_000.0f64,
            pace(),
            any::<bool>()
        )
            .prop_map(|(seed, metres, pace, drawn_beforehand)| Source::Simulator {
                seed,
                metres,
                pace,
                drawn_beforehand,
            }),
        (path(), pace()).prop_map(|(path, pace)| Source::Replay { path, pace }),
        (
            path(),
            1..=65_535u32,
            2..=64u32,
            btree_map("[a-z_]{1,12}", any::<i64>(), 0..3)
        )
            .prop_map(|(device, frame_lines, buffers, controls)| Source::V4l2 {
                device,
                frame_lines,
                buffers,
                controls,
            }),
        (
            text(),
            (2..=256u32, 4..=256u32),
            any::<bool>(),
            features(),
            option::of((text(), 1.0..1e9)),
            option::of(text())
        )
            .prop_map(
                |(camera, (buffers, socket_buffer_mib), resend, features, encoder, status)| {
                    Source::Genicam {
                        camera,
                        frame_lines: 256,
                        buffers,
                        socket_buffer_mib,
                        resend,
                        features,
                        encoder: encoder.map(|(chunk, counts_per_metre)| EncoderChunk {
                            chunk,
                            counts_per_metre,
                        }),
                        line_status_chunk: status,
                    }
                }
            ),
        option::of(path()).prop_map(|socket| Source::Feed { socket }),
    ]
}

prop_compose! {
    fn engine()(
        name in select(vec![EngineChoice::Auto, EngineChoice::OnnxRuntime]),
        providers in select(vec![
            vec![Provider::Cpu],
            vec![Provider::Cuda, Provider::Cpu],
            vec![Provider::TensorRt, Provider::Cuda],
        ]),
        fallback in any::<bool>(),
        library in option::of(path()),
        half_precision in any::<bool>(),
        cache in option::of(path()),
        workers in option::of(1usize..=256),
        batch in 1usize..=256,
    ) -> Engine {
        Engine { name, providers, fallback, library, half_precision, cache, workers, batch }
    }
}

prop_compose! {
    fn equipment()(
        flat_field in option::of(path()),
        model in option::of((path(), option::of(path()))),
        screen in option::of(option::of((path(), option::of(path())))),
        thresholds in btree_map("[a-z_ .\"ß]{1,12}", 0.0..=1.0f32, 0..5),
        engine in engine(),
        detection in (any::<bool>(), any::<u8>(), 0.0..=1.0f32),
        recording in (path(), 0.1..1e6f64),
        keep_images in select(vec![KeepImages::Flagged, KeepImages::All, KeepImages::None]),
    ) -> Equipment {
        let model = match model {
            Some((file, sidecar)) => Model { file: Some(file), sidecar },
            None => Model::default(),
        };
        let (enabled, minimum_level, minimum_share) = detection;
        let (folder, disk_budget_gib) = recording;
        (
            flat_field.map(|file| FlatField { file }),
            model,
            screen.map(|screen| match screen {
                Some((file, sidecar)) => Screen { file: Some(file), sidecar },
                None => Screen::default(),
            }),
            thresholds,
            engine,
            MaterialDetection { enabled, minimum_level, minimum_share },
            Recording { folder, disk_budget_gib, keep_images },
        )
    }
}

prop_compose! {
    fn cores()(
        lines in option::of(0..=HIGHEST_CORE),
        classify in vec(0..=HIGHEST_CORE, 0..4),
        record in option::of(0..=HIGHEST_CORE),
    ) -> Cores {
        Cores { lines, classify, record }
    }
}

/// What stands behind the camera.
type Equipment = (
    Option<FlatField>,
    Model,
    Option<Screen>,
    BTreeMap<String, f32>,
    Engine,
    MaterialDetection,
    Recording,
);

prop_compose! {
    fn station()(material in material())(
        camera in camera(material.speed_m_per_s.max),
        material in Just(material),
        name in text(),
        description in ".{0,30}",
        mm_per_pixel in 0.001..10.0f64,
        scan_direction in select(vec![ScanDirection::Forward, ScanDirection::Reverse]),
        source in source(),
        equipment in equipment(),
        patience in 1.0..3.0f64,
        queue_rows in 2usize..=248,
        cores in cores(),
    ) -> Station {
        let (flat_field, model, screen, thresholds, engine, material_detection, recording) =
            equipment;
        let mut station = Station {
            name,
            description,
            camera,
            optics: Optics { mm_per_pixel, scan_direction },
            material,
            source,
            flat_field,
            material_detection,
            model,
            screen,
            thresholds,
            engine,
            recording,
            deadlines: Deadlines { verdict_ms: 1.0, queue_rows },
            cores,
            web: None,
        };
        // What the source or a free camera cannot do is the subject of other tests.
        let speed = station.material.speed_m_per_s.nominal;
        if !(10.0..=1e6).contains(&station.lines_per_metre(speed)) {
            station.camera.trigger = Trigger::FreeRunning;
            station.camera.line_rate_hz = (speed * 1000.0).clamp(500.0, 40_000.0);
            station.camera.exposure_us = 10.0;
        }
        station.thresholds.remove("no_defect");
        if let Source::Simulator { metres, drawn_beforehand, .. } = &mut station.source {
            let most = if *drawn_beforehand { 0.2 } else { f64::INFINITY };
            *metres = metres.clamp(0.1, most);
        }
        let row_ms = station.row_duration().as_secs_f64() * 1000.0;
        station.deadlines.verdict_ms = (patience * row_ms).clamp(1.0, 3_600_000.0);
        station
    }
}

/// Reads `text`; what is said of it can be shown and names a remedy.
fn read(text: &str) -> Result<Station, Vec<String>> {
    Station::parse(text, "station.toml").map_err(|error| {
        let handler = GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor());
        let mut shown = String::new();
        handler.render_report(&mut shown, &error).unwrap();
        assert!(!error.problems().is_empty());
        for problem in error.problems() {
            assert_eq!(problem.severity, Severity::Error);
            assert!(!problem.message.is_empty() && !problem.remedy.is_empty());
            assert!(!shown.contains("Failed to read"), "{shown}");
        }
        let keys = error.problems().iter().map(|problem| problem.key.clone());
        keys.collect()
    })
}

proptest! {
    #[test]
    fn a_station_is_the_same_after_writing_and_reading(station in station()) {
        let text = station.to_toml().unwrap();
        let again = Station::parse(&text, "station.toml")
            .map_err(|error| TestCaseError::fail(format!("{text}\n{:?}", miette::Report::new(error))))?;
        prop_assert_eq!(&again, &station);
        prop_assert_eq!(again.to_toml().unwrap(), text);
    }

    #[test]
    fn any_text_is_read_or_refused_with_a_reason(text in any::<String>()) {
        prop_assert!(read(&text).is_err());
    }

    #[test]
    fn a_spoiled_station_is_read_or_refused_with_a_reason(
        ready in select(READY_STATIONS.to_vec()),
        from in any::<Index>(),
        length in 0usize..30,
        replacement in "[\\x20-\\x7eä\\n]{0,8}",
    ) {
        let characters: Vec<char> = ready.1.chars().collect();
        let from = from.index(characters.len());
        let to = (from + length).min(characters.len());
        let text: String = characters[..from].iter().copied()
            .chain(replacement.chars())
            .chain(characters[to..].iter().copied())
            .collect();
        if let Ok(station) = read(&text) {
            prop_assert!(station.columns() >= 1);
        }
    }

    #[test]
    fn a_value_of_the_wrong_type_is_refused_once_and_by_its_key(
        ready in select(READY_STATIONS.to_vec()),
        which in any::<Index>(),
    ) {
        let lines: Vec<&str> = ready.1.lines().collect();
        let assigned: Vec<usize> = (0..lines.len())
            .filter(|line| lines[*line].contains(" = ") && !lines[*line].starts_with('#'))
            .collect();
        let changed = assigned[which.index(assigned.len())];
        let key = lines[changed].split(" = ").next().unwrap();
        let section = lines[..changed].iter().rev().find_map(|line| line.strip_prefix('['));
        let dotted = match section {
            Some(section) => format!("{}.{key}", section.split(']').next().unwrap()),
            None => key.to_owned(),
        };
        // No key of a station is a date.
        let date = format!("{key} = 1979-05-27");
        let text: Vec<&str> = (0..lines.len())
            .map(|line| if line == changed { date.as_str() } else { lines[line] })
            .collect();
        prop_assert_eq!(read(&text.join("\n")), Err(vec![dotted]));
    }

    #[test]
    fn the_rate_that_the_encoder_asks_for_is_enough(
        lines_per_metre in 100.0..20_000.0f64,
        speed in 1.0..15.0f64,
    ) {
        let mut station = Station::ready("strip").unwrap();
        station.camera.line_rate_hz = 100.0;
        station.camera.exposure_us = 0.5;
        station.camera.trigger = Trigger::Encoder { lines_per_metre };
        station.material.speed_m_per_s = Speed { min: 0.5, nominal: 1.0, max: speed };
        station.deadlines.verdict_ms = 60_000.0;
        prop_assume!(lines_per_metre * speed > 101.0);
        let error = Station::parse(&station.to_toml().unwrap(), "strip.toml").unwrap_err();
        let [problem] = error.problems() else {
            return Err(TestCaseError::fail(format!("{error:?}")));
        };
        let asked = problem.remedy.split("at least ").nth(1).unwrap();
        station.camera.line_rate_hz = asked.split(',').next().unwrap().parse().unwrap();
        prop_assert!(Station::parse(&station.to_toml().unwrap(), "strip.toml").is_ok());
    }
}
