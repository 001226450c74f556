//! What a Millsight model file is: everything on which the trainer and the
//! runtime must agree.
//!
//! * [`card`]: the model card that travels inside the ONNX metadata.
//! * [`model_file`]: reading and writing ONNX files together with their card.
//! * [`preprocess`]: image to network input; the only implementation.
//! * [`distance`]: how far a tile is from those that a model was trained on.
//! * [`durable`]: files that must survive a crash.
//! * [`weights`]: named arrays in and out (safetensors, timm's names).
//! * [`graph`]: ONNX graphs written node by node.
//! * [`engine`]: what runs a graph: ONNX Runtime or the embedded engine.
//! * [`verdict`]: scores to probabilities and a verdict; the only implementation.
//! * [`operating`]: thresholds for a stated miss rate.
//! * [`verify`]: parity of a model file against reference logits.
//! * [`quantize`]: a model in 8 bits.
//! * [`labelled`]: tiles with labels, and what a model file makes of them.
//! * [`metrics`]: how good verdicts are.
//! * [`command_line`]: what the command lines of the programs share.
//! * [`panics`]: what a panic said.
//! * [`output`]: standard output, for the programs around model files.

mod bounded;
pub mod card;
pub mod command_line;
pub mod distance;
pub mod durable;
pub mod engine;
pub mod graph;
pub mod labelled;
pub mod metrics;
pub mod model_file;
pub mod operating;
pub mod output;
pub mod panics;
pub mod preprocess;
pub mod quantize;
mod tensor;
pub mod verdict;
pub mod verify;
pub mod weights;
