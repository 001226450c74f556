//! Rows whose tiles have their final states.

use std::time::Instant;

use super::ClassifyError;
use crate::assemble::Row;
use crate::decide::Verdict;
use crate::ledger::{TileState, UnjudgedReason};
use crate::position::Position;

/// A row whose tiles have their final state.
#[derive(Debug)]
pub struct SettledRow {
    /// The row.
    pub row: Row,
    /// State of each tile, from column 0 on.
    pub states: Vec<TileState>,
    /// Verdict of each tile that was judged.
    pub verdicts: Vec<Option<Verdict>>,
    /// Probabilities, `[columns, classes]`; meaningful where there is a
    /// verdict.
    pub probabilities: Vec<f32>,
    /// When the states were known.
    pub settled: Instant,
    /// What went wrong on the way.
    pub problems: Vec<ClassifyError>,
}

/// What is known of one tile of a row.
#[derive(Debug, Clone, Copy)]
pub struct SettledTile<'a> {
    /// Column of the tile in its row.
    pub column: usize,
    /// Where it lies on the material.
    pub position: Position,
    /// Its final state.
    pub state: TileState,
    /// What the classifier says, where it was asked.
    pub verdict: Option<Verdict>,
    /// Probability of each class of the model; empty without a verdict.
    pub probabilities: &'a [f32],
}

impl SettledRow {
    /// A row at which nobody looks.
    pub fn unjudged(row: Row, reason: UnjudgedReason) -> Self {
        let columns = row.columns();
        Self {
            row,
            states: vec![TileState::Unjudged(reason); columns],
            verdicts: vec![None; columns],
            probabilities: Vec::new(),
            settled: Instant::now(),
            problems: Vec::new(),
        }
    }

    /// The tiles from column 0 on.
    pub fn tiles(&self) -> impl Iterator<Item = SettledTile<'_>> {
        let classes = self.probabilities.len() / self.states.len().max(1);
        let verdicts = self.states.iter().zip(&self.verdicts).enumerate();
        verdicts.map(move |(column, (&state, &verdict))| SettledTile {
            column,
            position: self.row.position(column),
            state,
            verdict,
            probabilities: match verdict {
                Some(_) => &self.probabilities[column * classes..][..classes],
                None => &[],
            },
        })
    }
}
