//! `millsight preprocess` gives what torchvision gave.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;

use millsight_export::model_file::ModelFile;
use millsight_export::weights::{NamedArray, NamedArrays};
use millsight_tests::golden::{self, Tolerance};
use millsight_tests::graphs;

/// Runs the program and reads the array that it has written.
fn preprocess(image: &Path, model: &Path, out: &Path) -> NamedArray {
    let output = Command::new(assert_cmd::cargo::cargo_bin("millsight"))
        .arg("preprocess")
        .arg(image)
        .arg("--model")
        .arg(model)
        .arg("--out")
        .arg(out)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let mut arrays = NamedArrays::load(out).unwrap();
    arrays.remove("input").unwrap()
}

#[test]
fn an_image_becomes_what_torchvision_made_of_it() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let folder = tempfile::tempdir().unwrap();
    let got = preprocess(
        &fixtures.join("foreign_vit.png"),
        &fixtures.join("foreign_vit.onnx"),
        &folder.path().join("input.safetensors"),
    );
    let expected = NamedArrays::load(&fixtures.join("foreign_vit.safetensors")).unwrap();
    assert_eq!(got.shape, [1, 3, 64, 64]);
    assert_eq!(
        got.data,
        expected.get("input").unwrap().data[..got.data.len()]
    );
}

#[test]
fn golden_images_become_the_golden_values() {
    let folder = tempfile::tempdir().unwrap();
    for case in golden::cases("preproc") {
        let config = &case.manifest.config;
        let list = |key: &str| -> Vec<f64> { serde_json::from_value(config[key].clone()).unwrap() };
        let size = [0, 1].map(|side| list("size")[side] as usize);
        let mut card = graphs::card(&["no_defect", "cracks"]);
        for channel in 0..3 {
            card.preprocessing.mean[channel] = list("mean")[channel] as f32;
            card.preprocessing.std[channel] = list("std")[channel] as f32;
        }
        let model = folder.path().join("model.onnx");
        let graph = graphs::mean_colour(None, size, 2);
        ModelFile::from_graph(graph, card)
            .unwrap()
            .save(&model)
            .unwrap();
        for entry in case.expected() {
            // Those of levels are checked with the library.
            let Some(name) = entry.name.strip_suffix(".f32") else {
                continue;
            };
            let out = folder.path().join("out.safetensors");
            let got = preprocess(&case.image(name), &model, &out);
            let mut tolerance = entry.tol.clone().unwrap();
            if let Tolerance::MaxAbs {
                atol,
                atol_if_u8_exact: Some(closer),
            } = &mut tolerance
            {
                *atol = *closer;
            }
            tolerance
                .check(&case.array(&entry.name), &got.data)
                .unwrap_or_else(|problem| panic!("{}: {problem}", entry.name));
        }
    }
}
