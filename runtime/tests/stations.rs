//! Stations as they are run: fallbacks, flat fields, notices, and `doctor`
//! with the eyes of a station.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::path::Path;

use image::GrayImage;
use millsight_firmware_config::{
    MAXIMUM_LINES_PER_METRE, MINIMUM_LINES_PER_METRE, MINIMUM_SIMULATED_LINE_RATE_HZ, Station,
};
use millsight_runtime::source::simulated::SimulatedSource;
use serde_json::Value;
use support::{adds_up, millsight, run, strip_png, text};

/// A ready station's text.
fn ready(name: &str) -> String {
    let output = millsight().args(["config", "show", name]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// Runs a station file with the record beside it.
fn run_station(path: &Path) -> (i32, Value, String) {
    let record = path.with_extension("record");
    run(&[
        "--json",
        "run",
        "--station",
        text(path),
        "--out",
        text(&record),
    ])
}

/// A short demonstration with sections added to it.
fn short_demo(path: &Path, sections: &str) {
    let demo = ready("demo").replace("metres = 19.6608", "metres = 0.15");
    fs::write(path, format!("{demo}\n{sections}")).unwrap();
}

fn notices(summary: &Value) -> String {
    summary["notices"].to_string()
}

#[test]
fn the_embedded_engine_stands_in_at_last() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("line.toml");
    let missing = "[engine]\nname = \"onnxruntime\"\nlibrary = \"missing.so\"\n";
    short_demo(&path, missing);
    let (code, _, message) = run_station(&path);
    assert_eq!(code, 1);
    assert!(message.contains("missing.so"), "{message}");
    short_demo(&path, &format!("{missing}fallback = true\n"));
    let (code, summary, message) = run_station(&path);
    assert_eq!(code, 0, "{message}");
    adds_up(&summary);
    assert!(message.contains("missing.so"), "it must be loud: {message}");
    assert!(notices(&summary).contains("missing.so"), "{summary}");

    let gpu = "[engine]\nproviders = [\"tensorrt\", \"cuda\"]\n";
    short_demo(&path, gpu);
    if run_station(&path).0 == 0 {
        // There is a GPU here, so that nothing has to stand in for it.
        return;
    }
    short_demo(&path, &format!("{gpu}fallback = true\n"));
    let (code, summary, message) = run_station(&path);
    assert_eq!(code, 0, "{message}");
    let stands_in = summary["engine"]["name"] == "embedded";
    assert!(
        stands_in || summary["engine"]["provider"] == "cuda",
        "{summary}"
    );
    assert!(notices(&summary).contains("tensorrt"), "{summary}");
}

#[test]
fn a_flat_field_is_made_and_used_as_the_template_says() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    // Every second pixel is half as sensitive and has an offset.
    let pattern = |x: u32, light: u32| {
        if x.is_multiple_of(2) {
            light
        } else {
            10 + light / 2
        }
    };
    for (name, light) in [("dark.png", 0), ("white.png", 200), ("strip.png", 100)] {
        let level = |x, _| image::Luma([pattern(x, light) as u8]);
        GrayImage::from_fn(1024, 512, level)
            .save(file(name))
            .unwrap();
    }
    let (dark, white, out) = (file("dark.png"), file("white.png"), file("flat-field.json"));
    let strips = ["--dark", text(&dark), "--white", text(&white)];
    let mut arguments = vec!["--json", "flat-field"];
    arguments.extend(strips);
    arguments.extend(["--out", text(&out)]);
    let (code, made, message) = run(&arguments);
    assert_eq!(code, 0, "{message}");
    assert_eq!(made["pixels"], 1024);
    let reference: Value = serde_json::from_slice(&fs::read(&out).unwrap()).unwrap();
    assert_eq!(reference["dark"][1], 10.0);
    assert_eq!(reference["white"][0], 200.0);
    assert_eq!(reference["target"], 155.0);

    let template = ready("replay");
    let taken = template
        .replace("# [flat_field]", "[flat_field]")
        .replace("# file = \"flat-field.json\"", "file = \"flat-field.json\"");
    let station = file("line.toml");
    fs::write(&station, &taken).unwrap();
    let parsed = Station::load(&station).unwrap();
    assert_eq!(parsed.flat_field.unwrap().file, out);
    let (code, summary, message) = run_station(&station);
    assert_eq!(code, 0, "{message}");
    adds_up(&summary);
    assert_eq!(summary["tiles"]["total"], 2);
    // The template's camera has another width than the strip.
    assert!(notices(&summary).contains("1024 pixels"), "{summary}");

    // White that is no brighter than dark corrects nothing.
    let same = ["--dark", text(&white), "--white", text(&white)];
    let mut arguments = vec!["flat-field"];
    arguments.extend(same);
    arguments.extend(["--out", text(&out)]);
    support::fails_with(&arguments, &["white.png", "pixel 0", "clean the lens"]);
}

