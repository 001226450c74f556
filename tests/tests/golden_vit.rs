//! Exported Vision Transformers give timm's logits on both engines.
#![allow(clippy::unwrap_used)]

use millsight_export::card::{
    ElementType, InputSpec, ModelCard, NO_DEFECT, OutputKind, OutputSpec, Preprocessing, Provenance,
};
use millsight_export::engine::{Batch, EngineChoice};
use millsight_export::graph::{INPUT, OUTPUT};
use millsight_export::graph::{InputForm, VitSpec, vit_classifier};
use millsight_export::model_file::ModelFile;
use millsight_export::weights::{NamedArray, NamedArrays};
use millsight_tests::engines;
use millsight_tests::golden::network::{self, Forward};

#[test]
fn the_embedded_engine_gives_the_golden_logits() {
    check_all(EngineChoice::Embedded);
}

#[test]
fn onnx_runtime_gives_the_golden_logits() {
    if engines::onnxruntime_available() {
        check_all(EngineChoice::OnnxRuntime);
    }
}

fn check_all(choice: EngineChoice) {
    let mut failures = Vec::new();
    for forward in network::forwards() {
        // What lies between is no output of an exported graph.
        let Some(name) = forward.logits() else {
            continue;
        };
        let (case, input) = (&forward.case, &forward.input);
        let images = input.shape[0];
        let model = model(&forward.spec, &forward.weights, InputForm::Normalised);
        let logits = run(&model, choice, Batch::F32(&input.data), images);
        failures.extend(case.check(name, &logits).err());
        // A batch of one must give what the whole batch gave.
        let image = input.data.len() / images;
        let one = run(&model, choice, Batch::F32(&input.data[..image]), 1);
        let first = NamedArray {
            shape: vec![1, one.len()],
            data: logits[..one.len()].to_vec(),
        };
        let tolerance = case.entry(name).tol.as_ref().unwrap();
        let named = |problem| format!("{} one of `{name}`: {problem}", case.manifest.case);
        failures.extend(tolerance.check(&first, &one).map_err(named).err());
        failures.extend(check_folded(&forward, name, choice).err());
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// The folded form on raw levels must give what the normalised form gives on
/// the values that these levels stand for, within the case's tolerance.
fn check_folded(forward: &Forward, name: &str, choice: EngineChoice) -> Result<(), String> {
    let (case, spec, weights) = (&forward.case, &forward.spec, &forward.weights);
    let Preprocessing { mean, std, .. } = Preprocessing::imagenet();
    let area = spec.image_height * spec.image_width;
    let tiles = 2;
    let levels: Vec<u8> = (0..tiles * area)
        .map(|index| (index as u32).wrapping_mul(2_654_435_761).to_be_bytes()[0])
        .collect();
    let values: Vec<f32> = levels
        .chunks_exact(area)
        .flat_map(|tile| {
            (0..3).flat_map(move |channel| {
                tile.iter()
                    .map(move |&level| (f32::from(level) / 255.0 - mean[channel]) / std[channel])
            })
        })
        .collect();
    let folded = run(
        &model(spec, weights, InputForm::FoldedGrey { mean, std }),
        choice,
        Batch::U8(&levels),
        tiles,
    );
    let normalised = run(
        &model(spec, weights, InputForm::Normalised),
        choice,
        Batch::F32(&values),
        tiles,
    );
    let tolerance = case.entry(name).tol.as_ref().unwrap();
    let expected = NamedArray {
        shape: vec![tiles, spec.classes],
        data: normalised,
    };
    tolerance
        .check(&expected, &folded)
        .map_err(|problem| format!("{} folded `{name}`: {problem}", case.manifest.case))
}

fn run(model: &ModelFile, choice: EngineChoice, batch: Batch<'_>, tiles: usize) -> Vec<f32> {
    engines::scores(engines::with_one(model, choice).as_mut(), batch, tiles)
}

fn model(spec: &VitSpec, weights: &NamedArrays, form: InputForm) -> ModelFile {
    let (channels, element) = match form {
        InputForm::Normalised => (3, ElementType::F32),
        InputForm::FoldedGrey { .. } => (1, ElementType::U8),
    };
    let classes = (1..spec.classes).map(|index| format!("class_{index}"));
    let card = ModelCard {
        schema: ModelCard::SCHEMA,
        name: "golden".into(),
        architecture: "vit".into(),
        classes: std::iter::once(NO_DEFECT.into()).chain(classes).collect(),
        input: InputSpec {
            name: INPUT.into(),
            width: spec.image_width,
            height: spec.image_height,
            channels,
            element,
        },
        output: OutputSpec {
            name: OUTPUT.into(),
            kind: OutputKind::Logits,
            distance: None,
        },
        preprocessing: Preprocessing::imagenet(),
        thresholds: Default::default(),
        calibration: None,
        provenance: Provenance::default(),
    };
    ModelFile::from_graph(vit_classifier(spec, weights, form).unwrap(), card).unwrap()
}
