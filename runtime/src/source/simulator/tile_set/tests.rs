#![allow(clippy::unwrap_used)]

use std::collections::HashSet;

use super::super::ClassShares;
use super::super::tests::with_threads;
use super::*;

fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for class in CLASS_NAMES {
        for entry in fs::read_dir(folder.join(class)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            found.insert(format!("{class}/{name}"), fs::read(&path).unwrap());
        }
    }
    found
}

/// Nobody asks to stop.
static GO_ON: AtomicBool = AtomicBool::new(false);

#[test]
fn tiles_do_not_depend_on_threads_or_count() {
    let settings = TileSetSettings {
        seed: 9,
        class_shares: ClassShares::BALANCED,
        ..TileSetSettings::default()
    };
    let (many, few) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let calls = AtomicUsize::new(0);
    let summary = with_threads(4, || {
        write_tiles(many.path(), 40, &settings, &GO_ON, &|_| {
            calls.fetch_add(1, Ordering::Relaxed);
        })
    })
    .unwrap();
    assert_eq!((summary.tiles, summary.pieces), (40, 5));
    assert_eq!(calls.into_inner(), 40);
    with_threads(1, || {
        write_tiles(few.path(), 27, &settings, &GO_ON, &|_| ())
    })
    .unwrap();
    let (many_files, few_files) = (files(many.path()), files(few.path()));
    assert_eq!((many_files.len(), few_files.len()), (40, 27));
    for (name, bytes) in &few_files {
        assert!(many_files[name] == *bytes, "{name} differs");
    }

    let truth = fs::read_to_string(many.path().join("truth.json")).unwrap();
    let truth: serde_json::Value = serde_json::from_str(&truth).unwrap();
    let tiles = truth["tiles"].as_array().unwrap();
    let named: HashSet<&str> = tiles
        .iter()
        .map(|tile| tile["file"].as_str().unwrap())
        .collect();
    assert_eq!(named.len(), 40);
    for tile in tiles {
        let tile: TileTruth = serde_json::from_value(tile.clone()).unwrap();
        let image = image::load_from_memory(&many_files[&tile.file]).unwrap();
        assert_eq!((image.width(), image.height()), (512, 512));
        assert_eq!(image.color(), image::ColorType::L8);
        assert_eq!(tile.defect.is_some(), tile.class != "no_defect");
        let piece = tile
            .file
            .split(['/', '_'])
            .find(|part| part.ends_with(|c: char| c.is_ascii_digit()));
        assert_eq!(piece, Some(tile.piece.as_str()));
    }
    let balanced = summary
        .classes
        .values()
        .all(|&count| (2..=16).contains(&count));
    assert!(balanced, "{:?}", summary.classes);
}

#[test]
fn smaller_images_are_parts_of_the_tiles_that_show_the_defect() {
    let whole = TileSetSettings {
        seed: 4,
        class_shares: ClassShares::BALANCED,
        ..TileSetSettings::default()
    };
    let part = TileSetSettings {
        side: 192,
        ..whole.clone()
    };
    let (tiles, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write_tiles(tiles.path(), 24, &whole, &GO_ON, &|_| ()).unwrap();
    write_tiles(parts.path(), 24, &part, &GO_ON, &|_| ()).unwrap();
    let truth = fs::read(parts.path().join("truth.json")).unwrap();
    let truth: serde_json::Value = serde_json::from_slice(&truth).unwrap();
    for tile in truth["tiles"].as_array().unwrap() {
        let tile: TileTruth = serde_json::from_value(tile.clone()).unwrap();
        let open = |folder: &Path| image::open(folder.join(&tile.file)).unwrap().into_luma8();
        let (image, whole) = (open(parts.path()), open(tiles.path()));
        assert_eq!((image.width(), image.height()), (192, 192));
        let (line, pixel) = tile.offset;
        let cut = image::imageops::crop_imm(&whole, pixel as u32, line as u32, 192, 192);
        assert!(
            cut.to_image() == image,
            "{} is no part of its tile",
            tile.file
        );
        if let Some(defect) = tile.defect {
            let first_line = tile.row * 512 + line as u64;
            let first_pixel = tile.column * 512 + pixel;
            assert!(defect.first_line < first_line + 192 && first_line <= defect.last_line);
            assert!(defect.first_pixel < first_pixel + 192 && first_pixel <= defect.last_pixel);
        }
    }
    let error = TileSetSettings { side: 513, ..whole }
        .validate()
        .unwrap_err();
    assert!(error.to_string().contains("`side` is 513"), "{error}");
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("occupied");
    fs::write(&file, b"x").unwrap();
    let error = write_tiles(&file, 1, &TileSetSettings::default(), &GO_ON, &|_| ()).unwrap_err();
    assert!(error.to_string().contains("occupied"), "{error}");
}

#[test]
fn two_sets_are_not_mixed_in_one_folder() {
    let folder = tempfile::tempdir().unwrap();
    let settings = TileSetSettings {
        side: 64,
        ..TileSetSettings::default()
    };
    let other = TileSetSettings {
        seed: 2,
        ..settings.clone()
    };
    write_tiles(folder.path(), 2, &settings, &GO_ON, &|_| ()).unwrap();
    let before = files(folder.path());
    let refused = |settings| {
        let error = write_tiles(folder.path(), 2, settings, &GO_ON, &|_| ()).unwrap_err();
        assert!(error.to_string().contains("another --out"), "{error}");
    };
    refused(&other);
    // Tiles alone, as a set that was stopped leaves them.
    fs::remove_file(folder.path().join("truth.json")).unwrap();
    refused(&settings);
    assert_eq!(files(folder.path()), before);
}

#[test]
fn a_set_that_is_stopped_has_no_truth() {
    let folder = tempfile::tempdir().unwrap();
    let stop = AtomicBool::new(false);
    let settings = TileSetSettings::default();
    let error = write_tiles(folder.path(), 64, &settings, &stop, &|_| {
        stop.store(true, Ordering::Relaxed);
    });
    assert!(matches!(error, Err(TileSetError::Stopped { .. })));
    assert!(!folder.path().join("truth.json").exists());
    let tiles = files(folder.path());
    assert!(!tiles.is_empty() && tiles.len() < 64, "{}", tiles.len());
    for (name, bytes) in tiles {
        assert!(image::load_from_memory(&bytes).is_ok(), "{name}");
    }
}
