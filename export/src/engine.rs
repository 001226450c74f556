//! What runs a model: ONNX Runtime where its library is found, else the
//! engine that is embedded in the program.
//!
//! It lives here rather than in the runtime because parity of an exported
//! model is proved on the very engine that later runs it beside the camera.

mod bound;
pub mod choice;
pub mod embedded;
pub mod library;
pub mod onnxruntime;
pub mod tensorrt;

use std::fmt;
use std::path::PathBuf;

use crate::card::{ElementType, ModelCard};

pub use choice::{EngineChoice, EngineRequest, Provider, Started, start, start_for};
pub use embedded::Embedded;
pub use onnxruntime::OnnxRuntime;
pub use tensorrt::TensorRtOptions;

/// A batch of prepared tiles, `[tiles, channels, height, width]`, row-major.
#[derive(Debug, Clone, Copy)]
pub enum Batch<'a> {
    /// Raw levels, for models whose card says `u8`.
    U8(&'a [u8]),
    /// Normalised values, for models whose card says `f32`.
    F32(&'a [f32]),
}

impl Batch<'_> {
    fn elements(&self) -> usize {
        match self {
            Batch::U8(values) => values.len(),
            Batch::F32(values) => values.len(),
        }
    }

    fn element_type(&self) -> ElementType {
        match self {
            Batch::U8(_) => ElementType::U8,
            Batch::F32(_) => ElementType::F32,
        }
    }
}

/// Which engine runs a model, and how.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct EngineIdentity {
    /// `onnxruntime` or `embedded`.
    pub name: String,
    /// Version of the engine.
    pub version: String,
    /// Execution provider: `cpu`, `cuda` or `tensorrt`.
    pub provider: String,
    /// Arithmetic: `f32`, `int8` for a model in 8 bits, `f16` or `int8+f16` where
    /// TensorRT may compute in half precision.
    pub precision: String,
}

impl fmt::Display for EngineIdentity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            version,
            provider,
            precision,
        } = self;
        write!(formatter, "{name} {version} on {provider} ({precision})")
    }
}

/// Something that runs one model, on one thread at a time.
pub trait Engine: Send {
    /// What this engine is.
    fn identity(&self) -> &EngineIdentity;

    /// Makes the memory that runs over up to `tiles` tiles need, which is
    /// otherwise made at the first run of its kind.
    ///
    /// # Errors
    /// When there is no such memory, or it does not fit the graph.
    fn reserve(&mut self, _tiles: usize) -> Result<(), EngineError> {
        Ok(())
    }

    /// Runs a batch and replaces `scores` by the network's output,
    /// `[tiles, classes]`, row-major. Where the graph fixes its batch, the
    /// tiles go through it in parts of that number, the last part filled up.
    ///
    /// # Errors
    /// When the batch does not fit the model's input or the engine fails.
    fn run(
        &mut self,
        batch: Batch<'_>,
        tiles: usize,
        scores: &mut Vec<f32>,
    ) -> Result<(), EngineError>;

    /// How far each tile of the last run is from those that the model was trained on,
    /// `[tiles]` ([`crate::distance`]); empty where the model cannot tell, or the run failed.
    fn distances(&self) -> &[f32] {
        &[]
    }
}

