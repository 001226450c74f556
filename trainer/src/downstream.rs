//! Training a classifier on labelled tiles.
//!
//! * [`supervised`]: the loop over epochs.
//! * [`step`]: gradients of one batch, shared among worker threads.
//! * [`loss`]: weighted cross-entropy.
//! * [`adamw`]: the optimiser.
//! * [`schedule`]: the learning rate.
//! * [`checkpoint`]: what a run needs to go on after a crash.

pub mod adamw;
pub mod checkpoint;
pub mod loss;
pub mod schedule;
pub mod step;
pub mod supervised;
