//! What is found out about the tiles of a row.

use std::mem;
use std::time::Instant;

use millsight_firmware_config::TILE_SIZE;

use super::ClassifyError;
use crate::assemble::{Row, RowBuffer};
use crate::decide::Verdict;
use crate::ledger::{TileState, UnjudgedReason};
use crate::position::Position;

/// Room for what is found out about a row's tiles, used again for other rows.
#[derive(Debug, Clone, Default)]
pub struct Room {
    states: Vec<TileState>,
    verdicts: Vec<Option<Verdict>>,
    probabilities: Vec<f32>,
    suspicions: Vec<Option<f32>>,
    distances: Vec<Option<f32>>,
    open: Vec<usize>,
}

impl Room {
    /// Room for `tiles` tiles and `classes` classes.
    pub fn new(tiles: usize, classes: usize) -> Self {
        Self {
            states: Vec::with_capacity(tiles),
            verdicts: Vec::with_capacity(tiles),
            probabilities: Vec::with_capacity(tiles * classes),
            suspicions: Vec::with_capacity(tiles),
            distances: Vec::with_capacity(tiles),
            open: Vec::with_capacity(tiles),
        }
    }
}

/// A row with the states of its tiles. They are final when no tile is open.
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
    /// Probability of a defect, 0 to 1, of each tile at which the screen has
    /// looked.
    pub suspicions: Vec<Option<f32>>,
    /// How far each tile that was judged is from those that the classifier was trained on
    /// ([`millsight_export::distance`]), where the classifier tells.
    pub distances: Vec<Option<f32>>,
    /// Columns of the tiles that wait for the classifier, in the order in which
    /// it is to look at them.
    pub(super) open: Vec<usize>,
    /// When the states were known.
    pub settled: Instant,
    /// Columns of tiles that are to be recorded, with their images as PNG files.
    pub images: Vec<(usize, Vec<u8>)>,
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
    /// A row at which nobody has looked, for a reason.
    pub fn unjudged(mut row: Row, reason: UnjudgedReason) -> Self {
        let columns = row.columns();
        let Room {
            mut states,
            mut verdicts,
            mut probabilities,
            mut suspicions,
            mut distances,
            mut open,
        } = mem::take(&mut row.room);
        renew(&mut states, TileState::Unjudged(reason), columns);
        renew(&mut verdicts, None, columns);
        renew(&mut suspicions, None, columns);
        renew(&mut distances, None, columns);
        probabilities.clear();
        open.clear();
        Self {
            row,
            states,
            verdicts,
            probabilities,
            suspicions,
            distances,
            open,
            settled: Instant::now(),
            images: Vec::new(),
            problems: Vec::new(),
        }
    }

    /// Whether tiles wait for the classifier.
    pub fn is_open(&self) -> bool {
        !self.open.is_empty()
    }

    /// Number of its tiles for which only time was missing, and whose image is
    /// there, so that they can be judged later.
    pub fn overdue(&self) -> usize {
        let is_overdue = |state: &&TileState| match state {
            TileState::Unjudged(reason) => reason.is_overdue(),
            _ => false,
        };
        match self.row.pixels {
            Some(_) => self.states.iter().filter(is_overdue).count(),
            None => 0,
        }
    }

    /// Leaves the tiles that wait for the classifier unjudged.
    pub(super) fn give_up(&mut self, reason: UnjudgedReason) {
        for column in self.open.drain(..) {
            self.states[column] = TileState::Unjudged(reason);
        }
    }

    /// The pixels of a tile, from its first one on, and those of a line.
    pub(super) fn tile(&self, column: usize) -> (&[u8], usize) {
        let pixels = self.row.pixels.as_deref().unwrap_or_default();
        let from = (column * TILE_SIZE).min(pixels.len());
        (&pixels[from..], self.row.geometry.pixels_per_line)
    }

    /// The memory of a row that is done with; `None` where it had no pixels.
    pub fn into_buffer(mut self) -> Option<RowBuffer> {
        self.row.room = Room {
            states: self.states,
            verdicts: self.verdicts,
            probabilities: self.probabilities,
            suspicions: self.suspicions,
            distances: self.distances,
            open: self.open,
        };
        self.row.into_buffer()
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

/// Fills a list anew, in the memory that it has.
fn renew<T: Clone>(list: &mut Vec<T>, value: T, length: usize) {
    list.clear();
    list.resize(length, value);
}
