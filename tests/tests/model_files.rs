//! The runtime with model files from elsewhere, and with bad ones.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use millsight_export::card::OutputKind;
use millsight_export::model_file::ModelFile;
use millsight_export::verify::Reference;
use serde_json::Value;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures")
        .join(name)
}

fn classify(model: &Path, sidecar: Option<&Path>, engine: &str) -> Output {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin("millsight"));
    command
        .args(["--json", "classify"])
        .arg(fixture("foreign_vit.png"));
    command.arg("--model").arg(model).args(["--engine", engine]);
    if let Some(sidecar) = sidecar {
        command.arg("--sidecar").arg(sidecar);
    }
    command.output().unwrap()
}

#[test]
fn a_timm_export_with_a_sidecar_is_classified() {
    for name in ["foreign_vit", "foreign_vit_dynamo"] {
        let path = fixture(&format!("{name}.onnx"));
        let model = ModelFile::load(&path, None).unwrap();
        assert_eq!(model.card.output.kind, OutputKind::Logits);
        let reference = Reference::load(&fixture("foreign_vit.safetensors"), &model.card).unwrap();
        for engine in ["embedded", "auto"] {
            let output = classify(&path, None, engine);
            assert!(
                output.status.success(),
                "{}",
                String::from_utf8_lossy(&output.stderr)
            );
            let verdict: Value = serde_json::from_slice(&output.stdout).unwrap();
            let class = verdict["class"].as_str().unwrap();
            assert!(model.card.classes.iter().any(|known| known == class));
            let scores = verdict["scores"].as_array().unwrap();
            for (score, expected) in scores.iter().zip(&reference.logits) {
                let difference = (score.as_f64().unwrap() - f64::from(*expected)).abs();
                assert!(difference < 1e-3, "{name} on {engine}: {difference}");
            }
        }
    }
}

/// Classifies with an edited sidecar and expects exit code 1 and a message
/// that holds the given parts.
fn refuses(edit: impl Fn(&str) -> String, parts: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let card = fs::read_to_string(fixture("foreign_vit.toml")).unwrap();
    let edited = edit(&card);
    assert_ne!(card, edited, "the edit must change the card");
    let sidecar = folder.path().join("edited.toml");
    fs::write(&sidecar, edited).unwrap();
    let output = classify(&fixture("foreign_vit.onnx"), Some(&sidecar), "embedded");
    let message: String = String::from_utf8_lossy(&output.stderr)
        .replace(['│', '\n'], " ")
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    assert_eq!(output.status.code(), Some(1), "{message}");
    for part in parts {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
}

#[test]
fn a_card_with_a_missing_class() {
    refuses(
        |card| {
            card.replace("\"overfill\", ", "")
                .replace(", \"overfill\"", "")
        },
        &["4", "5", "classes"],
    );
}

#[test]
fn a_card_without_the_clean_class() {
    refuses(|card| card.replace("no_defect", "fine"), &["no_defect"]);
}

#[test]
fn an_input_that_does_not_fit_the_card() {
    refuses(
        |card| format!("{card}\n[input]\nwidth = 40\nheight = 40\n"),
        &["40", "input"],
    );
}

#[test]
fn a_card_with_an_unknown_key() {
    refuses(
        |card| format!("colour = 3\n{card}"),
        &["edited.toml", "colour"],
    );
}

#[test]
fn a_foreign_model_without_a_card() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("bare.onnx");
    fs::copy(fixture("foreign_vit.onnx"), &model).unwrap();
    let output = classify(&model, None, "embedded");
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8_lossy(&output.stderr);
    for part in ["bare.onnx", "bare.toml"] {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
}
