//! The runtime with model files from elsewhere, and with bad ones.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use millsight_export::card::OutputKind;
use millsight_export::model_file::ModelFile;
use millsight_export::verify::Reference;
use onnx_protobuf::tensor_shape_proto::dimension;
use onnx_protobuf::{Message, ModelProto, type_proto};
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

/// Makes a graph take `batch` tiles at once, as many exporters do.
fn fix_batch(model: &mut ModelProto, batch: i64) {
    let Some(graph) = model.graph.as_mut() else {
        panic!("a model has a graph");
    };
    for value in graph.input.iter_mut().chain(&mut graph.output) {
        let Some(type_proto::Value::TensorType(tensor)) =
            value.type_.as_mut().and_then(|kind| kind.value.as_mut())
        else {
            panic!("inputs and outputs are tensors");
        };
        if let Some(shape) = tensor.shape.as_mut() {
            shape.dim[0].value = Some(dimension::Value::DimValue(batch));
        }
    }
}

#[test]
fn a_model_with_a_fixed_batch_judges_every_tile_of_a_strip() {
    let folder = tempfile::tempdir().unwrap();
    let strip = folder.path().join("strip.png");
    image::GrayImage::from_fn(1536, 1100, |x, y| {
        image::Luma([(96 + (x * 7 + y * 13) % 64) as u8])
    })
    .save(&strip)
    .unwrap();
    let model = folder.path().join("fixed.onnx");
    fs::copy(fixture("foreign_vit.toml"), model.with_extension("toml")).unwrap();
    let bytes = fs::read(fixture("foreign_vit.onnx")).unwrap();
    let mut graph = ModelProto::parse_from_bytes(&bytes).unwrap();
    fix_batch(&mut graph, 2);
    fs::write(&model, graph.write_to_bytes().unwrap()).unwrap();
    assert_eq!(ModelFile::load(&model, None).unwrap().fixed_batch, Some(2));
    for engine in ["embedded", "auto"] {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin("millsight"));
        command.args(["--json", "replay", "--engine", engine]);
        command.arg(&strip).arg("--model").arg(&model);
        let output = command.output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let summary: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert_eq!(summary["tiles"]["judged"], 9, "{summary}");
        assert_eq!(output.status.code(), Some(0), "{summary}");
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
