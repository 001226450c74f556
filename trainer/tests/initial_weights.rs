//! `train --init` and `convert-weights`, through the program.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod tiles;

use std::path::{Path, PathBuf};

use assert_cmd::Command;
use millsight_export::weights::NamedArrays;
use predicates::prelude::{PredicateBooleanExt, predicate};
use predicates::str::contains;
use serde_json::Value;

fn program() -> Command {
    Command::cargo_bin("millsight-train").unwrap()
}

fn weights(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/weights")
        .join(name)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_checkpoint_is_converted_and_said_to_be() {
    let folder = tempfile::tempdir().unwrap();
    let (plain, resampled) = (folder.path().join("plain"), folder.path().join("resampled"));
    program()
        .args(["convert-weights", text(&weights("dino_training.pth"))])
        .args(["--out", text(&plain)])
        .assert()
        .success()
        .stdout(contains(
            "30 arrays, 1464 parameters, patch 2, width 8, depth 2",
        ))
        .stderr(
            contains("dino_training.pth (a checkpoint of DINO, teacher.backbone)")
                .and(contains("not in the file: head.weight, head.bias"))
                .and(contains("not needed, left out: dino_loss.center, "))
                .and(contains("student.module.* (33)"))
                .and(contains("unknown").not()),
        );
    let plain = NamedArrays::load(&plain).unwrap();
    let expected = NamedArrays::load(&weights("expected.safetensors")).unwrap();
    for (name, array) in plain.iter() {
        assert_eq!(Some(array), expected.get(name), "{name}");
    }

    let output = program()
        .args(["convert-weights", text(&weights("dino_training.pth"))])
        .args(["--out", text(&resampled), "--image-size", "16", "--json"])
        .assert()
        .success()
        .stderr(contains("positions resampled from 4 x 4 patches"));
    let line: Value = serde_json::from_slice(&output.get_output().stdout).unwrap();
    assert_eq!(
        line["adoption"]["resampled_from"],
        serde_json::json!([4, 4])
    );
    let resampled = NamedArrays::load(&resampled).unwrap();
    assert_eq!(resampled.require("pos_embed").unwrap().shape, [1, 65, 8]);
}

#[test]
fn a_run_takes_its_sizes_from_the_file() {
    let data = tiles::folder(&[("no_defect", 8), ("cracks", 8)], 16);
    tiles::split(data.path());
    let table = data.path().join("split.csv");
    let out = tempfile::tempdir().unwrap();
    let (first, second) = (out.path().join("first"), out.path().join("second"));
    let train = |file: &Path, run: &Path| {
        let mut command = program();
        command.args(["train", text(&table), "--epochs", "1", "--out", text(run)]);
        command.args(["--init", text(file)]);
        command
    };
    let dinov2 = weights("dinov2_hugging_face.safetensors");
    train(&dinov2, &first)
        .args(["--heads", "2", "--image-size", "12"])
        .assert()
        .success()
        .stderr(
            contains("begins with the weights of")
                .and(contains("DINOv2 with Hugging Face's names"))
                .and(contains("positions resampled from 4 x 4 patches")),
        );
    let config = std::fs::read(first.join("config.json")).unwrap();
    let config: Value = serde_json::from_slice(&config).unwrap();
    let network = &config["network"];
    for (name, value) in [
        ("patch", 2),
        ("width", 8),
        ("depth", 2),
        ("heads", 2),
        ("mlp_width", 16),
    ] {
        assert_eq!(network[name], value, "{name}");
    }
    assert_eq!(network["layer_scale"], true);

    // Our own file says its heads and its image size.
    let best = first.join("best.safetensors");
    train(&best, &second).assert().success().stderr(
        contains("resampled")
            .not()
            .and(contains("not in the file").not()),
    );
    let again = std::fs::read(second.join("config.json")).unwrap();
    let again: Value = serde_json::from_slice(&again).unwrap();
    assert_eq!(again["network"], *network);
}

#[test]
fn weights_that_do_not_fit_are_refused_before_anything_is_written() {
    let data = tiles::folder(&[("no_defect", 8), ("cracks", 8)], 16);
    tiles::split(data.path());
    let table = data.path().join("split.csv");
    let run = data.path().join("run");
    let fails = |options: &[&str], message: &str| {
        program()
            .args(["train", text(&table), "--out", text(&run)])
            .args(options)
            .assert()
            .code(1)
            .stdout(predicate::str::is_empty())
            .stderr(contains(message));
        assert!(!run.exists());
    };
    let mae = weights("mae_pretraining.pth");
    let init = ["--init", text(&mae), "--image-size", "8"];
    fails(&init, "give --heads");
    let heads = [&init[..], &["--heads", "2"]].concat();
    fails(
        &[&heads[..], &["--depth", "3"]].concat(),
        "depth 2 instead of 3",
    );
    fails(
        &[&heads[..], &["--preset", "small"]].concat(),
        "width 8 instead of 384",
    );
    fails(&["--init", text(&table)], "neither a safetensors file");
    fails(&["--init", "nowhere.pth"], "nowhere.pth");
}
