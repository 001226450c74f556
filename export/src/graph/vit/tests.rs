//! Tests of the written graph on the embedded engine.

#![allow(clippy::unwrap_used)]
use super::*;
use crate::engine::{Batch, Embedded, Engine};
use crate::graph::testing::{model_file, scores_of_both_forms};
use crate::model_file::ModelFile;

fn spec(pooling: Pooling) -> VitSpec {
    VitSpec {
        image_height: 16,
        image_width: 24,
        patch: 8,
        width: 12,
        depth: 2,
        heads: 3,
        mlp_width: 20,
        qkv_bias: true,
        layer_scale: true,
        pooling,
        classes: 4,
        layer_norm_epsilon: 1e-6,
    }
}

/// Reproducible weights of mixed sign.
fn weights(spec: &VitSpec) -> NamedArrays {
    let mut arrays = NamedArrays::new();
    let mut state = 1u32;
    for (name, shape) in spec.parameters() {
        let data = (0..shape.iter().product::<usize>())
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 8) as f32 / (1 << 24) as f32 - 0.5
            })
            .collect();
        arrays.insert(name, shape, data).unwrap();
    }
    arrays
}

fn model(spec: &VitSpec, form: InputForm) -> ModelFile {
    let graph = vit_classifier(spec, &weights(spec), form).unwrap();
    let size = [spec.image_height, spec.image_width];
    model_file(graph, size, &["no_defect", "a", "b", "c"], form)
}

#[test]
fn the_folded_form_equals_the_normalised_one() {
    for pooling in [Pooling::ClassToken, Pooling::Mean] {
        let spec = spec(pooling);
        let tiles = 2;
        let area = spec.image_height * spec.image_width;
        let levels: Vec<u8> = (0..tiles * area).map(|i| (i * 37 % 256) as u8).collect();
        let [raw, ready] = scores_of_both_forms(|form| model(&spec, form), &levels, area);
        assert_eq!(raw.len(), tiles * spec.classes);
        assert_ne!(raw[..4], raw[4..], "the tiles differ, so must their logits");
        for (raw, ready) in raw.iter().zip(&ready) {
            assert!((raw - ready).abs() < 1e-5, "{raw} {ready}");
        }
    }
}

#[test]
fn a_backbone_without_a_head_has_no_graph() {
    let spec = spec(Pooling::ClassToken).backbone();
    assert!(spec.check().is_ok());
    let weights = weights(&spec);
    assert!(weights.get("head.weight").is_none());
    let error = vit_classifier(&spec, &weights, InputForm::Normalised).unwrap_err();
    assert!(error.to_string().contains("without a head"), "{error}");
}

#[test]
fn every_wrong_weight_is_listed() {
    let spec = spec(Pooling::ClassToken);
    let mut arrays = weights(&spec);
    arrays.remove("head.bias");
    arrays.insert("norm.weight", [3], vec![0.0; 3]).unwrap();
    arrays.insert("decoder.weight", [1], vec![0.0]).unwrap();
    let message = vit_classifier(&spec, &arrays, InputForm::Normalised)
        .unwrap_err()
        .to_string();
    for part in [
        "`head.bias` [4] is missing",
        "`norm.weight` has the shape [3]",
        "`decoder.weight` is unknown",
    ] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn impossible_sizes_are_named() {
    let mut spec = spec(Pooling::ClassToken);
    spec.heads = 5;
    assert!(spec.check().unwrap_err().to_string().contains("`heads` 5"));
    spec.heads = 3;
    spec.image_width = 20;
    assert!(
        spec.check()
            .unwrap_err()
            .to_string()
            .contains("`image_width` 20")
    );
}

#[test]
fn every_node_is_named_and_every_output_has_a_shape() {
    let spec = spec(Pooling::Mean);
    let model = vit_classifier(&spec, &weights(&spec), InputForm::Normalised).unwrap();
    let described: Vec<&str> = model
        .graph
        .value_info
        .iter()
        .chain(&model.graph.output)
        .map(|info| info.name.as_str())
        .collect();
    let mut names = std::collections::HashSet::new();
    for node in &model.graph.node {
        assert!(
            !node.name.is_empty() && names.insert(&node.name),
            "{}",
            node.name
        );
        for output in &node.output {
            assert!(
                described.contains(&output.as_str()),
                "{output} has no shape"
            );
        }
    }
}

#[test]
fn weights_that_are_taken_out_of_a_model_file_make_the_same_network() {
    for (pooling, qkv_bias, layer_scale) in [
        (Pooling::ClassToken, true, true),
        (Pooling::Mean, false, false),
    ] {
        let spec = VitSpec {
            qkv_bias,
            layer_scale,
            ..spec(pooling)
        };
        let card = crate::card::Preprocessing::imagenet();
        let folded = InputForm::FoldedGrey {
            mean: card.mean,
            std: card.std,
        };
        for form in [folded, InputForm::Normalised] {
            let first = model(&spec, form);
            let (read, weights) = vit_weights(&first).unwrap();
            assert_eq!(read, spec);
            let graph = vit_classifier(&read, &weights, folded).unwrap();
            let size = [spec.image_height, spec.image_width];
            let again = model_file(graph, size, &["no_defect", "a", "b", "c"], folded);
            let area = spec.image_height * spec.image_width;
            let levels: Vec<u8> = (0..area).map(|i| (i * 37 % 256) as u8).collect();
            let scores = |model: &ModelFile| {
                let mut engine = Embedded::load(model).unwrap();
                let mut scores = Vec::new();
                engine.run(Batch::U8(&levels), 1, &mut scores).unwrap();
                scores
            };
            let before = scores(&model(&spec, folded));
            for (before, after) in before.iter().zip(scores(&again)) {
                assert!((before - after).abs() < 1e-4, "{before} {after}");
            }
        }
    }
}

#[test]
fn weights_of_another_network_are_refused_in_words() {
    let spec = spec(Pooling::Mean);
    let whole = crate::quantize::quantized(
        &model(&spec, InputForm::Normalised),
        crate::quantize::Form::Dynamic,
        crate::quantize::Clipping::None,
        &crate::verify::ReferenceInput::U8(Vec::new()),
        0,
    );
    let error = vit_weights(&whole.unwrap()).unwrap_err().to_string();
    assert!(error.contains("in 8 bits"), "{error}");
}
