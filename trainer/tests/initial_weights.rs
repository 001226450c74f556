//! `train --init` and `convert-weights`, through the program.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod tiles;

use std::path::{Path, PathBuf};

use assert_cmd::Command;
use millsight_export::card::Preprocessing;
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
        .stderr(contains("positions resampled from 4 x 4 patches").and(contains("warning").not()));
    let line: Value = serde_json::from_slice(&output.get_output().stdout).unwrap();
    assert_eq!(
        line["adoption"]["resampled_from"],
        serde_json::json!([4, 4])
    );
    let resampled = NamedArrays::load(&resampled).unwrap();
    assert_eq!(resampled.require("pos_embed").unwrap().shape, [1, 65, 8]);

    // A teacher is DINO's; a file without a head could be timm's too.
    program()
        .args(["convert-weights", text(&weights("dino_backbone.pth"))])
        .args(["--out", text(&folder.path().join("guessed"))])
        .args(["--image-size", "16"])
        .assert()
        .success()
        .stderr(contains(
            "warning: they were resampled as for a checkpoint of DINO.",
        ));
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
    let config = configuration(&first);
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
            .and(contains("not in the file").not())
            .and(contains("other classes").not())
            .and(contains("name its classes").not()),
    );
    assert_eq!(configuration(&second)["network"], *network);

    // A probe learns a head of its own, and so does not take that of the file.
    train(&best, &out.path().join("probe"))
        .args(["--protocol", "probe"])
        .assert()
        .success()
        .stderr(contains("not needed, left out: head.* (2)"));
}

/// The configuration that a run has written.
fn configuration(run: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(run.join("config.json")).unwrap()).unwrap()
}

#[test]
fn weights_keep_the_normalisation_that_they_have_learnt_with() {
    let data = tiles::folder(&[("no_defect", 8), ("cracks", 8)], 16);
    tiles::split(data.path());
    // Marks are larger there, so that mean and deviation differ.
    let other = tiles::folder(&[("cracks", 8), ("overfill", 40)], 16);
    tiles::split(other.path());
    let out = tempfile::tempdir().unwrap();
    let run = |name: &str| out.path().join(name);
    let train = |data: &Path, name: &str, options: &[&str]| {
        let table = data.join("split.csv");
        let assert = program()
            .args(["train", text(&table), "--epochs", "1"])
            .args(["--out", text(&run(name))])
            .args(options)
            .assert()
            .success();
        let said = String::from_utf8(assert.get_output().stderr.clone()).unwrap();
        let preprocessing = configuration(&run(name))["preprocessing"].clone();
        let preprocessing: Preprocessing = serde_json::from_value(preprocessing).unwrap();
        (preprocessing, said)
    };
    let sizes = "--image-size 16 --patch 8 --width 16 --depth 1 --heads 2";
    let sizes: Vec<&str> = sizes.split_whitespace().collect();
    let (learnt, _) = train(data.path(), "first", &sizes);
    let imagenet = Preprocessing::imagenet();
    assert_ne!(learnt, imagenet);

    let best = run("first").join("best.safetensors");
    let (kept, said) = train(other.path(), "kept", &["--init", text(&best)]);
    assert_eq!(kept, learnt);
    assert!(!said.contains("warning"), "{said}");
    let other_classes = "for other classes in the file: head.weight, head.bias";
    assert!(said.contains(other_classes), "{said}");

    // A copy without the run's configuration still says it.
    let copy = run("copy.safetensors");
    program()
        .args(["convert-weights", text(&best), "--out", text(&copy)])
        .assert()
        .success();
    let (kept, said) = train(other.path(), "copied", &["--init", text(&copy)]);
    assert_eq!(kept, learnt);
    assert!(said.contains(other_classes), "{said}");
    let network = |name: &str| configuration(&run(name))["network"].clone();
    assert_eq!(network("copied"), network("first"));

    for normalisation in ["imagenet", "data"] {
        let options = ["--init", text(&best), "--normalisation", normalisation];
        let (changed, said) = train(other.path(), normalisation, &options);
        assert_ne!(changed, learnt);
        let warning = "best.safetensors has learnt with mean 0.";
        assert!(said.contains(warning), "{said}");
    }

    let foreign = weights("timm_mixed.pth");
    let options = [
        "--init",
        text(&foreign),
        "--heads",
        "2",
        "--image-size",
        "8",
    ];
    let (assumed, said) = train(data.path(), "foreign", &options);
    assert_eq!(assumed, imagenet);
    let notice = "timm_mixed.pth does not say how its images were normalised";
    assert!(said.contains(notice), "{said}");
    let options = [&options[..], &["--normalisation", "inception"]].concat();
    let (halves, said) = train(data.path(), "inception", &options);
    assert_eq!(halves.mean, [0.5; 3]);
    assert!(!said.contains("does not say how its images"), "{said}");
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
