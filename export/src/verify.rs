//! Parity of a model file with reference numbers.
//!
//! An exported graph is a second implementation of the network that was
//! trained. Before it gets a card, it is run on the engine that will later run
//! it beside the camera and compared with what the trainer computed itself.
//!
//! The reference is a safetensors file with two arrays: `input`
//! `[samples, channels, height, width]`, prepared as the card says (`F32`, or
//! `U8` for a folded model), and `logits` `[samples, classes]` (`F32`), what
//! the network must give for it.

mod vectors;

use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensors};

use crate::bounded;
use crate::card::{ElementType, ModelCard, Parity};
use crate::engine::{Batch, Engine, EngineError};
use crate::model_file::{ModelFile, ModelFileError};
use crate::preprocess::{PreprocessError, ViewError};
pub(crate) use vectors::unchanged;
pub use vectors::{drawn, reproduce};

/// How far the scores of an engine may be from the reference by default: far
/// above the noise of another order of summation, far below what would change
/// a verdict.
pub const DEFAULT_TOLERANCE: f32 = 1e-3;

/// Room for some thousand samples of a large network.
const LARGEST_REFERENCE: u64 = 1 << 32;

/// Samples that are run at once.
const BATCH: usize = 16;

/// Inputs, and what the network must give for them.
#[derive(Debug, Clone, PartialEq)]
pub struct Reference {
    /// Prepared tiles, `[samples, channels, height, width]`.
    pub input: ReferenceInput,
    /// Expected scores, `[samples, classes]`.
    pub logits: Vec<f32>,
    /// Number of samples.
    pub samples: usize,
}

/// Prepared tiles, in the element type of the model's input.
#[derive(Debug, Clone, PartialEq)]
pub enum ReferenceInput {
    /// Raw levels.
    U8(Vec<u8>),
    /// Normalised values.
    F32(Vec<f32>),
}

impl Reference {
    /// Reads a reference file for the model that `card` describes.
    ///
    /// # Errors
    /// When the file cannot be read, lacks an array, or does not fit the card.
    pub fn load(path: &Path, card: &ModelCard) -> Result<Self, VerifyError> {
        let bytes = bounded::read(path, LARGEST_REFERENCE).map_err(|reason| VerifyError::Read {
            path: path.to_owned(),
            reason,
        })?;
        let problem = |reason: String| VerifyError::Reference {
            path: path.to_owned(),
            reason,
        };
        let tensors =
            SafeTensors::deserialize(&bytes).map_err(|error| problem(error.to_string()))?;
        let fetch = |name: &str| {
            tensors
                .tensor(name)
                .map_err(|_| problem(format!("it has no array `{name}`")))
        };
        let (input, logits) = (fetch("input")?, fetch("logits")?);
        let spec = &card.input;
        let samples = input.shape().first().copied().unwrap_or(0);
        if samples == 0 {
            return Err(problem("its `input` has no sample".to_owned()));
        }
        let expect = |name: &str, got: &[usize], expected: &[usize]| {
            if got == expected {
                return Ok(());
            }
            Err(problem(format!(
                "its `{name}` has the shape {got:?}, but the model's card asks for {expected:?}"
            )))
        };
        expect(
            "input",
            input.shape(),
            &[samples, spec.channels, spec.height, spec.width],
        )?;
        expect("logits", logits.shape(), &[samples, card.classes.len()])?;
        let input = match (spec.element, input.dtype()) {
            (ElementType::U8, Dtype::U8) => ReferenceInput::U8(input.data().to_vec()),
            (ElementType::F32, Dtype::F32) => ReferenceInput::F32(floats(input.data())),
            (wanted, got) => {
                return Err(problem(format!(
                    "its `input` is of type {got}, but the model's card asks for {wanted:?}"
                )));
            }
        };
        if logits.dtype() != Dtype::F32 {
            let got = logits.dtype();
            return Err(problem(format!(
                "its `logits` are of type {got}, but F32 is expected"
            )));
        }
        Ok(Self {
            input,
            logits: floats(logits.data()),
            samples,
        })
    }

    /// The samples from `start`, at most `count`.
    fn batch(&self, start: usize, count: usize) -> Batch<'_> {
        self.input.batch(self.samples, start, count)
    }
}

impl ReferenceInput {
    /// Of `samples` samples those from `start`, `count` of them.
    pub(crate) fn batch(&self, samples: usize, start: usize, count: usize) -> Batch<'_> {
        fn part<T>(values: &[T], samples: usize, start: usize, count: usize) -> &[T] {
            let size = values.len() / samples.max(1);
            &values[start * size..(start + count) * size]
        }
        match self {
            Self::U8(values) => Batch::U8(part(values, samples, start, count)),
            Self::F32(values) => Batch::F32(part(values, samples, start, count)),
        }
    }
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    let (words, _) = bytes.as_chunks::<4>();
    words.iter().map(|word| f32::from_le_bytes(*word)).collect()
}

