//! From a batch to better weights.
//!
//! * [`workers`]: threads that compute shards of a batch.
//! * [`gradients`]: gradients of one batch, summed over its shards.
//! * [`adamw`]: the optimiser.
//! * [`schedule`]: values that change over the steps of a run.

pub mod adamw;
pub mod gradients;
pub mod schedule;
pub mod workers;
