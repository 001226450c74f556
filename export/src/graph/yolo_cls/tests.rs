//! Tests of the written graph on the embedded engine.

#![allow(clippy::unwrap_used)]
use super::*;
use crate::graph::testing::{model_file, reproducible, scores_of_both_forms};
use crate::model_file::ModelFile;

const SPEC: YoloClsSpec = YoloClsSpec {
    image_height: 64,
    image_width: 32,
    classes: 3,
};

fn model(form: InputForm) -> ModelFile {
    let graph = yolo_classifier(&SPEC, &reproducible(&SPEC.parameters()), form).unwrap();
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
    let mut arrays = reproducible(&SPEC.parameters());
    arrays.remove("model.2.m.0.cv1.bn.running_var");
    let message = yolo_classifier(&SPEC, &arrays, InputForm::Normalised)
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("model.2.m.0.cv1.bn.running_var"),
        "{message}"
    );
}
