//! The walk from a folder to a model file, through the program.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod tiles;

use std::path::Path;

use assert_cmd::Command;
use millsight_export::card::ElementType;
use millsight_export::model_file::ModelFile;
use predicates::prelude::predicate;
use predicates::str::contains;
use serde_json::Value;

fn program() -> Command {
    Command::cargo_bin("millsight-train").unwrap()
}

/// Runs the program, which must succeed, and reads its line of JSON.
fn json(arguments: &[&str]) -> Value {
    let output = program().args(arguments).arg("--json").assert().success();
    let text = String::from_utf8(output.get_output().stdout.clone()).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    serde_json::from_str(&text).unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn from_a_folder_to_a_model_file() {
    let data = tiles::folder(&[("no_defect", 30), ("cracks", 15), ("overfill", 15)], 40);
    let out = tempfile::tempdir().unwrap();
    let (index, split) = (data.path().join("index.csv"), data.path().join("split.csv"));
    let run = out.path().join("run");

    let indexed = json(&["index", text(data.path())]);
    assert_eq!(indexed["tiles"], 60);
    assert_eq!(indexed["classes"]["cracks"], 15);
    let parts = json(&["split", text(&index), "--seed", "3"]);
    assert_eq!(parts["classes"]["no_defect"]["train"], 21);

    let small = "--image-size 32 --patch 8 --width 32 --depth 2 --heads 2 --mlp-ratio 2 \
                 --epochs 12 --batch-size 8 --learning-rate 2e-3 --schedule cosine \
                 --warmup-epochs 2 --clip-gradient-norm 1 --augment flips --seed 4";
    let mut train = vec!["train", text(&split), "--out", text(&run)];
    train.extend(small.split_whitespace());
    let trained = json(&train);
    assert_eq!(trained["epochs"], 12);
    program()
        .args(&train)
        .assert()
        .code(1)
        .stderr(contains("--resume"));
    // Nothing is left to do, so that a resumed run ends where it was.
    assert_eq!(
        json(&["train", "--resume", text(&run)])["best"],
        trained["best"]
    );

    // What the best weights make of the validation part lies in the folder.
    let header = |name: &str| {
        let table = std::fs::read_to_string(run.join(name)).unwrap();
        table.lines().next().unwrap().to_owned()
    };
    assert_eq!(
        header("predictions.csv"),
        "path,label,predicted,logit_no_defect,logit_cracks,logit_overfill"
    );
    assert_eq!(
        header("misclassified.csv"),
        "path,label,predicted,probability,margin"
    );
    assert!(run.join("evaluation-val.json").exists());

    let (predictions, wrong) = (out.path().join("predictions.csv"), out.path().join("wrong"));
    let report = json(&[
        "evaluate",
        "--run",
        text(&run),
        "--predictions",
        text(&predictions),
        "--misclassified",
        text(&wrong),
        "--operating-point",
        "0.1",
    ]);
    let mistakes = std::fs::read_to_string(wrong.join("misclassified.csv")).unwrap();
    let mistakes = mistakes.lines().count() - 1;
    let accuracy = report["accuracy"].as_f64().unwrap();
    assert_eq!(mistakes, ((1.0 - accuracy) * 9.0).round() as usize);
    assert_eq!(wrong.join("misclassified.png").exists(), mistakes > 0);
    let operating = &report["operating"];
    let few = &operating["operating_point"]["classes"]["cracks"];
    assert_eq!(few["proven"], false, "{operating}");
    assert_eq!(few["tiles_needed"], 36, "{operating}");
    assert_eq!(
        operating["operating_point"]["parts"]["val"]["classes"]["cracks"]["missed"]["count"],
        0
    );
    assert_eq!(report["tiles"], 9);
    assert!(
        report["balanced_accuracy"].as_f64().unwrap() > 0.6,
        "{report}"
    );
    let table = std::fs::read_to_string(&predictions).unwrap();
    let mut lines = table.lines();
    assert_eq!(
        lines.next().unwrap(),
        "path,label,predicted,logit_no_defect,logit_cracks,logit_overfill"
    );
    assert_eq!(lines.count(), 9);

    let model = out.path().join("small.onnx");
    let mut export = vec!["export", "--run", text(&run), "--out", text(&model)];
    export.extend(["--engine", "embedded"]);
    let exported = json(&export);
    assert_eq!(exported["thresholds"], operating["thresholds"]);
    let card = ModelFile::load(&model, None).unwrap().card;
    let point = card.provenance.operating_point.unwrap();
    assert_eq!(point.miss_rate, 0.1);
    assert!(point.parts.contains_key("val") && point.parts.contains_key("test"));
    let temperature = card.calibration.unwrap().temperature;
    assert_eq!(
        exported["temperature"].as_f64().unwrap() as f32,
        temperature
    );

    export.extend(["--threshold", "cracks=0.25"]);
    let exported = json(&export);
    assert!(
        exported["parity"]["max_abs"].as_f64().unwrap() < 1e-3,
        "{exported}"
    );
    let folded = ModelFile::load(&model, None).unwrap();
    let card = &folded.card;
    assert_eq!(card.name, "small");
    assert_eq!(card.classes, ["no_defect", "cracks", "overfill"]);
    assert_eq!(
        (card.input.channels, card.input.element),
        (1, ElementType::U8)
    );
    assert_eq!(card.thresholds["cracks"], 0.25);
    // The figures of the operating point are not those of another threshold.
    assert!(card.provenance.operating_point.is_none());
    assert!(card.calibration.is_some());
    assert_eq!(card.provenance.seed, Some(4));
    assert_eq!(
        card.provenance.metrics["test.balanced_accuracy"],
        report["balanced_accuracy"].as_f64().unwrap()
    );
    assert!(
        card.provenance
            .command
            .starts_with("millsight-train train ")
    );
    assert_eq!(card.provenance.parity.as_ref().unwrap().samples, 9);

    export.extend(["--form", "normalised"]);
    json(&export);
    let normalised = ModelFile::load(&model, None).unwrap();
    assert_eq!(normalised.card.input.channels, 3);
    assert_eq!(normalised.card.input.element, ElementType::F32);

    // A check that fails leaves the file that was there.
    let before = std::fs::read(&model).unwrap();
    export.extend(["--tolerance", "0"]);
    program()
        .args(&export)
        .assert()
        .code(1)
        .stderr(contains("was not written"));
    assert_eq!(std::fs::read(&model).unwrap(), before);
    export.extend(["--threshold", "rust=0.5"]);
    program()
        .args(&export)
        .assert()
        .code(1)
        .stderr(contains("cracks, overfill"));
}

#[test]
fn from_a_folder_to_a_backbone_and_on_to_a_classifier() {
    let data = tiles::folder(&[("no_defect", 20), ("cracks", 10)], 40);
    tiles::split(data.path());
    let split = data.path().join("split.csv");
    let out = tempfile::tempdir().unwrap();
    let (mae, tuned) = (out.path().join("mae"), out.path().join("tuned"));
    let network = "--image-size 32 --patch 8 --width 32 --depth 2 --heads 2 --epochs 2";

    let pretrain = |out: &Path, more: &str| -> Vec<String> {
        let begin = ["pretrain", "mae", text(&split), "--out", text(out)];
        let options = network.split_whitespace().chain(more.split_whitespace());
        begin
            .into_iter()
            .chain(options)
            .map(str::to_owned)
            .collect()
    };
    let arguments = pretrain(&mae, "--seed 4 --mask-ratio 0.5");
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let pretrained = json(&arguments);
    assert_eq!(pretrained["epochs"], 2);
    assert!(pretrained["figures"]["val_loss"].as_f64().unwrap() > 0.0);
    let config = std::fs::read(mae.join("config.json")).unwrap();
    let config: Value = serde_json::from_slice(&config).unwrap();
    // The recipe from scratch, but for what was said otherwise.
    let method = &config["method"];
    assert_eq!(method["name"], "mae");
    assert_eq!(method["masking"], "grid");
    assert_eq!(method["mask_ratio"], 0.5);
    assert_eq!(method["learning_rate"]["base"], 1.5e-4);
    assert_eq!(config["batch_size"], 32);
    assert_eq!(config["optimiser"]["betas"], serde_json::json!([0.9, 0.95]));
    // Nothing is left to do, so that a resumed run ends where it was.
    assert_eq!(json(&["pretrain", "--resume", text(&mae)]), pretrained);
    program()
        .args(["train", "--resume", text(&mae)])
        .assert()
        .code(1)
        .stderr(contains("millsight-train pretrain --resume"));

    let backbone = mae.join("backbone.safetensors");
    let mut train = vec!["train", text(&split), "--out", text(&tuned)];
    train.extend(network.split_whitespace());
    train.extend(["--init", text(&backbone)]);
    json(&train);
    for network in [["--run", text(&mae)], ["--weights", text(&backbone)]] {
        program()
            .arg("evaluate")
            .args(network)
            .assert()
            .code(1)
            .stderr(contains("was pretrained and tells no classes apart"));
    }

    // Tiles without labels take part in pretraining alone.
    let unlabelled = out.path().join("unlabelled.csv");
    let table = std::fs::read_to_string(&split).unwrap();
    let table = table.replace(",no_defect,", ",unlabelled,");
    std::fs::write(&unlabelled, table).unwrap();
    let root = ["--data-root", text(data.path())];
    let again = out.path().join("again");
    program()
        .args(["train", text(&unlabelled), "--out", text(&again)])
        .args(root)
        .assert()
        .code(1)
        .stderr(contains("label unlabelled, which are for pretraining"));
    let dino = "--local-scale 0.05,0.4 --local-crops 2 --local-size 16 --out-dim 64 \
                --head-hidden 32 --batch-size 8";
    let dino = dino.split_whitespace().chain(network.split_whitespace());
    program()
        .args(["pretrain", "dino"])
        .args(dino)
        .args([text(&unlabelled), "--out", text(&again)])
        .args(root)
        .assert()
        .success()
        .stderr(contains("fewer than two classes are labelled"));
    let metrics = std::fs::read_to_string(again.join("metrics.csv")).unwrap();
    assert!(!metrics.contains("knn") && metrics.contains("teacher_entropy"));

    let fails = |more: &str| {
        let arguments = pretrain(&out.path().join("wrong"), more);
        let failed = program().args(arguments).assert().code(1);
        assert!(!out.path().join("wrong").exists());
        String::from_utf8(failed.get_output().stderr.clone()).unwrap()
    };
    let message = fails("--recipe mae-pretrained");
    assert!(message.contains("--init FILE"), "{message}");
    let message = fails("--mask-ratio 0.99");
    assert!(message.contains("leaves 0 of 16 patches"), "{message}");
    let message = fails("--decoder-width 36 --decoder-heads 5");
    assert!(message.contains("the decoder: "), "{message}");
}

#[test]
fn failures_have_a_message_and_code_1() {
    let empty = tempfile::tempdir().unwrap();
    let one = tiles::folder(&[("cracks", 20)], 32);
    tiles::split(one.path());
    let table = one.path().join("split.csv");
    let run = empty.path().join("run");
    let fails = |arguments: &[&str], message: &str| {
        program()
            .args(arguments)
            .assert()
            .code(1)
            .stdout(predicate::str::is_empty())
            .stderr(contains(message));
    };
    fails(&["index", text(empty.path())], "holds no images");
    fails(&["index", "/nowhere"], "/nowhere");
    fails(&["split", "/nowhere/index.csv"], "/nowhere/index.csv");
    fails(
        &["train", text(&table), "--out", text(&run)],
        "only the class",
    );
    fails(
        &["evaluate", "--run", text(empty.path())],
        "not a run folder",
    );
    fails(&["evaluate", "--weights", text(&table)], "split.csv");
    let gpu = [
        "train",
        text(&table),
        "--out",
        text(&run),
        "--device",
        "cuda",
    ];
    if !cfg!(feature = "cuda") {
        fails(&gpu, "CUDA");
    }
}

#[test]
fn wrong_usage_has_code_2() {
    for arguments in [
        &["train"][..],
        &["train", "table.csv"],
        &["train", "table.csv", "--out", "run", "--device", "gpu"],
        &["train", "--resume", "run", "--out", "other"],
        &[
            "export",
            "--run",
            "r",
            "--out",
            "m.onnx",
            "--threshold",
            "cracks=2",
        ],
        &["evaluate"],
        &["evaluate", "--run", "r", "--weights", "w"],
        &["frobnicate"],
    ] {
        program().args(arguments).assert().code(2);
    }
}

#[test]
fn bash_completions_know_the_options_of_every_command() {
    let output = program().args(["completions", "bash"]).output().unwrap();
    let script = String::from_utf8(output.stdout).unwrap();
    for command in [
        "index",
        "split",
        "split-from-folders",
        "check",
        "train",
        "evaluate",
        "export",
        "completions",
    ] {
        // The script first names the command it has found, then looks up its
        // options by that name.
        let found = script
            .lines()
            .skip_while(|line| line.trim() != format!("millsight__train,{command})"))
            .nth(1)
            .unwrap();
        let name = found
            .trim()
            .strip_prefix("cmd=\"")
            .unwrap()
            .trim_end_matches('"');
        assert!(script.contains(&format!("        {name})\n")), "{name}");
    }
}

#[test]
fn output_that_cannot_be_written_is_a_failure_and_a_reader_that_has_gone_is_none() {
    let program = || std::process::Command::new(env!("CARGO_BIN_EXE_millsight-train"));
    let data = tiles::folder(&[("no_defect", 2), ("cracks", 1)], 32);
    let folder = data.path().display().to_string();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    for arguments in [&["completions", "bash"][..], &["index", &folder]] {
        let gone = program()
            .args(arguments)
            .stdout(writer.try_clone().unwrap())
            .output()
            .unwrap();
        assert_eq!(gone.status.code(), Some(0), "{arguments:?}");
        let full = std::fs::OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .unwrap();
        let full = program().args(arguments).stdout(full).output().unwrap();
        assert_eq!(full.status.code(), Some(1), "{arguments:?}");
        let message = String::from_utf8(full.stderr).unwrap();
        assert!(message.contains("standard output"), "{message}");
    }
}

#[test]
fn options_that_cannot_mean_anything_are_wrong_usage() {
    for arguments in [
        &["train", "--resume", "run", "--epochs", "10"][..],
        &["train", "--resume", "run", "--width", "64"],
        &["train", "--resume", "run", "--augment", "flips"],
        &[
            "export",
            "--run",
            "run",
            "--out",
            "a.onnx",
            "--tolerance",
            "inf",
        ],
        &[
            "export",
            "--run",
            "run",
            "--out",
            "a.onnx",
            "--tolerance=-1",
        ],
        &["split", "index.csv", "--group-by", "("],
        &[
            "train",
            "t.csv",
            "--out",
            "run",
            "--augment",
            "flips,noise:x",
        ],
        &["train", "t.csv", "--out", "run", "--augment", "flip"],
        &["evaluate", "--run", "run", "--operating-point", "5"],
        &[
            "pretrain",
            "dino",
            "t.csv",
            "--out",
            "run",
            "--local-scale",
            "0.1,0.5,1",
        ],
    ] {
        program().args(arguments).assert().code(2);
    }
}

#[test]
fn tiles_of_a_piece_share_a_part_and_figures_on_another_table_stay_apart() {
    let data = tiles::folder(&[("no_defect", 24), ("cracks", 24)], 32);
    let out = tempfile::tempdir().unwrap();
    let (index, split) = (data.path().join("index.csv"), data.path().join("split.csv"));
    let run = out.path().join("run");
    json(&["index", text(data.path())]);
    // Every name is a piece of its own: the last digit of the number is left out.
    json(&["split", text(&index), "--group-by", r"^(.*)\d\.png$"]);
    let table = millsight_trainer::data::table::Table::read(&split).unwrap();
    let piece = |path: &str| path[..path.len() - "0.png".len()].to_owned();
    for row in &table.rows {
        let same = table
            .rows
            .iter()
            .filter(|other| piece(&other.path) == piece(&row.path));
        assert!(
            same.map(|other| other.split)
                .all(|split| split == row.split),
            "{}",
            row.path
        );
    }
    let train = "--image-size 32 --patch 16 --width 16 --depth 1 --heads 1 --epochs 1";
    let mut arguments = vec!["train", text(&split), "--out", text(&run)];
    arguments.extend(train.split_whitespace());
    json(&arguments);

    let other = out.path().join("other.csv");
    std::fs::copy(&split, &other).unwrap();
    let mut bytes = std::fs::read(&other).unwrap();
    bytes.extend(b"\n");
    std::fs::write(&other, bytes).unwrap();
    let evaluate = [
        "evaluate",
        "--run",
        text(&run),
        "--data-root",
        text(data.path()),
    ];
    json(
        &[
            &evaluate[..],
            &["--table", text(&other), "--split", "train"],
        ]
        .concat(),
    );
    assert!(!run.join("evaluation-train.json").exists());
    json(&[&evaluate[..], &["--split", "train"]].concat());
    assert!(run.join("evaluation-train.json").exists());

    // There is no test part to check a model file with, but another.
    let model = out.path().join("model.onnx");
    program()
        .args(["export", "--run", text(&run), "--out", text(&model)])
        .args(["--engine", "embedded"])
        .assert()
        .success()
        .stderr(contains("the card has no figures of the test part"));

    // Of other parts the run may have learnt what is asked now.
    json(&["split", text(&index), "--seed", "5"]);
    program()
        .args(evaluate)
        .args(["--split", "val"])
        .assert()
        .code(1)
        .stdout(predicate::str::is_empty())
        .stderr(contains("is not the table with which the run began"));
    let message = program()
        .args(["split", text(&index), "--group-by", "coil"])
        .assert()
        .code(1);
    let message = String::from_utf8(message.get_output().stderr.clone()).unwrap();
    assert!(
        message.contains("--group-by coil matches nothing"),
        "{message}"
    );
}
