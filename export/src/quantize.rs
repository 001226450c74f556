//! A model in 8 bits.
//!
//! Convolutions and linear layers alone are put into whole numbers, which are
//! nearly all that a network computes; norms, softmax and GELU, whose inputs
//! span many powers of two, stay as they are, and so does the layer that gives
//! the scores.
//!
//! * [`Form::Static`]: weights and activations are whole numbers of known
//!   scales, written as pairs of `QuantizeLinear` and `DequantizeLinear` around
//!   the operators, which engines fuse. Best for convolutions. The ranges of
//!   the activations are those of real tiles ([`Clipping`]).
//! * [`Form::Dynamic`]: linear layers alone; the range of their activations is
//!   found anew in every run. Best for Vision Transformers on a CPU.
//!
//! What tells how far a tile is from the training data ([`crate::distance`]) is left out:
//! it was measured on the original, whose embeddings are not the same.
//!
//! Weights are `i8` with a scale for each output and no offset, activations
//! `u8` with one scale and one offset (Jacob et al., "Quantization and Training
//! of Neural Networks for Efficient Integer-Arithmetic-Only Inference", CVPR
//! 2018; Wu et al., "Integer Quantization for Deep Learning Inference", 2020).
//!
//! * [`range`]: from observed values to a scale and an offset.

mod dynamic;
mod observe;
pub mod range;
mod sites;
mod statics;
mod stem;
mod weights;

use protobuf::Message;

use crate::distance;
use crate::engine::EngineError;
use crate::model_file::{ModelFile, ModelFileError};
use crate::verify::ReferenceInput;

pub use range::Clipping;

/// What is computed in whole numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Convolutions and linear layers, with ranges that are known beforehand.
    Static,
    /// Linear layers, with ranges that are found in each run.
    Dynamic,
}

/// Why a model cannot be put into 8 bits.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QuantizeError {
    /// The graph cannot be read.
    #[error("the graph cannot be read: {0}")]
    Graph(String),
    /// Nothing in the graph can be quantized.
    #[error(
        "the graph has {0} that could be put into 8 bits; give a model with weights in 32-bit \
         floats that is not quantized yet"
    )]
    NothingToDo(&'static str),
    /// There is no tile from which ranges could be learnt.
    #[error("there is no tile from which the ranges of the activations could be learnt")]
    NoTiles,
    /// Values in the graph are no numbers.
    #[error("`{0}` is not a finite number for a tile: the model is damaged")]
    NotFinite(String),
    /// The engine that finds the ranges.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The model file.
    #[error(transparent)]
    Model(#[from] ModelFileError),
}

/// The model in 8 bits, with the card that it had but for [`crate::card::Distance`]. `tiles` are `count` prepared
/// tiles from which [`Form::Static`] learns ranges.
///
/// # Errors
/// When the graph has nothing to quantize, or its values cannot be observed.
pub fn quantized(
    model: &ModelFile,
    form: Form,
    clipping: Clipping,
    tiles: &ReferenceInput,
    count: usize,
) -> Result<ModelFile, QuantizeError> {
    let mut proto = onnx_protobuf::ModelProto::parse_from_bytes(&model.onnx)
        .map_err(|error| QuantizeError::Graph(error.to_string()))?;
    let mut card = model.card.clone();
    distance::remove(&mut proto, &mut card);
    let graph = proto
        .graph
        .as_mut()
        .ok_or_else(|| QuantizeError::Graph("it is empty".into()))?;
    match form {
        Form::Static => {
            let plan = statics::Plan::of(graph)?;
            if count == 0 {
                return Err(QuantizeError::NoTiles);
            }
            let observed = observe::observe(model, &plan.observed(), tiles, count)?;
            let levels: Vec<range::Levels> = observed
                .iter()
                .map(|observed| observed.levels(clipping))
                .collect();
            statics::rewrite(graph, &plan, &levels);
        }
        Form::Dynamic => dynamic::rewrite(graph)?,
    }
    Ok(ModelFile::from_graph(proto, card)?)
}

#[cfg(test)]
mod tests;
