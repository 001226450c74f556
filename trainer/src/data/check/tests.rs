#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;

use image::{DynamicImage, GrayImage, RgbImage};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use tempfile::TempDir;

use super::*;
use crate::data::index::folder;

/// A grey tile with texture of its own.
fn tile(seed: u64) -> GrayImage {
    let mut random = Pcg64::seed_from_u64(seed);
    let coarse: Vec<u8> = (0..16 * 16).map(|_| random.random_range(60..200)).collect();
    GrayImage::from_fn(64, 64, |x, y| {
        let level = coarse[(y / 4 * 16 + x / 4) as usize];
        image::Luma([level + ((x * 7 + y * 3) % 5) as u8])
    })
}

fn save(root: &TempDir, name: &str, image: impl Into<DynamicImage>) {
    let path = root.path().join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    image.into().save(path).unwrap();
}

/// Rows of a folder, with a part for each name that is told.
fn rows(root: &TempDir, parts: &[(&str, Split)]) -> Vec<Row> {
    let mut rows = folder(root.path()).unwrap().rows;
    for row in &mut rows {
        let part = parts.iter().find(|(path, _)| *path == row.path);
        row.split = part.map(|(_, split)| *split);
    }
    rows
}

/// What is found, as path, problem and detail.
fn found(root: &TempDir, rows: &[Row]) -> Vec<(String, &'static str, String)> {
    let with = |threads| {
        let threads = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        files(
            rows,
            root.path(),
            near_duplicates::SIMILARITY,
            &threads,
            || (),
        )
    };
    let findings = with(3);
    assert_eq!(findings, with(1));
    findings
        .into_iter()
        .map(
            |Finding {
                 row,
                 problem,
                 detail,
             }| (rows[row].path.clone(), problem.name(), detail),
        )
        .collect()
}

#[test]
fn good_files_are_not_listed() {
    let root = tempfile::tempdir().unwrap();
    for seed in 0..6 {
        save(&root, &format!("cracks/{seed}.png"), tile(seed));
    }
    let parts = [Split::Train, Split::Val, Split::Test];
    let mut rows = rows(&root, &[]);
    for (row, part) in rows.iter_mut().zip(parts.into_iter().cycle()) {
        row.split = Some(part);
    }
    assert_eq!(found(&root, &rows), []);
}

#[test]
fn damage_to_each_kind_of_file_is_told_apart() {
    let root = tempfile::tempdir().unwrap();
    for name in [
        "a.png",
        "b.jpg",
        "c.bmp",
        "d.tiff",
        "gone.png",
        "text.png",
        "empty.png",
    ] {
        save(
            &root,
            &format!("x/{name}"),
            tile(name.len() as u64 + u64::from(name.as_bytes()[0])),
        );
    }
    let rows = rows(&root, &[]);
    for name in ["a.png", "b.jpg", "c.bmp", "d.tiff"] {
        let path = root.path().join("x").join(name);
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() * 2 / 3]).unwrap();
    }
    fs::remove_file(root.path().join("x/gone.png")).unwrap();
    fs::write(root.path().join("x/text.png"), "no image").unwrap();
    fs::write(root.path().join("x/empty.png"), "").unwrap();
    let kinds: Vec<_> = found(&root, &rows)
        .into_iter()
        .map(|(path, problem, _)| (path, problem))
        .collect();
    let expected = [
        ("x/a.png", "truncated"),
        ("x/b.jpg", "truncated"),
        ("x/c.bmp", "truncated"),
        ("x/d.tiff", "truncated"),
        ("x/empty.png", "truncated"),
        ("x/gone.png", "missing"),
        ("x/text.png", "unreadable"),
    ];
    assert_eq!(
        kinds,
        expected.map(|(path, problem)| (path.to_owned(), problem))
    );
}

