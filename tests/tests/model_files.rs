//! The runtime with model files from elsewhere, and with bad ones.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use millsight_export::card::OutputKind;
use millsight_export::model_file::ModelFile;
use millsight_export::verify::Reference;
use millsight_tests::{engines, graphs};
use onnx_protobuf::{Message, ModelProto};
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

fn verdict(output: Output) -> Value {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

fn numbers(list: &Value) -> Vec<f64> {
    let numbers = list.as_array().unwrap().iter();
    numbers.map(|number| number.as_f64().unwrap()).collect()
}

#[test]
fn a_timm_export_with_a_sidecar_is_classified() {
    for name in ["foreign_vit", "foreign_vit_dynamo"] {
        let path = fixture(&format!("{name}.onnx"));
        let model = ModelFile::load(&path, None).unwrap();
        assert_eq!(model.card.output.kind, OutputKind::Logits);
        let reference = Reference::load(&fixture("foreign_vit.safetensors"), &model.card).unwrap();
        // The reference's first sample is the image.
        let expected = &reference.logits[..model.card.classes.len()];
        let best = (0..expected.len()).max_by(|&a, &b| expected[a].total_cmp(&expected[b]));
        for engine in engines::names() {
            let verdict = verdict(classify(&path, None, engine));
            assert_eq!(verdict["class"], model.card.classes[best.unwrap()].as_str());
            let scores = numbers(&verdict["scores"]);
            assert_eq!(scores.len(), expected.len());
            for (score, expected) in scores.iter().zip(expected) {
                let difference = (score - f64::from(*expected)).abs();
                assert!(difference < 1e-3, "{name} on {engine}: {difference}");
            }
        }
    }
}

/// A network that ends with a softmax, as Ultralytics exports them.
#[test]
fn scores_that_are_probabilities_stay_what_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let plain = graphs::mean_colour(None, [32, 32], 3);
    let mut softmax = plain.clone();
    let node = graphs::node("Softmax", &["scores"], "probabilities");
    graphs::push_output(&mut softmax, node, &[None, Some(3)]);
    let classes = "classes = ['no_defect', 'cracks', 'overfill']\n";
    let write = |name: &str, proto: &ModelProto, sidecar: &str| {
        let path = folder.path().join(format!("{name}.onnx"));
        fs::write(&path, proto.write_to_bytes().unwrap()).unwrap();
        fs::write(path.with_extension("toml"), format!("{classes}{sidecar}")).unwrap();
        path
    };
    let plain = write("plain", &plain, "");
    let softmax = write(
        "softmax",
        &softmax,
        "[output]\nname = 'probabilities'\nkind = 'probabilities'\n",
    );
    for engine in engines::names() {
        let expected = verdict(classify(&plain, None, engine));
        let got = verdict(classify(&softmax, None, engine));
        assert_eq!(got["class"], expected["class"], "{engine}");
        let scores = numbers(&got["scores"]);
        assert!((scores.iter().sum::<f64>() - 1.0).abs() < 1e-6, "{got}");
        for (index, class) in ["no_defect", "cracks", "overfill"].iter().enumerate() {
            let probability = got["probabilities"][class].as_f64().unwrap();
            assert!((probability - scores[index]).abs() < 1e-6, "{got}");
            let expected = expected["probabilities"][class].as_f64().unwrap();
            assert!((probability - expected).abs() < 1e-5, "{got} {expected}");
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