#[test]
fn what_is_doubtful_about_a_station_is_a_notice_of_its_run() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("line.toml");
    short_demo(&path, "[engine]\nname = \"embedded\"\n");
    let doubtful = fs::read_to_string(&path).unwrap();
    fs::write(&path, doubtful.replace("\"flagged\"", "\"none\"")).unwrap();
    let (code, summary, message) = run_station(&path);
    assert_eq!(code, 0, "{message}");
    assert!(notices(&summary).contains("keep_images"), "{summary}");
    // Found and rightly named are two things.
    let truth = &summary["truth"];
    let count = |name: &str| truth[name].as_u64().unwrap();
    assert!(count("defects_named") <= count("defects_flagged"));
    assert!(count("defects_flagged") <= count("defects"));
}

#[test]
fn what_a_station_may_ask_of_the_simulator_is_what_it_draws() {
    let least = MINIMUM_SIMULATED_LINE_RATE_HZ;
    for (rate, lines_per_metre, width) in [
        (least, MINIMUM_LINES_PER_METRE, 10.0),
        (400_000.0, MAXIMUM_LINES_PER_METRE, 0.001),
    ] {
        let speed = rate / lines_per_metre;
        let metres = 1.0 / lines_per_metre;
        let description = format!(
            "name = \"limits\"\n\
             [camera]\nline_rate_hz = {rate}\nexposure_us = 1\npixels_per_line = 512\n\
             [optics]\nmm_per_pixel = {width}\n\
             [material]\nkind = \"strip\"\n\
             speed_m_per_s = {{ min = {speed}, nominal = {speed}, max = {speed} }}\n\
             [source]\nkind = \"simulator\"\nmetres = {}\n\
             [deadlines]\nverdict_ms = 10000\n",
            metres.max(0.01)
        );
        let station = Station::parse(&description, "limits.toml").unwrap();
        if let Err(error) = SimulatedSource::new(&station) {
            panic!("{rate} lines/s, {lines_per_metre} lines/m: {error}");
        }
    }
}

/// What `doctor` finds about a topic, and its exit code.
fn doctor(station: &Path) -> (i32, Vec<Value>) {
    let (code, findings, message) = run(&["--json", "doctor", "--station", text(station)]);
    let findings = findings.as_array().unwrap_or_else(|| panic!("{message}"));
    (code, findings.clone())
}

fn about<'a>(findings: &'a [Value], topic: &str) -> Vec<(&'a str, &'a str)> {
    let about = findings.iter().filter(|finding| finding["topic"] == topic);
    let field = |finding: &'a Value, name: &str| finding[name].as_str().unwrap();
    about
        .map(|finding| (field(finding, "status"), field(finding, "text")))
        .collect()
}

#[test]
fn doctor_tries_everything_that_a_station_names() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("line.toml");
    short_demo(&path, "[engine]\nname = \"embedded\"\n");
    let (code, findings) = doctor(&path);
    assert_eq!(code, 0, "{findings:?}");
    assert!(
        about(&findings, "engine")[0]
            .1
            .starts_with("in use: embedded")
    );
    for topic in ["station", "model", "decide", "source", "record", "disk"] {
        assert_eq!(about(&findings, topic)[0].0, "ok", "{topic}: {findings:?}");
    }
    // Looking leaves nothing behind.
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);

    fs::write(folder.path().join("file"), b"").unwrap();
    strip_png(&folder.path().join("narrow.png"), 300, 20);
    let spoiled = "name = \"spoiled\"\n\
         [camera]\nline_rate_hz = 6000\n[optics]\nmm_per_pixel = 0.3\n\
         [material]\nkind = \"strip\"\nspeed_m_per_s = { min = 1, nominal = 1.8, max = 2 }\n\
         [source]\nkind = \"replay\"\npath = \"narrow.png\"\n\
         [flat_field]\nfile = \"missing.json\"\n\
         [thresholds]\ncrack = 0.5\n\
         [engine]\nname = \"onnxruntime\"\nlibrary = \"missing.so\"\n\
         [recording]\nfolder = \"file/record\"\ndisk_budget_gib = 1000000\n";
    fs::write(&path, spoiled).unwrap();
    let (code, findings) = doctor(&path);
    assert_eq!(code, 1);
    for (topic, part) in [
        ("decide", "`crack`"),
        ("source", "300 pixels"),
        ("flat field", "missing.json"),
        ("engine", "missing.so"),
        ("record", "file"),
    ] {
        let (status, text) = about(&findings, topic)[0];
        assert_eq!(status, "problem", "{topic}: {findings:?}");
        assert!(text.contains(part), "{text}");
    }
    let budget = about(&findings, "disk");
    let (status, text) = budget.last().unwrap();
    assert!(
        *status == "note" && text.contains("disk_budget_gib"),
        "{text}"
    );

    fs::write(&path, "name = 3").unwrap();
    let (code, findings) = doctor(&path);
    assert_eq!(code, 1);
    assert_eq!(about(&findings, "station")[0].0, "problem");
}