#[test]
fn what_the_table_says_is_held_against_the_file() {
    let root = tempfile::tempdir().unwrap();
    save(&root, "x/a.png", tile(1));
    let mut rows = rows(&root, &[]);
    let hash = rows[0].sha256.clone().unwrap();
    rows[0].width = Some(65);
    rows[0].mode = Some("RGB".into());
    rows[0].sha256 = Some("00".repeat(32));
    let expected = [
        ("wrong_size", "64x64 pixels instead of 65x64".to_owned()),
        ("wrong_mode", "mode L instead of RGB".to_owned()),
        (
            "changed",
            format!("SHA-256 {hash}, in the table {}", "00".repeat(32)),
        ),
    ];
    let expected = expected.map(|(problem, detail)| ("x/a.png".to_owned(), problem, detail));
    assert_eq!(found(&root, &rows), expected);
    // Columns that a table does not have cannot be wrong.
    for row in &mut rows {
        (row.width, row.height, row.mode, row.sha256) = (None, None, None, None);
    }
    assert_eq!(found(&root, &rows), []);
}

#[test]
fn copies_are_duplicates_in_one_part_and_leaks_between_parts() {
    let root = tempfile::tempdir().unwrap();
    save(&root, "a/1.png", tile(1));
    save(&root, "a/2.png", tile(1));
    save(&root, "a/3.bmp", tile(1));
    let colour = DynamicImage::from(tile(1)).into_rgb8();
    save(&root, "b/4.png", colour);
    save(&root, "b/5.png", tile(2));
    save(&root, "b/6.png", RgbImage::new(64, 64));
    let undivided = rows(&root, &[]);
    let copy = |path: &str, problem, detail: &str| (path.to_owned(), problem, detail.to_owned());
    assert_eq!(
        found(&root, &undivided),
        [
            copy("a/2.png", "duplicate", "same bytes as a/1.png"),
            copy("a/3.bmp", "duplicate", "same pixels as a/1.png"),
            copy(
                "b/4.png",
                "duplicate",
                "same pixels as a/1.png, which is labelled a"
            ),
        ]
    );
    let divided = rows(
        &root,
        &[
            ("a/1.png", Split::Test),
            ("a/2.png", Split::Train),
            ("a/3.bmp", Split::Train),
            ("b/4.png", Split::Val),
            ("b/5.png", Split::Train),
        ],
    );
    let expected = [
        copy("a/1.png", "leaking", "same bytes as a/2.png in train"),
        copy("a/3.bmp", "duplicate", "same pixels as a/2.png in train"),
        copy(
            "b/4.png",
            "leaking",
            "same pixels as a/2.png in train, which is labelled a",
        ),
    ];
    assert_eq!(found(&root, &divided), expected);
    let rest: Vec<Row> = divided
        .into_iter()
        .filter(|row| expected.iter().all(|(path, ..)| *path != row.path))
        .collect();
    assert_eq!(found(&root, &rest), []);
}

#[test]
fn near_duplicates_count_between_parts_only() {
    let root = tempfile::tempdir().unwrap();
    let brightened = |seed| {
        let mut tile = tile(seed);
        tile.pixels_mut().for_each(|pixel| pixel.0[0] += 9);
        tile
    };
    save(&root, "a/1.png", tile(1));
    save(&root, "a/2.png", brightened(1));
    save(&root, "a/3.png", tile(3));
    save(&root, "a/4.png", brightened(3));
    let rows = rows(
        &root,
        &[
            ("a/1.png", Split::Train),
            ("a/2.png", Split::Train),
            ("a/3.png", Split::Test),
            ("a/4.png", Split::Val),
        ],
    );
    let detail = "like a/4.png in val, similarity 1.000".to_owned();
    assert_eq!(
        found(&root, &rows),
        [("a/3.png".to_owned(), "near_duplicate", detail)]
    );
}

#[test]
fn the_table_of_findings_is_csv_with_the_documented_columns() {
    let root = tempfile::tempdir().unwrap();
    save(&root, "x/a,b.png", tile(1));
    let rows = rows(&root, &[("x/a,b.png", Split::Val)]);
    let path = root.path().join("bad_files.csv");
    let finding = Finding {
        row: 0,
        problem: Problem::NearDuplicate,
        detail: "like c".into(),
    };
    write(&path, &rows, &[finding]).unwrap();
    assert_eq!(
        fs::read_to_string(&path).unwrap(),
        "path,split,problem,detail\n\"x/a,b.png\",val,near_duplicate,like c\n"
    );
    write(&path, &rows, &[]).unwrap();
    assert_eq!(
        fs::read_to_string(&path).unwrap(),
        "path,split,problem,detail\n"
    );
}
