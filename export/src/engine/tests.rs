//! Tests of what both engines have in common.
#![allow(clippy::unwrap_used)]

use onnx_protobuf::tensor_shape_proto::dimension;
use onnx_protobuf::{ModelProto, type_proto};

use super::*;
use crate::card::Preprocessing;
use crate::graph::testing::model_file;
use crate::graph::{InputForm, Pooling, VitSpec, vit_classifier};
use crate::model_file::ModelFile;
use crate::weights::NamedArrays;

const SIDE: usize = 16;

/// A small network whose graph takes `batch` tiles at once; `None`: any number.
fn model(batch: Option<i64>) -> ModelFile {
    let spec = VitSpec {
        image_height: SIDE,
        image_width: SIDE,
        patch: 8,
        width: 12,
        depth: 1,
        heads: 3,
        mlp_width: 20,
        qkv_bias: true,
        layer_scale: false,
        pooling: Pooling::ClassToken,
        classes: 3,
        layer_norm_epsilon: 1e-6,
    };
    let mut weights = NamedArrays::new();
    for (name, shape) in spec.parameters() {
        let length = shape.iter().product::<usize>();
        let data = (0..length).map(|i| (i * 37 % 101) as f32 / 101.0 - 0.5);
        weights.insert(name, shape, data.collect()).unwrap();
    }
    let Preprocessing { mean, std, .. } = Preprocessing::imagenet();
    let form = InputForm::FoldedGrey { mean, std };
    let mut graph = vit_classifier(&spec, &weights, form).unwrap();
    if let Some(batch) = batch {
        fix_batch(&mut graph, batch);
    }
    model_file(graph, [SIDE; 2], &["no_defect", "a", "b"], form)
}

fn fix_batch(proto: &mut ModelProto, batch: i64) {
    let value = proto.graph.mut_or_insert_default().input[0]
        .type_
        .mut_or_insert_default()
        .value
        .as_mut();
    let Some(type_proto::Value::TensorType(tensor)) = value else {
        panic!("the input is a tensor");
    };
    let dimension = &mut tensor.shape.mut_or_insert_default().dim[0];
    dimension.value = Some(dimension::Value::DimValue(batch));
}

fn scores(choice: EngineChoice, model: &ModelFile, levels: &[u8]) -> Vec<f32> {
    let request = EngineRequest {
        choice,
        ..EngineRequest::default()
    };
    let mut started = start(model, &request, 1).unwrap();
    let mut scores = Vec::new();
    let tiles = levels.len() / (SIDE * SIDE);
    started.engines[0]
        .run(Batch::U8(levels), tiles, &mut scores)
        .unwrap();
    scores
}

/// A graph that fixes its batch gives each tile what the same graph with an
/// open batch gives it, whether the tiles fill its batch or not.
fn honours_a_fixed_batch(choice: EngineChoice) {
    let tiles = 7;
    let levels: Vec<u8> = (0..tiles * SIDE * SIDE)
        .map(|i| (i * 31 % 251) as u8)
        .collect();
    let expected = scores(choice, &model(None), &levels);
    assert_eq!(expected.len(), tiles * 3);
    for batch in [1, 2, 3, 8] {
        let model = model(Some(batch));
        assert_eq!(model.fixed_batch, Some(batch as usize));
        let scores = scores(choice, &model, &levels);
        assert_eq!(scores.len(), expected.len(), "batch {batch}");
        for (score, expected) in scores.iter().zip(&expected) {
            assert!((score - expected).abs() < 1e-4, "{score} {expected}");
        }
    }
}

#[test]
fn the_embedded_engine_honours_a_fixed_batch() {
    honours_a_fixed_batch(EngineChoice::Embedded);
}

#[test]
fn onnx_runtime_honours_a_fixed_batch() {
    if library::candidates(None).is_empty() {
        assert!(
            std::env::var_os("MILLSIGHT_REQUIRE_ONNXRUNTIME").is_none(),
            "no ONNX Runtime library was found, and it is required"
        );
        eprintln!("skipped: no ONNX Runtime library was found");
        return;
    }
    honours_a_fixed_batch(EngineChoice::OnnxRuntime);
}

#[test]
fn workers_are_counted_by_the_provider_that_started() {
    let request = EngineRequest {
        choice: EngineChoice::Embedded,
        providers: vec![Provider::Cuda, Provider::Cpu],
        fallback: true,
        ..EngineRequest::default()
    };
    let started = start_for(&model(None), &request, |identity| {
        if identity.provider == "cpu" { 3 } else { 1 }
    })
    .unwrap();
    assert_eq!(started.engines.len(), 3);
}

#[test]
fn tensorrt_is_asked_for_what_the_station_says() {
    let free = model(None);
    let folder = std::path::Path::new("/srv/engines");
    let names = |options: &TensorRtOptions, model: &ModelFile| {
        let named = options.of(model, None).into_iter();
        named.map(|(name, _)| name).collect::<Vec<_>>()
    };
    let plain = TensorRtOptions::default();
    assert_eq!(names(&plain, &free), [""; 0]);

    let kept: std::collections::BTreeMap<_, _> =
        plain.of(&free, Some(folder)).into_iter().collect();
    assert_eq!(kept["trt_engine_cache_path"], "/srv/engines");
    assert_eq!(kept["trt_timing_cache_path"], "/srv/engines");
    assert_eq!(kept["trt_engine_cache_prefix"], free.sha256[..16]);
    assert_eq!(
        (kept["trt_engine_cache_enable"].as_str(), kept.len()),
        ("1", 5)
    );

    let half = TensorRtOptions {
        half_precision: true,
        largest_batch: Some(64),
        ..plain.clone()
    };
    let options: std::collections::BTreeMap<_, _> = half.of(&free, None).into_iter().collect();
    assert_eq!(options["trt_fp16_enable"], "1");
    assert_eq!(options["trt_layer_norm_fp32_fallback"], "1");
    let name = &free.card.input.name;
    assert_eq!(
        options["trt_profile_min_shapes"],
        format!("{name}:1x1x16x16")
    );
    assert_eq!(
        options["trt_profile_opt_shapes"],
        format!("{name}:64x1x16x16")
    );
    assert_eq!(
        options["trt_profile_max_shapes"],
        format!("{name}:64x1x16x16")
    );
    assert!(!options.contains_key("trt_int8_enable"));

    // A graph that fixes its batch has one shape only.
    let fixed = model(Some(4));
    assert_eq!(
        names(&half, &fixed),
        ["trt_fp16_enable", "trt_layer_norm_fp32_fallback"]
    );

    let mut quantized = free;
    quantized.card.provenance.quantization = Some(crate::card::Quantization {
        form: "static".into(),
        clipping: "none".into(),
        calibration_tiles: 1,
        original_sha256: String::new(),
        engine: String::new(),
        tiles: 1,
        balanced_accuracy_before: 1.0,
        balanced_accuracy_after: 1.0,
    });
    assert_eq!(names(&plain, &quantized), ["trt_int8_enable"]);
}
