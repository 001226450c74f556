//! `index`, `split` and `check` through the program.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::Path;

use assert_cmd::Command;
use image::{GrayImage, Luma};
use predicates::prelude::PredicateBooleanExt;
use predicates::str::{contains, is_empty};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use serde_json::Value;

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::cargo_bin("millsight-train").unwrap();
    command.args(arguments);
    command
}

fn json(command: &mut Command) -> Value {
    let output = command.arg("--json").output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A folder of two classes, and the tile with which each seed begins.
fn steel(tiles_of_class: u64) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (number, class) in ["no_defect", "cracks"].into_iter().enumerate() {
        fs::create_dir(root.path().join(class)).unwrap();
        for tile in 0..tiles_of_class {
            let seed = number as u64 * 1000 + tile;
            save(
                root.path(),
                &format!("{class}/piece{tile:03}_a.png"),
                seed,
                0,
            );
        }
    }
    root
}

/// A tile with the texture of `seed`, brightened by `brighter`.
fn save(root: &Path, name: &str, seed: u64, brighter: u8) {
    let mut random = Pcg64::seed_from_u64(seed);
    let tile = GrayImage::from_fn(48, 48, |_, _| {
        Luma([random.random_range(60..200) + brighter])
    });
    tile.save(root.join(name)).unwrap();
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_class_without_images_is_said_to_be_left_out() {
    let root = steel(2);
    let nothing = root.path().join("overfill");
    fs::create_dir(&nothing).unwrap();
    let index = ["index", text(root.path())];
    let told = format!("left out: {} holds no image", nothing.display());
    program(&index)
        .assert()
        .success()
        .stderr(contains(told.as_str()))
        .stdout(contains("overfill").not());

    // With a file that is no image it is empty all the same.
    fs::write(nothing.join("notes.txt"), "none yet").unwrap();
    program(&index)
        .assert()
        .success()
        .stderr(contains("notes.txt is not an image by its ending").and(contains(told.as_str())));

    save(root.path(), "overfill/first.png", 1, 0);
    program(&index)
        .assert()
        .success()
        .stderr(contains("holds no image").not())
        .stdout(contains("1  overfill"));
}

#[test]
fn check_says_how_many_files_it_saw_or_lists_the_bad_ones() {
    let root = steel(20);
    let table = root.path().join("split.csv");
    program(&["index", text(root.path())]).assert().success();
    let index = root.path().join("index.csv");
    program(&["split", text(&index)])
        .assert()
        .success()
        .stderr(contains("near-duplicates").not());

    let check = ["check", text(&table)];
    program(&check)
        .assert()
        .success()
        .stdout(contains("40  files checked, 0 bad"));
    let list = root.path().join("bad_files.csv");
    assert_eq!(
        fs::read_to_string(&list).unwrap(),
        "path,split,problem,detail\n"
    );

    let cut = root.path().join("cracks/piece003_a.png");
    let whole = fs::read(&cut).unwrap();
    fs::write(&cut, &whole[..whole.len() / 2]).unwrap();
    fs::remove_file(root.path().join("no_defect/piece005_a.png")).unwrap();
    program(&check)
        .assert()
        .code(1)
        .stdout(contains("1  missing").and(contains("1  truncated")))
        .stderr(contains("2 of 40 files are bad").and(contains("bad_files.csv")));
    let list = fs::read_to_string(&list).unwrap();
    assert_eq!(list.lines().count(), 3, "{list}");
    assert!(list.contains("cracks/piece003_a.png,"), "{list}");

    let elsewhere = root.path().join("elsewhere.csv");
    let out = ["--out", text(&elsewhere), "--workers", "1"];
    let mut command = program(&[&check[..], &out].concat());
    let report = json(&mut command);
    assert_eq!(
        (&report["checked"], &report["bad"]),
        (&40.into(), &2.into())
    );
    assert_eq!(report["problems"]["truncated"], 1);
    assert_eq!(fs::read_to_string(&elsewhere).unwrap(), list);

    // From the folder itself, with a table that was written by hand.
    fs::write(
        root.path().join("own.csv"),
        "path,label\ncracks/piece001_a.png,cracks\n",
    )
    .unwrap();
    program(&["check", "own.csv"])
        .current_dir(root.path())
        .assert()
        .success()
        .stderr(contains("has no width, height, mode, sha256"));
    program(&["check", "own.csv", "--size", "5x7", "--mode", "RGB"])
        .current_dir(root.path())
        .assert()
        .code(1)
        .stdout(contains("1  wrong_size").and(contains("1  wrong_mode")))
        .stderr(contains("has no sha256"));
    for wrong in ["512", "0x5", "5x"] {
        program(&["check", text(&table), "--size", wrong])
            .assert()
            .code(2);
    }
    for wrong in ["0.6", "1.1", "much"] {
        program(&["check", text(&table), "--similarity", wrong])
            .assert()
            .code(2);
    }
}

#[test]
fn split_warns_of_near_duplicates_unless_they_are_kept_together() {
    let root = steel(20);
    for tile in 0..20 {
        save(
            root.path(),
            &format!("cracks/piece{tile:03}_b.png"),
            1000 + tile,
            7,
        );
    }
    let index = root.path().join("index.csv");
    program(&["index", text(root.path())]).assert().success();
    let split = ["split", text(&index)];
    program(&split)
        .assert()
        .success()
        .stderr(contains("near-duplicates").and(contains("--group-by")));
    let report = json(&mut program(&split));
    let alike = &report["near_duplicates"];
    assert!(alike["tiles"].as_u64().unwrap() > 3, "{report}");
    let pair = &alike["most_alike"][0];
    let piece = |key: &str| pair[key].as_str().unwrap()[..15].to_owned();
    assert_eq!(piece("path"), piece("like"));
    assert!(pair["similarity"].as_f64().unwrap() > 0.99);

    let together = [&split[..], &["--group-by", "[a-z]+/piece..."]].concat();
    program(&together)
        .assert()
        .success()
        .stderr(contains("near-duplicates").not());
    let unread = [&split[..], &["--skip-near-duplicates"]].concat();
    program(&unread).assert().success().stderr(is_empty());
    assert!(json(&mut program(&unread))["near_duplicates"].is_null());

    fs::remove_dir_all(root.path().join("cracks")).unwrap();
    program(&split)
        .assert()
        .success()
        .stderr(contains("40 of 60 images"));
}

#[test]
fn parts_that_are_folders_become_a_table() {
    let root = tempfile::tempdir().unwrap();
    for (number, part) in ["train", "valid", "test"].into_iter().enumerate() {
        for class in ["no_defect", "cracks"] {
            fs::create_dir_all(root.path().join(part).join(class)).unwrap();
            let seed = number as u64 * 2 + u64::from(class == "cracks");
            save(root.path(), &format!("{part}/{class}/1.png"), seed, 0);
        }
    }
    save(root.path(), "test/cracks/2.png", 1, 5);
    program(&["index", text(root.path())])
        .assert()
        .success()
        .stderr(contains("split-from-folders"));
    let command = ["split-from-folders", text(root.path())];
    let report = json(&mut program(&command));
    assert_eq!(report["classes"]["cracks"]["test"], 2);
    assert_eq!(
        report["near_duplicates"]["most_alike"][0]["like"],
        "train/cracks/1.png"
    );
    let table = root.path().join("split.csv");
    assert_eq!(
        fs::read_to_string(&table).unwrap().lines().next().unwrap(),
        "path,label,width,height,mode,sha256,split"
    );
    program(&["check", text(&table)])
        .assert()
        .code(1)
        .stdout(contains("1  near_duplicate"));

    fs::remove_dir_all(root.path().join("test")).unwrap();
    program(&command)
        .assert()
        .success()
        .stderr(contains("no folder `test`"));
    fs::remove_dir_all(root.path().join("valid")).unwrap();
    program(&command)
        .assert()
        .code(1)
        .stderr(contains("has no folder `val`"));
}
