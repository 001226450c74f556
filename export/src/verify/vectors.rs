//! Vectors inside the card: what the network gave for tiles that anyone can draw, so
//! that whoever is handed the file alone can tell whether it gives the same here,
//! preprocessing included.

use super::{VerifyError, compared, engine_name};
use crate::card::{ElementType, ParityVector};
use crate::engine::{Batch, Engine};
use crate::model_file::ModelFile;
use crate::preprocess::{ImageView, Preprocessor};

/// Vectors of a card.
const VECTORS: u64 = 4;

/// Side of a drawn tile, in pixels, and of its squares of one level.
const SIDE: usize = 512;
const SQUARE: usize = 16;

/// How much further off an engine may be that computes in half precision, which has
/// thirteen bits less than single precision.
const HALF_PRECISION: f32 = 100.0;

/// The tile of a seed, `[512, 512]`: squares of 16 pixels, each of one level, from the
/// generator SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
pub fn drawn(seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    };
    let squares: Vec<u8> = (0..(SIDE / SQUARE).pow(2))
        .map(|_| (next() >> 56) as u8)
        .collect();
    let level = |pixel: usize| {
        let (line, column) = (pixel / SIDE, pixel % SIDE);
        squares[line / SQUARE * (SIDE / SQUARE) + column / SQUARE]
    };
    (0..SIDE * SIDE).map(level).collect()
}

/// What an engine gives for drawn tiles.
///
/// # Errors
/// When a tile cannot be prepared, or the engine fails.
pub(super) fn vectors(
    engine: &mut dyn Engine,
    model: &ModelFile,
) -> Result<Vec<ParityVector>, VerifyError> {
    (0..VECTORS)
        .map(|seed| {
            let scores = scores(engine, model, seed)?;
            Ok(ParityVector { seed, scores })
        })
        .collect()
}

/// Whether an engine gives what the vectors in the model's card say; gives the largest
/// difference, or `None` where the card has no vectors. Allowed is what was tolerated
/// when the model was verified, and a hundred times that in half precision.
///
/// # Errors
/// [`VerifyError::Exceeded`] when a score is further off, else what the engine reports.
pub fn reproduce(engine: &mut dyn Engine, model: &ModelFile) -> Result<Option<f32>, VerifyError> {
    let parity = model.card.provenance.parity.as_ref();
    let Some(parity) = parity.filter(|parity| !parity.vectors.is_empty()) else {
        return Ok(None);
    };
    let is_half = engine.identity().precision.contains("f16");
    let tolerance = match is_half {
        true => parity.tolerance * HALF_PRECISION,
        false => parity.tolerance,
    };
    let (mut got, mut expected) = (Vec::new(), Vec::new());
    for vector in &parity.vectors {
        got.extend(scores(engine, model, vector.seed)?);
        expected.extend_from_slice(&vector.scores);
    }
    let name = engine_name(engine);
    compared(&name, &model.card.classes, &got, &expected, tolerance).map(Some)
}

/// Whether another engine, which holds a changed graph of the same classes and input,
/// gives the scores for drawn tiles that one gives which holds `model`; gives these.
///
/// # Errors
/// As [`reproduce`].
pub(crate) fn unchanged(
    engine: &mut dyn Engine,
    model: &ModelFile,
    changed: &mut dyn Engine,
    tolerance: f32,
) -> Result<Vec<ParityVector>, VerifyError> {
    let expected = vectors(engine, model)?;
    let got = vectors(changed, model)?;
    let all = |vectors: &[ParityVector]| {
        let scores = vectors.iter().flat_map(|vector| &vector.scores);
        scores.copied().collect::<Vec<f32>>()
    };
    let (got, of_model) = (all(&got), all(&expected));
    let name = engine_name(changed);
    compared(&name, &model.card.classes, &got, &of_model, tolerance)?;
    Ok(expected)
}

fn scores(engine: &mut dyn Engine, model: &ModelFile, seed: u64) -> Result<Vec<f32>, VerifyError> {
    let tile = drawn(seed);
    let view = ImageView::new(SIDE, SIDE, 1, SIDE, &tile)?;
    let mut preprocessor = Preprocessor::new(&model.card.input, &model.card.preprocessing);
    let elements = preprocessor.output_len();
    let mut scores = Vec::new();
    match model.card.input.element {
        ElementType::U8 => {
            let mut levels = vec![0; elements];
            preprocessor.prepare_u8(view, &mut levels)?;
            engine.run(Batch::U8(&levels), 1, &mut scores)?;
        }
        ElementType::F32 => {
            let mut values = vec![0.0; elements];
            preprocessor.prepare_f32(view, &mut values)?;
            engine.run(Batch::F32(&values), 1, &mut scores)?;
        }
    }
    Ok(scores)
}
