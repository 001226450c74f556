//! Files that cannot be read, and stations that are not there.

use std::error::Error;
use std::fs;

use miette::Diagnostic;
use millsight_firmware_config::{Station, StationError};
use tempfile::TempDir;

use crate::rendering::{STATION, rendered};

/// What is said of a file with these bytes, its folder written as `FOLDER`.
fn said_of(bytes: &[u8]) -> String {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("station.toml");
    fs::write(&path, bytes).unwrap();
    let error = Station::load(&path).unwrap_err();
    rendered(&error).replace(&folder.path().display().to_string(), "FOLDER")
}

#[test]
fn a_file_that_is_not_there() {
    let folder = TempDir::new().unwrap();
    let error = Station::load(folder.path().join("none.toml")).unwrap_err();
    let message = error.to_string();
    assert!(
        message.starts_with("cannot read the station file `"),
        "{message}"
    );
    assert!(message.ends_with("none.toml`"), "{message}");
    assert!(error.source().unwrap().to_string().contains("No such file"));
    assert_eq!(
        error.help().unwrap().to_string(),
        "Name a TOML file that exists and that you may read; `stations/` has ready ones to copy."
    );
    assert!(error.problems().is_empty());
}

#[test]
fn a_folder_is_no_file() {
    let folder = TempDir::new().unwrap();
    let error = Station::load(folder.path()).unwrap_err();
    assert!(matches!(error, StationError::Read { .. }));
    assert!(error.source().unwrap().to_string().contains("directory"));
}

#[test]
fn an_empty_file() {
    assert_eq!(
        said_of(b" \n"),
        "  × the station `FOLDER/station.toml` cannot be used: 1 problem\n\n\
         Error:\n  \
         × the file is empty\n  \
         help: Copy a ready station from `stations/` and change it."
    );
}

#[test]
fn a_file_that_is_not_text() {
    let message = said_of(b"name = \"\xff\"");
    assert!(
        message.contains("stream did not contain valid UTF-8"),
        "{message}"
    );
}

#[test]
fn a_file_that_is_far_too_long() {
    let message = said_of(&vec![b'#'; (1 << 20) + 1]);
    assert!(message.contains("longer than 1048576 bytes"), "{message}");
}

#[test]
fn problems_name_the_file_and_its_line() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("station.toml");
    fs::write(&path, STATION.replace("0.3", "-1")).unwrap();
    let error = Station::load(&path).unwrap_err();
    let [problem] = error.problems() else {
        panic!("{error:?}");
    };
    assert_eq!(problem.key, "optics.mm_per_pixel");
    assert_eq!(problem.line(), Some(7));
    assert!(rendered(&error).contains("station.toml:7:1]"));
}

#[test]
fn relative_paths_start_at_the_folder_of_the_file() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("station.toml");
    let keys = "[source]\nkind = \"replay\"\npath = \"strip.png\"\n\
                [flat_field]\nfile = \"/etc/flat.png\"\n\
                [model]\nfile = \"m.onnx\"\nsidecar = \"m.toml\"\n\
                [screen]\nfile = \"s.onnx\"\nsidecar = \"s.toml\"\n\
                [engine]\nlibrary = \"libonnxruntime.so\"\ncache = \"engines\"\n";
    let text = STATION.replace("[source]\nkind = \"simulator\"\n", keys);
    fs::write(&path, &text).unwrap();

    let mut written = Station::parse(&text, "station.toml").unwrap();
    let loaded = Station::load(&path).unwrap();
    assert_ne!(written, loaded);
    written.resolve_paths(folder.path());
    assert_eq!(written, loaded);

    assert_eq!(loaded.recording.folder, folder.path().join("record"));
    assert_eq!(loaded.model.file, Some(folder.path().join("m.onnx")));
    assert_eq!(loaded.model.sidecar, Some(folder.path().join("m.toml")));
    let screen = loaded.screen.unwrap();
    assert_eq!(screen.file, Some(folder.path().join("s.onnx")));
    assert_eq!(screen.sidecar, Some(folder.path().join("s.toml")));
    assert_eq!(
        loaded.engine.library,
        Some(folder.path().join("libonnxruntime.so"))
    );
    assert_eq!(loaded.engine.cache, Some(folder.path().join("engines")));
    assert_eq!(
        loaded.flat_field.unwrap().file,
        std::path::Path::new("/etc/flat.png")
    );
}

#[test]
fn an_unknown_ready_station() {
    let error = Station::ready("stripe").unwrap_err();
    assert_eq!(
        rendered(&error),
        "  × there is no ready station `stripe`\n  \
         help: Did you mean `strip`? Ready stations: demo, strip, rod, wire, replay."
    );
}
