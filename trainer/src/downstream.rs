//! Training a classifier on labelled tiles.
//!
//! * [`finetune`]: a whole network learns the classes.
//! * [`loss`]: weighted cross-entropy.

pub mod finetune;
pub mod loss;
