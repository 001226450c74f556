//! ONNX graphs, written node by node from named weights.

pub mod builder;
pub mod vit;

pub use vit::{InputForm, Pooling, VitSpec, vit_classifier};

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
