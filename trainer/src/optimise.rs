//! From a batch to better weights.
//!
//! * [`workers`]: threads that compute shards of a batch.
//! * [`gradients`]: gradients of one batch, summed over its shards.
//! * [`adamw`]: the optimiser.
//! * [`moving_average`]: a network that follows the one that learns.
//! * [`schedule`]: values that change over the steps of a run.

pub mod adamw;
pub mod gradients;
pub mod moving_average;
pub mod schedule;
pub mod workers;
