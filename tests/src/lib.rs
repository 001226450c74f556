//! What the tests across the crates share.

pub mod engines;
pub mod golden;
pub mod graphs;
