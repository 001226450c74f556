//! How good a classifier is.
//!
//! * [`predict`]: logits of many tiles.
//! * [`metrics`]: confusion matrix and the figures that follow from it.
//! * [`report`]: those figures as a table.

pub mod metrics;
pub mod predict;
pub mod report;
