//! The first walk: tiles are simulated, a network is trained on them and
//! exported, and the runtime says of every tile what the trainer said.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::path::Path;

use millsight_tests::engines;
use programs::{Prediction, predictions, run, text};
use serde_json::Value;

mod programs;

/// How far the line's scores may be from the trainer's.
const TOLERANCE: f64 = 1e-3;

/// The runtime gives every tile the class and the scores that the trainer gave,
/// on each engine.
fn the_line_repeats(predictions: &HashMap<String, Prediction>, folder: &Path) {
    // A short training may well choose one class for all tiles, but a network
    // that gave all of them the same scores would prove nothing.
    let spread = (0..5).map(|class| {
        let logits = predictions.values().map(|said| said.logits[class]);
        let (least, most) = logits.fold((f64::MAX, f64::MIN), |(least, most), logit| {
            (least.min(logit), most.max(logit))
        });
        most - least
    });
    let spread = spread.fold(0.0, f64::max);
    assert!(spread > 10.0 * TOLERANCE, "{spread}");
    let mut paths: Vec<&String> = predictions.keys().collect();
    paths.sort();
    let images: Vec<String> = paths.iter().map(|path| format!("tiles/{path}")).collect();
    for engine in engines::names() {
        let mut arguments = vec![
            "--json",
            "classify",
            "--model",
            "model.onnx",
            "--engine",
            engine,
        ];
        arguments.extend(images.iter().map(String::as_str));
        let verdicts = text(run("millsight", folder, &arguments));
        assert_eq!(verdicts.lines().count(), images.len());
        for (path, line) in paths.iter().zip(verdicts.lines()) {
            let verdict: Value = serde_json::from_str(line).unwrap();
            let prediction = &predictions[*path];
            assert_eq!(verdict["class"], prediction.class.as_str(), "{path}");
            let scores = verdict["scores"].as_array().unwrap();
            assert_eq!(scores.len(), prediction.logits.len());
            for (score, logit) in scores.iter().zip(&prediction.logits) {
                let difference = (score.as_f64().unwrap() - logit).abs();
                assert!(difference < TOLERANCE, "{path}: {difference} on {engine}");
            }
        }
    }
}

/// The line flags as many tiles as the trainer has counted for the operating
/// point that travels in the card.
fn operating_points_hold_on_the_line(folder: &Path) {
    let point = ["--operating-point", "0.1", "--json"];
    let said = run(
        "millsight-train",
        folder,
        &[&["evaluate", "--run", "run"][..], &point[..]].concat(),
    );
    let said: Value = serde_json::from_str(text(said).lines().last().unwrap()).unwrap();
    let parts = &said["operating"]["operating_point"]["parts"];
    run(
        "millsight-train",
        folder,
        &["export", "--run", "run", "--out", "pointed.onnx"],
    );
    let table = std::fs::read_to_string(folder.join("tiles/split.csv")).unwrap();
    for part in ["val", "test"] {
        let tiles: Vec<(&str, &str)> = table
            .lines()
            .filter(|line| line.ends_with(part))
            .map(|line| {
                let mut fields = line.split(',');
                (fields.next().unwrap(), fields.next().unwrap())
            })
            .collect();
        let images = tiles.iter().map(|(path, _)| format!("tiles/{path}"));
        let images: Vec<String> = images.collect();
        for engine in engines::names() {
            let model = ["--model", "pointed.onnx", "--engine", engine];
            let mut arguments = [&["--json", "classify"][..], &model[..]].concat();
            arguments.extend(images.iter().map(String::as_str));
            let verdicts = text(run("millsight", folder, &arguments));
            let mut alarms = 0;
            let mut missed: HashMap<&str, u64> = HashMap::new();
            for ((_, label), line) in tiles.iter().zip(verdicts.lines()) {
                let verdict: Value = serde_json::from_str(line).unwrap();
                let flagged = verdict["flagged"].as_bool().unwrap();
                if *label == "no_defect" {
                    alarms += u64::from(flagged);
                } else {
                    *missed.entry(label).or_default() += u64::from(!flagged);
                }
            }
            assert_eq!(missed.len(), 4);
            let counted = &parts[part];
            assert_eq!(counted["false_alarms"]["count"], alarms, "{part} {engine}");
            for (class, missed) in missed {
                let counted = &counted["classes"][class]["missed"]["count"];
                assert_eq!(*counted, missed, "{class} of {part} on {engine}");
            }
        }
    }
}

