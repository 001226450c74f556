//! Exported Vision Transformers give timm's logits on both engines.
#![allow(clippy::unwrap_used)]

use millsight_export::card::{
    ElementType, InputSpec, ModelCard, NO_DEFECT, OutputKind, OutputSpec, Preprocessing, Provenance,
};
use millsight_export::engine::{Batch, EngineChoice, EngineRequest, start};
use millsight_export::graph::vit::{INPUT, OUTPUT};
use millsight_export::graph::{InputForm, VitSpec, vit_classifier};
use millsight_export::model_file::ModelFile;
use millsight_export::weights::{NamedArray, NamedArrays};
use millsight_tests::golden::{self, GoldenCase};

/// The networks among the cases: those with weights, an input and logits.
fn networks() -> Vec<(GoldenCase, NamedArrays, VitSpec)> {
    let networks: Vec<_> = golden::cases("vit")
        .into_iter()
        .filter(|case| case.has("input") && case.has("logits"))
        .filter_map(|case| {
            let weights = case.weights()?;
            let spec = case.vit_spec(&weights);
            Some((case, weights, spec))
        })
        .collect();
    assert!(
        !networks.is_empty(),
        "no case has weights, an input and logits"
    );
    networks
}

#[test]
fn the_embedded_engine_gives_the_golden_logits() {
    check_all(EngineChoice::Embedded);
}

#[test]
fn onnx_runtime_gives_the_golden_logits() {
    let request = EngineRequest::default();
    let (_, weights, spec) = networks().swap_remove(0);
    let any = model(&spec, &weights, InputForm::Normalised);
    if start(&any, &request, 1).unwrap().identity().name == "onnxruntime" {
        check_all(EngineChoice::OnnxRuntime);
    } else {
        eprintln!("skipped: no ONNX Runtime library was found");
    }
}

fn check_all(choice: EngineChoice) {
    let mut failures = Vec::new();
    for (case, weights, spec) in networks() {
        let input = case.array("input");
        let images = input.shape[0];
        let logits = run(
            &model(&spec, &weights, InputForm::Normalised),
            choice,
            Batch::F32(&input.data),
            images,
        );
        if let Err(failure) = case.check("logits", &logits) {
            failures.push(failure);
        }
        // A batch of one must give what the whole batch gave.
        let image = input.data.len() / images;
        let first = run(
            &model(&spec, &weights, InputForm::Normalised),
            choice,
            Batch::F32(&input.data[..image]),
            1,
        );
        for (one, all) in first.iter().zip(&logits) {
            assert!(
                (one - all).abs() < 1e-5,
                "{}: {one} {all}",
                case.manifest.case
            );
        }
        if let Err(failure) = check_folded(&case, &spec, &weights, choice) {
            failures.push(failure);
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// The folded form on raw levels must give what the normalised form gives on
/// the values that these levels stand for, within the case's tolerance.
fn check_folded(
    case: &GoldenCase,
    spec: &VitSpec,
    weights: &NamedArrays,
    choice: EngineChoice,
) -> Result<(), String> {
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
    let tolerance = case.entry("logits").tol.as_ref().unwrap();
    let expected = NamedArray {
        shape: vec![tiles, spec.classes],
        data: normalised,
    };
    tolerance
        .check(&expected, &folded)
        .map_err(|problem| format!("{} folded: {problem}", case.manifest.case))
}

fn run(model: &ModelFile, choice: EngineChoice, batch: Batch<'_>, tiles: usize) -> Vec<f32> {
    let request = EngineRequest {
        choice,
        ..EngineRequest::default()
    };
    let mut started = start(model, &request, 1).unwrap();
    let mut scores = Vec::new();
    started.engines[0].run(batch, tiles, &mut scores).unwrap();
    scores
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
        },
        preprocessing: Preprocessing::imagenet(),
        thresholds: Default::default(),
        provenance: Provenance::default(),
    };
    ModelFile::from_graph(vit_classifier(spec, weights, form).unwrap(), card).unwrap()
}
