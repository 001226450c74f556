//! Weights from elsewhere.
//!
//! * [`file`]: a file of named arrays, of safetensors or of PyTorch.
//! * [`layouts`]: what the programs of others call the parts of a network.
//! * [`backbone`]: the Vision Transformer in a checkpoint, with timm's names.
//! * [`sizes`]: the network that its weights belong to.
//! * [`initialise`]: a network begins with what a file holds.
//! * [`screen`]: the screen in a file of ours, for another screen.
//! * [`positions`]: position embeddings for another number of patches.

pub mod backbone;
pub mod file;
pub mod initialise;
pub mod layouts;
pub mod positions;
mod pytorch;
pub mod screen;
pub mod sizes;