#[test]
fn what_the_line_says_equals_what_the_trainer_says() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let network = [
        "--image-size",
        "96",
        "--patch",
        "16",
        "--width",
        "48",
        "--depth",
        "2",
        "--heads",
        "3",
    ];
    run(
        "millsight",
        folder,
        &[
            "simulate", "--tiles", "320", "--out", "tiles", "--shares", "balanced",
        ],
    );
    run("millsight-train", folder, &["index", "tiles"]);
    run("millsight-train", folder, &["split", "tiles/index.csv"]);
    let recipe = [
        "train",
        "tiles/split.csv",
        "--out",
        "run",
        "--epochs",
        "2",
        "--batch-size",
        "16",
        "--learning-rate",
        "5e-4",
    ];
    run(
        "millsight-train",
        folder,
        &[&recipe[..], &network[..]].concat(),
    );
    let evaluate = ["evaluate", "--run", "run", "--split", "test", "--json"];
    let said = run(
        "millsight-train",
        folder,
        &[&evaluate[..], &["--predictions", "predictions.csv"]].concat(),
    );
    let metrics: Value = serde_json::from_str(text(said).lines().last().unwrap()).unwrap();
    run(
        "millsight-train",
        folder,
        &["export", "--run", "run", "--out", "model.onnx"],
    );

    let predictions = predictions(&folder.join("predictions.csv"));
    assert!(predictions.len() >= 40, "{} test tiles", predictions.len());
    the_line_repeats(&predictions, folder);
    operating_points_hold_on_the_line(folder);

    // The card carries what the trainer measured, and a strip is judged.
    let inspected = run(
        "millsight-export",
        folder,
        &["inspect", "model.onnx", "--json"],
    );
    let card = text(inspected);
    assert!(
        card.contains("no_defect") && card.contains("millsight-train train"),
        "{card}"
    );
    assert!(metrics["balanced_accuracy"].is_number(), "{metrics}");
    run(
        "millsight",
        folder,
        &["simulate", "--strip", "coil.lines", "--metres", "0.6"],
    );
    for engine in engines::names() {
        let replay = ["--json", "replay", "coil.lines", "--model", "model.onnx"];
        let options = ["--engine", engine, "--out", engine];
        let summary = text(run(
            "millsight",
            folder,
            &[&replay[..], &options[..]].concat(),
        ));
        let summary: Value = serde_json::from_str(summary.lines().last().unwrap()).unwrap();
        assert_eq!(summary["engine"]["name"], engine);
        let tiles = &summary["tiles"];
        assert_eq!(tiles["total"], 40);
        let judged = tiles["judged"].as_u64().unwrap() + tiles["background"].as_u64().unwrap();
        assert_eq!(judged, 40, "{tiles}");
    }
}

/// A convolutional network walks the same way.
#[test]
fn a_convolutional_network_gives_the_line_its_scores() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for (program, arguments) in [
        (
            "millsight",
            "simulate --tiles 160 --out tiles --shares balanced",
        ),
        ("millsight-train", "index tiles"),
        ("millsight-train", "split tiles/index.csv"),
        (
            "millsight-train",
            "train tiles/split.csv --out run --arch yolo-cls-n --image-size 96 --epochs 4 \
             --batch-size 16 --learning-rate 3e-4",
        ),
        (
            "millsight-train",
            "evaluate --run run --split test --predictions predictions.csv",
        ),
        ("millsight-train", "export --run run --out model.onnx"),
    ] {
        let arguments: Vec<&str> = arguments.split(' ').collect();
        run(program, folder, &arguments);
    }
    the_line_repeats(&predictions(&folder.join("predictions.csv")), folder);
}