/// Runs the reference's inputs on an engine that holds `model`, and compares
/// every score with the reference. `tolerance` is the largest absolute
/// difference allowed.
///
/// # Errors
/// [`VerifyError::Exceeded`] with the worst score when one is further off
/// (or is not a number); else what the engine reports.
pub fn compare(
    engine: &mut dyn Engine,
    model: &ModelFile,
    reference: &Reference,
    tolerance: f32,
) -> Result<Parity, VerifyError> {
    let mut scores = Vec::with_capacity(reference.logits.len());
    let mut part = Vec::new();
    for start in (0..reference.samples).step_by(BATCH) {
        let count = BATCH.min(reference.samples - start);
        engine.run(reference.batch(start, count), count, &mut part)?;
        scores.extend_from_slice(&part);
    }
    let name = engine_name(engine);
    let classes = &model.card.classes;
    let max_abs = compared(&name, classes, &scores, &reference.logits, tolerance)?;
    Ok(Parity {
        engine: name,
        samples: reference.samples,
        max_abs,
        tolerance,
        vectors: vectors::vectors(engine, model)?,
    })
}

fn engine_name(engine: &dyn Engine) -> String {
    let identity = engine.identity();
    format!(
        "{} {} ({})",
        identity.name, identity.version, identity.provider
    )
}

/// The largest difference of scores, `[samples, classes]`, from those that are expected.
fn compared(
    engine: &str,
    classes: &[String],
    scores: &[f32],
    expected: &[f32],
    tolerance: f32,
) -> Result<f32, VerifyError> {
    if scores.len() != expected.len() || scores.is_empty() {
        return Err(VerifyError::Count {
            got: scores.len(),
            expected: expected.len(),
        });
    }
    let differences = scores.iter().zip(expected).map(|(score, expected)| {
        let difference = (score - expected).abs();
        // A score that is not a number is as far off as can be.
        if difference.is_nan() {
            f32::INFINITY
        } else {
            difference
        }
    });
    let (worst, max_abs) =
        differences.enumerate().fold(
            (0, 0.0),
            |worst, one| if one.1 > worst.1 { one } else { worst },
        );
    if max_abs > tolerance || tolerance.is_nan() {
        return Err(VerifyError::Exceeded {
            engine: engine.to_owned(),
            sample: worst / classes.len(),
            class: classes[worst % classes.len()].clone(),
            got: scores[worst],
            expected: expected[worst],
            difference: max_abs,
            tolerance,
        });
    }
    Ok(max_abs)
}

/// The same model with the result of [`compare`] in its card. A model that
/// differs from its reference gets no such card.
///
/// # Errors
/// As [`compare`].
pub fn verified(
    engine: &mut dyn Engine,
    model: &ModelFile,
    reference: &Reference,
    tolerance: f32,
) -> Result<ModelFile, VerifyError> {
    let parity = compare(engine, model, reference, tolerance)?;
    let mut card = model.card.clone();
    card.provenance.parity = Some(parity);
    Ok(model.with_card(card)?)
}

/// Why a model is not verified.
///
/// The reasons stand in the messages and are no `source` besides.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The reference cannot be read.
    #[error("cannot read the reference {}: {reason}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the file system says.
        reason: std::io::Error,
    },
    /// The reference is of no use for this model.
    #[error("the reference {} cannot be used: {reason}; it needs the arrays `input` (prepared tiles) and `logits`", path.display())]
    Reference {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The reference has no samples, or another number of scores than inputs.
    #[error("the engine gave {got} scores, but the reference has {expected}")]
    Count {
        /// Scores of the engine.
        got: usize,
        /// Scores of the reference.
        expected: usize,
    },
    /// The engine fails.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A drawn tile is none.
    #[error(transparent)]
    View(#[from] ViewError),
    /// A drawn tile does not fit the model's input.
    #[error(transparent)]
    Prepare(#[from] PreprocessError),
    /// The card cannot be written.
    #[error(transparent)]
    Model(#[from] ModelFileError),
    /// The model gives something else.
    #[error(
        "on {engine} the score of `{class}` for sample {sample} is {got}, but the reference says \
         {expected}: off by {difference:.3e}, more than {tolerance:.3e}; the graph is not the \
         network that the reference comes from, or the preprocessing differs"
    )]
    Exceeded {
        /// The engine, with version and provider.
        engine: String,
        /// Index of the worst sample.
        sample: usize,
        /// Class of its worst score.
        class: String,
        /// What the engine gave.
        got: f32,
        /// What the reference says.
        expected: f32,
        /// Absolute difference.
        difference: f32,
        /// What was allowed.
        tolerance: f32,
    },
}

#[cfg(test)]
mod tests;
