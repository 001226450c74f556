//! Preprocessing equals Pillow and torchvision on every golden image.
#![allow(clippy::unwrap_used)]

use millsight_export::card::{ElementType, InputSpec, Preprocessing, Resize};
use millsight_export::preprocess::{Preprocessor, load_image};
use millsight_tests::golden::{self, GoldenCase, TensorEntry, Tolerance};
use serde_json::Value;

#[test]
fn every_image_is_prepared_exactly() {
    let mut failures = Vec::new();
    for case in golden::cases("preproc") {
        for entry in case.expected() {
            failures.extend(check(&case, entry).err());
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// A tensor `NAME.u8` (levels `[height, width, 3]`) or `NAME.f32` (values
/// `[3, height, width]`) belongs to the image `NAME` with any ending.
fn check(case: &GoldenCase, entry: &TensorEntry) -> Result<(), String> {
    let Some((name, kind)) = entry.name.rsplit_once('.') else {
        case.unknown(&entry.name)
    };
    let image = load_image(&case.image(name)).unwrap();
    let config = &case.manifest.config;
    let [height, width] = numbers(&config["size"]).map(|side| side as usize);
    let input = InputSpec {
        name: "pixels".into(),
        width,
        height,
        channels: 3,
        element: ElementType::F32,
    };
    let preprocessing = Preprocessing {
        resize: Resize::PillowBilinear,
        mean: numbers(&config["mean"]).map(|value| value as f32),
        std: numbers(&config["std"]).map(|value| value as f32),
    };
    let mut preprocessor = Preprocessor::new(&input, &preprocessing);
    match kind {
        "u8" => {
            let mut planes = vec![0; preprocessor.output_len()];
            preprocessor.prepare_u8(image.view(), &mut planes).unwrap();
            let plane = width * height;
            let interleaved: Vec<u8> = (0..plane * 3)
                .map(|index| planes[index % 3 * plane + index / 3])
                .collect();
            case.check_levels(&entry.name, &interleaved)
        }
        "f32" => {
            let mut values = vec![0.0; preprocessor.output_len()];
            preprocessor.prepare_f32(image.view(), &mut values).unwrap();
            // The levels are exact, so the closer of the two bounds holds.
            match entry.tol {
                Some(Tolerance::MaxAbs {
                    atol_if_u8_exact: Some(atol),
                    ..
                }) => Tolerance::MaxAbs {
                    atol,
                    atol_if_u8_exact: None,
                }
                .check(&case.array(&entry.name), &values)
                .map_err(|problem| format!("{}: {problem}", entry.name)),
                _ => case.check(&entry.name, &values),
            }
        }
        _ => case.unknown(&entry.name),
    }
}

fn numbers<const COUNT: usize>(list: &Value) -> [f64; COUNT] {
    std::array::from_fn(|index| list[index].as_f64().unwrap())
}
