//! `millsight-export` as a user meets it.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use assert_cmd::Command;
use predicates::str::contains;
use serde_json::Value;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/fixtures")
        .join(name)
}

fn export(arguments: &[&str]) -> Command {
    let mut command = Command::cargo_bin("millsight-export").unwrap();
    command.args(arguments);
    command
}

fn json(command: &mut Command) -> Value {
    let output = command.assert().success().get_output().stdout.clone();
    serde_json::from_str(
        std::str::from_utf8(&output)
            .unwrap()
            .lines()
            .last()
            .unwrap(),
    )
    .unwrap()
}

#[test]
fn inspect_shows_card_and_graph() {
    let model = fixture("foreign_vit.onnx");
    export(&["inspect"])
        .arg(&model)
        .assert()
        .success()
        .stdout(contains("no_defect, scrap_mark_2"))
        .stdout(contains("`input0`: FLOAT [batch, 3, 64, 64]"))
        .stdout(contains("LayerNormalization 5"));
    let result = json(export(&["inspect", "--json"]).arg(&model));
    assert_eq!(result["card"]["input"]["width"], 64);
    assert_eq!(result["graph"]["outputs"][0]["name"], "output0");
    assert_eq!(result["bytes"], std::fs::metadata(&model).unwrap().len());
}

#[test]
fn inspect_shows_the_graph_of_a_model_without_card() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("bare.onnx");
    std::fs::copy(fixture("foreign_vit.onnx"), &model).unwrap();
    export(&["inspect"])
        .arg(&model)
        .assert()
        .success()
        .stdout(contains("bare.toml"))
        .stdout(contains("`output0`: FLOAT [batch, 5]"));
    let result = json(export(&["inspect", "--json"]).arg(&model));
    assert!(result["card"].is_null());
    assert_eq!(result["graph"]["inputs"][0]["name"], "input0");
}

#[test]
fn verify_tells_models_that_agree_from_those_that_do_not() {
    let reference = fixture("foreign_vit.safetensors");
    for model in ["foreign_vit.onnx", "foreign_vit_dynamo.onnx"] {
        let mut command = export(&["verify", "--engine", "embedded", "--json"]);
        command
            .arg(fixture(model))
            .arg("--reference")
            .arg(&reference);
        let parity = json(&mut command);
        assert_eq!(parity["samples"], 2);
        assert!(parity["max_abs"].as_f64().unwrap() < 1e-4, "{parity}");
    }
    export(&["verify", "--engine", "embedded", "--tolerance", "0"])
        .arg(fixture("foreign_vit.onnx"))
        .arg("--reference")
        .arg(&reference)
        .assert()
        .code(1)
        .stderr(contains("off by"));
}

#[test]
fn a_card_is_written_into_a_foreign_model() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("carded.onnx");
    export(&["card"])
        .arg(fixture("foreign_vit.onnx"))
        .arg("--sidecar")
        .arg(fixture("foreign_vit.toml"))
        .arg("--out")
        .arg(&out)
        .assert()
        .success();
    let result = json(export(&["inspect", "--json"]).arg(&out));
    assert_eq!(result["card"]["preprocessing"]["std"][0], 0.5);
    export(&["verify", "--engine", "embedded"])
        .arg(&out)
        .arg("--reference")
        .arg(fixture("foreign_vit.safetensors"))
        .assert()
        .success()
        .stdout(contains("agrees with the reference"));
}

/// What was said on standard error, without the wrapping of its lines.
fn complaint(command: &mut Command, code: i32) -> String {
    let output = command.assert().code(code).get_output().stderr.clone();
    let text = String::from_utf8(output).unwrap().replace('│', " ");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn failures_exit_with_1_and_wrong_usage_with_2() {
    let failing = [
        ("none.onnx", "there is no model file"),
        ("foreign_vit.png", "is not an ONNX model"),
    ];
    for (name, expected) in failing {
        let text = complaint(export(&["inspect"]).arg(fixture(name)), 1);
        assert!(text.contains(expected) && text.contains(name), "{text}");
    }
    let missing = complaint(&mut export(&["verify", "model.onnx"]), 2);
    assert!(missing.contains("--reference"), "{missing}");
    let negative = ["verify", "m.onnx", "--reference", "r", "--tolerance=-1"];
    let negative = complaint(&mut export(&negative), 2);
    assert!(negative.contains("at least 0"), "{negative}");
    complaint(&mut export(&[]), 2);
}

#[test]
fn bash_completions_know_the_options_of_every_command() {
    let output = export(&["completions", "bash"]).output().unwrap();
    let script = String::from_utf8(output.stdout).unwrap();
    for command in ["inspect", "verify", "card", "completions"] {
        // The script first names the command it has found, then looks up its
        // options by that name.
        let found = script
            .lines()
            .skip_while(|line| line.trim() != format!("millsight__export,{command})"))
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
    let program = || std::process::Command::new(env!("CARGO_BIN_EXE_millsight-export"));
    let model = fixture("foreign_vit.onnx").display().to_string();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    for arguments in [&["completions", "bash"][..], &["inspect", &model]] {
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