/// Why an engine could not start or run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The batch does not have the size or element type that the card states.
    #[error(
        "a batch of {tiles} tiles for this model is {expected} elements of type {expected_type:?}, \
         but {got} of type {got_type:?} were given"
    )]
    BatchShape {
        /// Tiles announced.
        tiles: usize,
        /// Elements that the card asks for.
        expected: usize,
        /// Element type that the card asks for.
        expected_type: ElementType,
        /// Elements given.
        got: usize,
        /// Element type given.
        got_type: ElementType,
    },
    /// The network gave another number of scores than the card has classes.
    #[error(
        "the network gave {got} scores for {tiles} tiles, but its card names {classes} classes; \
         correct the card's `classes` or use the model file that belongs to it"
    )]
    ScoreCount {
        /// Tiles in the batch.
        tiles: usize,
        /// Classes of the card.
        classes: usize,
        /// Scores that came back.
        got: usize,
    },
    /// The network gave another number of distances than there are tiles.
    #[error(
        "the network gave {got} distances for {tiles} tiles; let `millsight-export distance` write \
         that output anew"
    )]
    DistanceCount {
        /// Tiles in the batch.
        tiles: usize,
        /// Distances that came back.
        got: usize,
    },
    /// The embedded engine does not take the model.
    #[error("the embedded engine cannot {action} this model: {reason}")]
    Embedded {
        /// What was tried: `load` or `run`.
        action: &'static str,
        /// The engine's own words.
        reason: String,
    },
    /// ONNX Runtime's shared library cannot be used.
    #[error("ONNX Runtime's library {path} cannot be used: {reason}")]
    Library {
        /// The library file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// No ONNX Runtime library was found although one was asked for.
    #[error(
        "no ONNX Runtime library was found ({searched} places searched); \
         run `millsight engine install`, or name one with --library, `engine.library` or ORT_DYLIB_PATH"
    )]
    NoLibrary {
        /// How many places were searched.
        searched: usize,
    },
    /// An execution provider that was asked for could not start.
    #[error("the execution provider `{provider}` could not start: {reason}")]
    Provider {
        /// The provider.
        provider: Provider,
        /// ONNX Runtime's own words.
        reason: String,
    },
    /// The station asks for a provider that the embedded engine lacks.
    #[error(
        "the embedded engine runs on the CPU only, but `engine.providers` asks for `{provider}`; \
         install ONNX Runtime with `millsight engine install --gpu`, or list `cpu`, or set `engine.fallback = true`"
    )]
    EmbeddedProvider {
        /// The provider.
        provider: Provider,
    },
    /// Nothing that was asked for starts, and neither does what may stand in
    /// for it.
    #[error("no engine starts: {reasons}")]
    NothingStarts {
        /// Why, engine by engine.
        reasons: String,
    },
    /// ONNX Runtime failed while running.
    #[error("ONNX Runtime failed to run a batch: {0}")]
    Run(String),
}

/// Checks a batch against a card.
fn check_batch(card: &ModelCard, batch: Batch<'_>, tiles: usize) -> Result<(), EngineError> {
    let input = &card.input;
    let expected = tiles * input.channels * input.height * input.width;
    if batch.elements() != expected || batch.element_type() != input.element {
        return Err(EngineError::BatchShape {
            tiles,
            expected,
            expected_type: input.element,
            got: batch.elements(),
            got_type: batch.element_type(),
        });
    }
    Ok(())
}

/// Hands out tiles of `size` elements `at_once` at a time, with the number of
/// tiles that are meant; the last are filled up with zeros, for graphs that
/// take no other number.
fn in_batches<T: Copy + Default>(
    values: &[T],
    size: usize,
    at_once: usize,
    mut run: impl FnMut(&[T], usize) -> Result<(), EngineError>,
) -> Result<(), EngineError> {
    let whole = (size * at_once).max(1);
    for part in values.chunks(whole) {
        if part.len() == whole {
            run(part, at_once)?;
        } else {
            let mut padded = vec![T::default(); whole];
            padded[..part.len()].copy_from_slice(part);
            run(&padded, part.len() / size)?;
        }
    }
    Ok(())
}

/// Checks the number of scores against a card.
fn check_scores(card: &ModelCard, tiles: usize, got: usize) -> Result<(), EngineError> {
    let classes = card.classes.len();
    if got != tiles * classes {
        return Err(EngineError::ScoreCount {
            tiles,
            classes,
            got,
        });
    }
    Ok(())
}

/// Checks the number of distances: none, or one for each tile.
fn check_distances(tiles: usize, got: usize) -> Result<(), EngineError> {
    if got != 0 && got != tiles {
        return Err(EngineError::DistanceCount { tiles, got });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
