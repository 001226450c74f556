//! Tests on the embedded engine.

#![allow(clippy::unwrap_used)]
use super::*;
use crate::engine::{Batch, Embedded, Engine};
use crate::graph::testing::{model_file, reproducible};
use crate::graph::{InputForm, Pooling, ScreenSpec, VitSpec, screen_classifier, vit_classifier};

const SIDE: usize = 64;
const GREY: InputForm = InputForm::FoldedGrey {
    mean: [0.5; 3],
    std: [0.25; 3],
};

fn screen() -> ModelFile {
    let spec = ScreenSpec {
        image_height: SIDE,
        image_width: SIDE,
        stem: 4,
        widths: vec![8, 16, 24],
        classes: 2,
    };
    let graph = screen_classifier(&spec, &reproducible(&spec.parameters()), GREY).unwrap();
    model_file(graph, [SIDE; 2], &["no_defect", "defect"], GREY)
}

fn vit() -> ModelFile {
    let spec = VitSpec {
        image_height: SIDE,
        image_width: SIDE,
        patch: 16,
        width: 32,
        depth: 2,
        heads: 2,
        mlp_width: 64,
        qkv_bias: true,
        layer_scale: false,
        pooling: Pooling::ClassToken,
        classes: 3,
        layer_norm_epsilon: 1e-6,
    };
    let graph = vit_classifier(&spec, &reproducible(&spec.parameters()), GREY).unwrap();
    model_file(graph, [SIDE; 2], &["no_defect", "a", "b"], GREY)
}

fn tiles(count: usize) -> Vec<u8> {
    let area = SIDE * SIDE;
    let level = |at: usize| (at * 37 % 101 + at / area * 29 % 90 + at % 13) as u8;
    (0..count * area).map(level).collect()
}

fn scores(model: &ModelFile, tiles: &[u8]) -> Vec<f32> {
    let mut scores = Vec::new();
    Embedded::load(model)
        .unwrap()
        .run(Batch::U8(tiles), tiles.len() / (SIDE * SIDE), &mut scores)
        .unwrap();
    scores
}

/// Operators of a model's graph, with their numbers.
fn operators(model: &ModelFile) -> std::collections::BTreeMap<String, usize> {
    let proto = onnx_protobuf::ModelProto::parse_from_bytes(&model.onnx).unwrap();
    let mut counts = std::collections::BTreeMap::new();
    for node in &proto.graph.node {
        *counts.entry(node.op_type.clone()).or_default() += 1;
    }
    counts
}

/// The largest difference of a score as a share of their spread.
fn apart(model: &ModelFile, other: &ModelFile) -> f32 {
    let tiles = tiles(12);
    let (a, b) = (scores(model, &tiles), scores(other, &tiles));
    let bounds = a
        .iter()
        .fold((f32::MAX, f32::MIN), |(least, most), &score| {
            (least.min(score), most.max(score))
        });
    let differences = a.iter().zip(&b).map(|(a, b)| (a - b).abs());
    differences.fold(0.0, f32::max) / (bounds.1 - bounds.0)
}

#[test]
fn a_screen_in_whole_numbers_gives_nearly_the_same() {
    let model = screen();
    let calibration = tiles(8);
    let input = ReferenceInput::U8(calibration);
    for clipping in [
        Clipping::None,
        Clipping::Percentile(0.9999),
        Clipping::Entropy,
    ] {
        let whole = quantized(&model, Form::Static, clipping, &input, 8).unwrap();
        let operators = operators(&whole);
        // What each of three convolutions gives; the grey levels are whole
        // numbers already.
        assert_eq!(operators["QuantizeLinear"], 3);
        // Those, the grey levels, three weights and three biases.
        assert_eq!(operators["DequantizeLinear"], 10);
        assert!(!operators.contains_key("Cast"));
        assert_eq!(whole.card, model.card);
        assert!(whole.onnx.len() < model.onnx.len());
        let apart = apart(&model, &whole);
        assert!(apart > 0.0 && apart < 0.1, "{clipping:?}: {apart}");
    }
}

