//! Tiles that were not judged in time, with an image from which that can be made
//! up for.

use std::path::PathBuf;
use std::time::Instant;

use crate::decide::Verdict;
use crate::ledger::UnjudgedReason;

/// A tile that is recorded as unjudged, with its image.
#[derive(Debug, Clone, PartialEq)]
pub struct Overdue {
    /// The database's id.
    pub tile: i64,
    /// Its image: 512×512, 8-bit grey, PNG.
    pub image: PathBuf,
    /// Why it is unjudged.
    pub reason: UnjudgedReason,
    /// Probability of a defect, 0 to 1, where the screen has looked.
    pub suspicion: Option<f32>,
    /// When its last line arrived.
    pub completed: Instant,
}

/// An overdue tile that was judged.
#[derive(Debug, Clone, PartialEq)]
pub struct JudgedLate {
    /// The tile.
    pub tile: Overdue,
    /// Number of the model of the run that judged it.
    pub model: usize,
    /// The verdict.
    pub verdict: Verdict,
    /// Probability of each class of the model.
    pub probabilities: Vec<f32>,
    /// How far the tile is from those that the model was trained on, where it tells.
    pub distance: Option<f32>,
    /// When the verdict was known.
    pub settled: Instant,
}
