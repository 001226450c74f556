//! What tests of written graphs have in common.
#![allow(clippy::unwrap_used)]

use onnx_protobuf::ModelProto;

use super::{INPUT, InputForm, OUTPUT};
use crate::card::{
    ElementType, InputSpec, ModelCard, OutputKind, OutputSpec, Preprocessing, Provenance,
};
use crate::engine::{Batch, Embedded, Engine};
use crate::model_file::ModelFile;
use crate::weights::NamedArrays;

/// A model file of a graph that takes images of a height and width in a form,
/// normalised as for ImageNet.
pub(crate) fn model_file(
    graph: ModelProto,
    [height, width]: [usize; 2],
    classes: &[&str],
    form: InputForm,
) -> ModelFile {
    let (channels, element) = match form {
        InputForm::Normalised => (3, ElementType::F32),
        InputForm::FoldedGrey { .. } => (1, ElementType::U8),
    };
    let card = ModelCard {
        schema: ModelCard::SCHEMA,
        name: "test".into(),
        architecture: "test".into(),
        classes: classes.iter().map(|&class| class.into()).collect(),
        input: InputSpec {
            name: INPUT.into(),
            width,
            height,
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
    ModelFile::from_graph(graph, card).unwrap()
}

/// Reproducible weights of a convolutional network: as large as keeps the levels of the image from layer
/// to layer, variances around 1.
pub(crate) fn reproducible(parameters: &[(String, Vec<usize>)]) -> NamedArrays {
    let mut arrays = NamedArrays::new();
    let mut state = 1u32;
    for (name, shape) in parameters {
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
        arrays.insert(name.clone(), shape.clone(), data).unwrap();
    }
    arrays
}

/// What the two forms of a model give on the embedded engine for tiles of grey
/// levels, `area` pixels each: the folded one for the levels, the normalised
/// one for the values that they stand for.
pub(crate) fn scores_of_both_forms(
    model: impl Fn(InputForm) -> ModelFile,
    levels: &[u8],
    area: usize,
) -> [Vec<f32>; 2] {
    let Preprocessing { mean, std, .. } = Preprocessing::imagenet();
    let normalised: Vec<f32> = levels
        .chunks_exact(area)
        .flat_map(|tile| {
            (0..3).flat_map(move |channel| {
                tile.iter()
                    .map(move |&level| (f32::from(level) / 255.0 - mean[channel]) / std[channel])
            })
        })
        .collect();
    let scores = |form, batch: Batch<'_>| {
        let mut scores = Vec::new();
        Embedded::load(&model(form))
            .unwrap()
            .run(batch, levels.len() / area, &mut scores)
            .unwrap();
        scores
    };
    [
        scores(InputForm::FoldedGrey { mean, std }, Batch::U8(levels)),
        scores(InputForm::Normalised, Batch::F32(&normalised)),
    ]
}
