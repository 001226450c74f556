//! Tests of the written graph on the embedded engine.

#![allow(clippy::unwrap_used)]
use super::*;
use crate::graph::testing::{model_file, scores_of_both_forms};
use crate::model_file::ModelFile;

const SPEC: YoloClsSpec = YoloClsSpec {
    image_height: 64,
    image_width: 32,
    classes: 3,
};

/// Reproducible weights: as large as keeps the levels of the image from layer
/// to layer, variances around 1.
fn weights() -> NamedArrays {
    let mut arrays = NamedArrays::new();
    let mut state = 1u32;
    for (name, shape) in SPEC.parameters() {
        let inputs: usize = shape[1..].iter().product();
        let data = (0..shape.iter().product::<usize>())
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let unit = (state >> 8) as f32 / (1 << 24) as f32 - 0.5;
                match name.rsplit_once('.') {
                    Some((_, "running_var")) => 1.0 + unit,
                    Some((_, "running_mean" | "bias")) => unit,
                    _ if shape.len() == 1 => 1.0 + unit,
                    _ => unit * 4.0 / (inputs as f32).sqrt(),
                }
            })
            .collect();
        arrays.insert(name, shape, data).unwrap();
    }
    arrays
}

fn model(form: InputForm) -> ModelFile {
    let graph = yolo_classifier(&SPEC, &weights(), form).unwrap();
    let size = [SPEC.image_height, SPEC.image_width];
    model_file(graph, size, &["no_defect", "a", "b"], form)
}

#[test]
fn the_network_has_as_many_parameters_as_its_model() {
    let spec = YoloClsSpec {
        classes: 1000,
        ..SPEC
    };
    let learnt = spec
        .learnt()
        .into_iter()
        .map(|(_, shape)| shape.iter().product::<usize>());
    // What Ultralytics prints of yolov8n-cls.
    assert_eq!(learnt.sum::<usize>(), 2_719_288);
}

#[test]
fn grey_levels_give_the_logits_of_the_normalised_image() {
    let tiles = 2;
    let area = SPEC.image_height * SPEC.image_width;
    let levels: Vec<u8> = (0..tiles * area).map(|i| (i * 37 % 253) as u8).collect();
    let [raw, ready] = scores_of_both_forms(model, &levels, area);
    assert_eq!(raw.len(), tiles * SPEC.classes);
    assert_ne!(raw[..3], raw[3..], "the tiles differ, so must their logits");
    for (raw, ready) in raw.iter().zip(&ready) {
        assert!(
            (raw - ready).abs() < 1e-5 * ready.abs().max(1.0),
            "{raw} {ready}"
        );
    }
}

#[test]
fn impossible_sizes_and_wrong_weights_are_named() {
    let odd = YoloClsSpec {
        image_width: 48,
        ..SPEC
    };
    assert!(
        odd.check()
            .unwrap_err()
            .to_string()
            .contains("`image_width` 48")
    );
    let mut arrays = weights();
    arrays.remove("model.2.m.0.cv1.bn.running_var");
    let message = yolo_classifier(&SPEC, &arrays, InputForm::Normalised)
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("model.2.m.0.cv1.bn.running_var"),
        "{message}"
    );
}
