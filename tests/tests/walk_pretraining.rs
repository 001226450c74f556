//! From a folder of tiles through pretraining to the line, by the programs
//! alone: index, split, check, pretraining with MAE and with DINO, a probe and
//! a fine-tuned network on what was pretrained, operating points, export, and
//! the runtime's verdicts.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use millsight_tests::engines;
use programs::{Prediction, predictions, run, text};
use serde_json::Value;

mod programs;

/// How far the line's probabilities may be from the trainer's.
const TOLERANCE: f64 = 1e-3;

/// A Vision Transformer that learns in seconds.
const NETWORK: [&str; 10] = [
    "--image-size",
    "64",
    "--patch",
    "16",
    "--width",
    "32",
    "--depth",
    "2",
    "--heads",
    "2",
];

/// Two passes over the tiles, in batches of 16.
const LENGTH: [&str; 4] = ["--epochs", "2", "--batch-size", "16"];

fn train(folder: &Path, arguments: &[&[&str]]) -> String {
    text(run("millsight-train", folder, &arguments.concat()))
}

/// The last line of standard output, one object.
fn last_object(printed: &str) -> Value {
    serde_json::from_str(printed.lines().last().unwrap()).unwrap()
}

/// The epochs that a run has logged, each with a finite loss.
fn check_log(run: &Path, epochs: usize) {
    let log = std::fs::read_to_string(run.join("log.jsonl")).unwrap();
    let losses: Vec<f64> = log
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|record| record["train_loss"].as_f64().unwrap())
        .collect();
    assert_eq!(losses.len(), epochs, "{log}");
    assert!(losses.iter().all(|loss| loss.is_finite()), "{log}");
}

/// The probabilities of a prediction at a temperature.
fn probabilities(prediction: &Prediction, temperature: f64) -> Vec<f64> {
    let largest = prediction.logits.iter().copied().fold(f64::MIN, f64::max);
    let exponential = |logit: &f64| ((logit - largest) / temperature).exp();
    let exponentials: Vec<f64> = prediction.logits.iter().map(exponential).collect();
    let sum: f64 = exponentials.iter().sum();
    exponentials.iter().map(|one| one / sum).collect()
}

/// Learns the classes from the weights of a pretrained run, and checks that the
/// line says of the test tiles what the trainer says.
fn to_the_line(folder: &Path, pretrained: &str, protocol: &str) {
    let name = format!("{pretrained}-{protocol}");
    let init = format!("{pretrained}/backbone.safetensors");
    train(
        folder,
        &[
            &["train", "tiles/split.csv", "--out", &name],
            &["--protocol", protocol, "--init", &init],
            &["--learning-rate", "5e-3"],
            &LENGTH,
        ],
    );
    check_log(&folder.join(&name), 2);
    let table = format!("{name}.csv");
    let said = train(
        folder,
        &[
            &["evaluate", "--run", &name, "--operating-point", "0.2"],
            &["--predictions", &table, "--json"],
        ],
    );
    let said = last_object(&said);
    let calibration = &said["operating"]["calibration"];
    let temperature = calibration["temperature"].as_f64().unwrap();
    assert!(temperature > 0.0, "{calibration}");
    let model = format!("{name}.onnx");
    train(folder, &[&["export", "--run", &name, "--out", &model]]);

    let inspected = ["inspect", &model, "--json"];
    let card: Value =
        serde_json::from_str(&text(run("millsight-export", folder, &inspected))).unwrap();
    let card = &card["card"];
    assert_eq!(card["calibration"], *calibration);
    assert_eq!(card["thresholds"], said["operating"]["thresholds"]);
    assert_eq!(card["thresholds"].as_object().unwrap().len(), 4);

    let predictions = predictions(&folder.join(&table));
    let mut paths: Vec<&String> = predictions.keys().collect();
    paths.sort();
    let images: Vec<String> = paths.iter().map(|path| format!("tiles/{path}")).collect();
    let classes: Vec<&str> = card["classes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|class| class.as_str().unwrap())
        .collect();
    for engine in engines::names() {
        let mut arguments = vec!["--json", "classify", "--model", &model, "--engine", engine];
        arguments.extend(images.iter().map(String::as_str));
        let verdicts = text(run("millsight", folder, &arguments));
        assert_eq!(verdicts.lines().count(), images.len());
        for (path, line) in paths.iter().zip(verdicts.lines()) {
            let verdict: Value = serde_json::from_str(line).unwrap();
            let prediction = &predictions[*path];
            let expected = probabilities(prediction, temperature);
            let most = (0..expected.len()).max_by(|&a, &b| expected[a].total_cmp(&expected[b]));
            assert_eq!(classes[most.unwrap()], prediction.class, "{path}");
            for (class, expected) in classes.iter().zip(expected) {
                let got = verdict["probabilities"][class].as_f64().unwrap();
                assert!(
                    (got - expected).abs() < TOLERANCE,
                    "{path}, {class}: {got} and {expected} on {engine}"
                );
            }
        }
    }
}

#[test]
fn pretrained_networks_come_to_the_line() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let tiles = ["simulate", "--tiles", "160", "--out", "tiles"];
    let shares = ["--shares", "balanced"];
    run("millsight", folder, &[&tiles[..], &shares].concat());
    train(folder, &[&["index", "tiles"]]);
    train(folder, &[&["split", "tiles/index.csv"]]);
    train(folder, &[&["check", "tiles/split.csv"]]);

    let mae = ["pretrain", "mae", "tiles/split.csv", "--out", "mae"];
    train(folder, &[&mae, &NETWORK, &LENGTH]);
    let dino = ["pretrain", "dino", "tiles/split.csv", "--out", "dino"];
    let small = [
        "--local-crops",
        "2",
        "--out-dim",
        "64",
        "--head-hidden",
        "32",
    ];
    train(folder, &[&dino, &NETWORK, &LENGTH, &small]);
    for name in ["mae", "dino"] {
        check_log(&folder.join(name), 2);
    }
    assert!(folder.join("mae/pictures/epoch-0002.png").is_file());

    to_the_line(folder, "mae", "probe");
    to_the_line(folder, "dino", "finetune");
}
