//! Tests of the written graph on the embedded engine.

#![allow(clippy::unwrap_used)]
use super::*;
use crate::engine::embedded;
use crate::graph::testing::{model_file, reproducible, scores_of_both_forms};
use crate::model_file::ModelFile;

fn spec() -> ScreenSpec {
    ScreenSpec {
        image_height: 64,
        image_width: 32,
        stem: 4,
        widths: vec![6, 8, 10],
        classes: 2,
    }
}

fn model(form: InputForm) -> ModelFile {
    let spec = spec();
    let weights = reproducible(&spec.parameters());
    let graph = screen_classifier(&spec, &weights, form).unwrap();
    let size = [spec.image_height, spec.image_width];
    model_file(graph, size, &["no_defect", "defect"], form)
}

#[test]
fn grey_levels_give_the_logits_of_the_normalised_image() {
    let spec = spec();
    let area = spec.image_height * spec.image_width;
    let levels: Vec<u8> = (0..2 * area).map(|i| (i * 37 % 253) as u8).collect();
    let [raw, ready] = scores_of_both_forms(model, &levels, area);
    assert_eq!(raw.len(), 2 * spec.classes);
    assert_ne!(raw[..2], raw[2..], "the tiles differ, so must their logits");
    for (raw, ready) in raw.iter().zip(&ready) {
        assert!(
            (raw - ready).abs() < 1e-5 * ready.abs().max(1.0),
            "{raw} {ready}"
        );
    }
}

#[test]
fn the_engine_counts_the_same_multiplications() {
    let colour = model(InputForm::Normalised);
    let counted = embedded::multiply_adds(&colour).unwrap();
    let spec = spec();
    // Three channels instead of one.
    let stem = spec.image_height * spec.image_width * spec.widths[0];
    let expected = spec.multiply_adds() + 2 * stem;
    assert!(
        counted.abs_diff(expected as u64) * 100 < expected as u64,
        "{counted} {expected}"
    );
}

/// The network of the notes that this one follows: 14 million.
#[test]
fn multiplications_are_counted() {
    let spec = ScreenSpec {
        image_height: 512,
        image_width: 512,
        stem: 8,
        widths: vec![16, 32, 48, 64],
        classes: 2,
    };
    let stem = 64 * 64 * 16 * 64;
    let halvings = 9 * (32 * 32 * 32 * 16 + 16 * 16 * 48 * 32 + 8 * 8 * 64 * 48);
    assert_eq!(spec.multiply_adds(), stem + halvings + 2 * 64 * 2);
    assert_eq!(spec.stride(), 64);
}

#[test]
fn impossible_sizes_and_wrong_weights_are_named() {
    let named = |spoil: fn(&mut ScreenSpec), what: &str| {
        let mut spec = spec();
        spoil(&mut spec);
        let message = spec.check().unwrap_err().to_string();
        assert!(message.contains(what), "{message}");
    };
    named(|spec| spec.image_width = 40, "`image_width` 40");
    named(|spec| spec.widths.clear(), "`widths`");
    named(|spec| spec.widths = vec![1; 80], "more than 12 layers");
    named(|spec| spec.stem = 0, "`stem`");
    let spec = spec();
    let mut arrays = reproducible(&spec.parameters());
    arrays.remove("halvings.1.bn.running_var");
    let message = screen_classifier(&spec, &arrays, InputForm::Normalised)
        .unwrap_err()
        .to_string();
    assert!(message.contains("halvings.1.bn.running_var"), "{message}");
}
