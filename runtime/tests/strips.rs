//! Strips of every kind: what can be judged is judged, the rest is said.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::path::Path;

use image::{DynamicImage, GrayImage, ImageBuffer, Luma};
use serde_json::Value;
use support::{adds_up, exported, fails_with, run, station, strip_png, text};

fn replay(arguments: &[&str]) -> (i32, Value, String) {
    let mut all = vec!["--json", "replay", "--engine", "embedded"];
    all.extend(arguments);
    run(&all)
}

/// The recorded tiles in their order on the strip, which is not that in which
/// several workers judged them.
fn recorded(record: &Path) -> Vec<Value> {
    let mut tiles = exported(record, "tile");
    tiles.sort_by_key(|tile| (tile["row"].as_u64(), tile["column"].as_u64()));
    tiles
}

/// A strip of 1024 lines of two tiles.
fn image(path: &Path) -> GrayImage {
    let grey = path.with_extension("grey.png");
    strip_png(&grey, 1024, 1024);
    image::open(grey).unwrap().into_luma8()
}

#[test]
fn tiff_colour_and_wrong_names_are_judged_like_the_grey_png() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let grey = image(&path("strip"));
    let colour = DynamicImage::from(grey.clone()).to_rgb8();
    grey.save(path("grey.tiff")).unwrap();
    colour.save(path("colour.tiff")).unwrap();
    colour.save(path("colour.png")).unwrap();
    fs::copy(path("colour.png"), path("strip.0001")).unwrap();
    fs::copy(path("grey.tiff"), path("tiff.png")).unwrap();
    let (code, expected, _) = replay(&[text(&path("strip.grey.png"))]);
    assert_eq!(code, 0);
    assert_eq!(expected["tiles"]["judged"], 4);
    for name in [
        "grey.tiff",
        "colour.tiff",
        "colour.png",
        "strip.0001",
        "tiff.png",
    ] {
        let (code, summary, message) = replay(&[text(&path(name))]);
        assert_eq!(code, 0, "{name}: {message}");
        adds_up(&summary);
        assert_eq!(summary["lines"], expected["lines"], "{name}");
        assert_eq!(summary["flagged"], expected["flagged"], "{name}");
    }
}

#[test]
fn sixteen_bits_need_the_pixel_format_of_the_camera() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("strip.png");
    let grey = image(&path);
    ImageBuffer::<Luma<u16>, _>::from_fn(1024, 1024, |x, y| {
        Luma([u16::from(grey.get_pixel(x, y).0[0]) << 4])
    })
    .save(&path)
    .unwrap();
    fails_with(
        &["replay", text(&path)],
        &["strip.png", "16 bits", "camera.pixel_format", "--station"],
    );
    let line = folder.path().join("line.toml");
    station(&line, "replay", |text| {
        text.replace("exposure_us", "pixel_format = \"mono12\"\nexposure_us")
    });
    let (code, summary, message) = replay(&[text(&path), "--station", text(&line)]);
    assert_eq!(code, 0, "{message}");
    assert_eq!(summary["tiles"]["judged"], 4);
    let (_, expected, _) = replay(&[text(&path.with_extension("grey.png"))]);
    assert_eq!(summary["flagged"], expected["flagged"]);
}

#[test]
fn jpeg_is_refused_as_a_strip() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("strip.jpg");
    image(&path).save(&path).unwrap();
    fails_with(
        &["replay", text(&path)],
        &["strip.jpg", "JPEG", "PNG or TIFF", "millsight classify"],
    );
}

#[test]
fn a_png_with_one_changed_pixel_does_not_pass() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("strip.png");
    let grey = image(&path);
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 1024, 1024);
    encoder.set_compression(png::Compression::NoCompression);
    encoder.set_filter(png::Filter::NoFilter);
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(grey.as_raw()).unwrap();
    writer.finish().unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x08;
    fs::write(&path, &bytes).unwrap();
    let (code, summary, _) = replay(&[text(&path)]);
    assert_eq!(code, 1);
    adds_up(&summary);
    let problems = summary["problems"].to_string();
    assert!(problems.contains("strip.png"), "{problems}");
    assert!(problems.to_lowercase().contains("checksum"), "{problems}");
}

#[test]
fn the_tiles_of_a_padded_row_are_recorded_with_their_lines() {
    let folder = tempfile::tempdir().unwrap();
    let strip = folder.path().join("strip.png");
    strip_png(&strip, 1024, 520);
    let record = folder.path().join("record");
    let line = folder.path().join("line.toml");
    station(&line, "replay", |text| {
        text.replace("[recording]", "[recording]\nkeep_images = \"all\"")
    });
    let (code, summary, message) = replay(&[
        text(&strip),
        "--station",
        text(&line),
        "--out",
        text(&record),
    ]);
    assert_eq!(code, 0, "{message}");
    assert_eq!(summary["tiles"]["padded"], 2);
    let lines: Vec<u64> = recorded(&record)
        .iter()
        .map(|tile| tile["lines"].as_u64().unwrap())
        .collect();
    assert_eq!(lines, [512, 512, 8, 8]);
}

#[test]
fn two_recordings_in_one_file_are_damage() {
    let folder = tempfile::tempdir().unwrap();
    let strip = folder.path().join("coil.lines");
    let simulate = ["simulate", "--strip", text(&strip), "--metres", "0.2"];
    run(&simulate);
    let bytes = fs::read(&strip).unwrap().repeat(2);
    fs::write(&strip, &bytes).unwrap();
    let (code, summary, _) = replay(&[text(&strip)]);
    assert_eq!(code, 1);
    adds_up(&summary);
    assert_eq!(summary["lines"]["in"], 800);
    let problems = summary["problems"].to_string();
    for part in ["coil.lines", "follow its end"] {
        assert!(problems.contains(part), "{problems}");
    }
}

#[test]
fn recorded_tiles_of_a_folder_name_their_files() {
    let folder = tempfile::tempdir().unwrap();
    let tiles_folder = folder.path().join("tiles");
    fs::create_dir(&tiles_folder).unwrap();
    let names = ["a.png", "b.png"];
    for name in names {
        strip_png(&tiles_folder.join(name), 512, 512);
    }
    let record = folder.path().join("record");
    let line = folder.path().join("line.toml");
    station(&line, "replay", |text| {
        text.replace("[recording]", "[recording]\nkeep_images = \"all\"")
    });
    let arguments = [
        text(&tiles_folder),
        "--station",
        text(&line),
        "--out",
        text(&record),
    ];
    let (code, _, message) = replay(&arguments);
    assert_eq!(code, 0, "{message}");
    let tiles = recorded(&record);
    let files: Vec<&str> = tiles
        .iter()
        .map(|tile| tile["file"].as_str().unwrap())
        .collect();
    assert_eq!(
        files,
        names.map(|name| text(&tiles_folder.join(name)).to_owned())
    );
}