#[test]
fn linear_layers_may_find_their_ranges_themselves() {
    let model = vit();
    let none = ReferenceInput::U8(Vec::new());
    let whole = quantized(&model, Form::Dynamic, Clipping::None, &none, 0).unwrap();
    // Query, key and value, projection and two of the perceptron in each block.
    assert_eq!(operators(&whole)["MatMulInteger"], 8);
    let apart = apart(&model, &whole);
    assert!(apart > 0.0 && apart < 0.1, "{apart}");
}

#[test]
fn a_transformer_may_have_fixed_ranges_too() {
    let model = vit();
    let input = ReferenceInput::U8(tiles(8));
    let whole = quantized(&model, Form::Static, Clipping::None, &input, 8).unwrap();
    let apart = apart(&model, &whole);
    assert!(apart > 0.0 && apart < 0.15, "{apart}");
}

#[test]
fn what_cannot_be_done_is_said() {
    let none = ReferenceInput::U8(Vec::new());
    let message = |model: &ModelFile, form| {
        let result = quantized(model, form, Clipping::None, &none, 0);
        result.unwrap_err().to_string()
    };
    assert!(message(&screen(), Form::Dynamic).contains("no linear layer"));
    assert!(message(&screen(), Form::Static).contains("no tile"));
}

/// Filters that are narrower than what is gathered at a time lie side by side.
#[test]
fn a_stem_reads_whole_lines_and_gives_the_same() {
    let model = screen();
    let as_it_was = |as_it_was: bool| {
        let mut proto = onnx_protobuf::ModelProto::parse_from_bytes(&model.onnx).unwrap();
        let graph = proto.graph.as_mut().unwrap();
        let mut plan = statics::Plan::of(graph).unwrap();
        assert_eq!(plan.stems.len(), 1);
        if as_it_was {
            plan.stems.clear();
        }
        let levels = range::Levels {
            scale: 0.01,
            zero: 0,
        };
        statics::rewrite(graph, &plan, &vec![levels; plan.observed().len()]);
        ModelFile::from_graph(proto, model.card.clone()).unwrap()
    };
    let (plain, rewritten) = (as_it_was(true), as_it_was(false));
    let weights = |model: &ModelFile| {
        let proto = onnx_protobuf::ModelProto::parse_from_bytes(&model.onnx).unwrap();
        let mut constants = proto.graph.initializer.iter();
        let weights = constants.find(|tensor| tensor.name == "stem/Conv/weight/levels");
        weights.unwrap().dims.clone()
    };
    assert_eq!(weights(&plain), [8, 1, 4, 4]);
    assert_eq!(weights(&rewritten), [4 * 8, 4 * 4, 4, 1]);
    let tiles = tiles(5);
    // The embedded engine sums in floats, in another order.
    for (plain, rewritten) in scores(&plain, &tiles)
        .iter()
        .zip(scores(&rewritten, &tiles))
    {
        assert!((plain - rewritten).abs() < 1e-5, "{plain} {rewritten}");
    }

    // Lines of which no four places are left stay as they were.
    let narrow = ScreenSpec {
        image_height: 32,
        image_width: 24,
        stem: 4,
        widths: vec![8, 16],
        classes: 2,
    };
    let spec = &narrow;
    let graph = screen_classifier(spec, &reproducible(&spec.parameters()), GREY).unwrap();
    let model = model_file(graph, [32, 24], &["no_defect", "defect"], GREY);
    let levels: Vec<u8> = (0..4 * 32 * 24).map(|at| (at * 37 % 251) as u8).collect();
    let input = ReferenceInput::U8(levels);
    let whole = quantized(&model, Form::Static, Clipping::None, &input, 4).unwrap();
    assert!(!operators(&whole).contains_key("Reshape"));
}
