//! ONNX graphs, written node by node from named weights.

pub mod builder;
pub mod convolution;
mod fold;
pub(crate) mod parts;
pub mod screen;
#[cfg(test)]
pub(crate) mod testing;
pub mod vit;
pub mod yolo_cls;

use crate::weights::NamedArrays;

pub use screen::{ScreenSpec, screen_classifier};
pub use vit::{Pooling, VitSpec, vit_classifier, vit_weights};
pub use yolo_cls::{YoloClsSpec, yolo_classifier};

/// Name of every graph's input.
pub const INPUT: &str = "tiles";
/// Name of every graph's output.
pub const OUTPUT: &str = "logits";

/// What a graph takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum InputForm {
    /// `f32` `[N, 3, height, width]`, already normalised.
    Normalised,
    /// `u8` `[N, 1, height, width]`, raw grey levels. Replication to three
    /// channels, division by 255, mean and standard deviation are part of the
    /// graph.
    FoldedGrey {
        /// Mean of each channel, in units of 0..1.
        mean: [f32; 3],
        /// Standard deviation of each channel, in units of 0..1.
        std: [f32; 3],
    },
}

/// Why a graph cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GraphError {
    /// The weights are not those of the architecture.
    #[error("the weights do not fit the architecture:\n  {}", .0.join("\n  "))]
    Weights(Vec<String>),
    /// The architecture contradicts itself.
    #[error("no such network: {0}")]
    Architecture(String),
}

/// Compares weights with the parameters that an architecture has.
///
/// # Errors
/// [`GraphError::Weights`] listing every missing, unknown or misshapen array.
fn check_weights(
    parameters: &[(String, Vec<usize>)],
    weights: &NamedArrays,
) -> Result<(), GraphError> {
    let mut wrong = Vec::new();
    for (name, shape) in parameters {
        match weights.get(name) {
            None => wrong.push(format!("`{name}` {shape:?} is missing")),
            Some(array) if array.shape != *shape => wrong.push(format!(
                "`{name}` has the shape {:?}, but {shape:?} is needed",
                array.shape
            )),
            Some(_) => {}
        }
    }
    for (name, _) in weights.iter() {
        if !parameters.iter().any(|(known, _)| known == name) {
            wrong.push(format!("`{name}` is unknown"));
        }
    }
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(GraphError::Weights(wrong))
    }
}
