//! An ONNX file together with its card.

use crate::card::ModelCard;

/// An ONNX model in memory, with the card that explains it.
#[derive(Debug, Clone)]
pub struct ModelFile {
    /// The serialised ONNX `ModelProto`.
    pub onnx: Vec<u8>,
    /// The card, from the metadata or from a sidecar.
    pub card: ModelCard,
    /// SHA-256 of `onnx` in lower-case hexadecimal.
    pub sha256: String,
}
