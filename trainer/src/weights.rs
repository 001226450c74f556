//! Weights from elsewhere.
//!
//! * [`initialise`]: a network begins with what a file holds.
//! * [`positions`]: position embeddings for another number of patches.

pub mod initialise;
pub mod positions;
