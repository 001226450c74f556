//! A simulated piece as a sequence of camera lines with its truth.

use std::collections::{HashMap, HashSet};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::TILE;
use super::camera::{CameraScratch, Placed, expose_line};
use super::piece::Piece;
use super::plan::{Laid, Plan};
use super::settings::{SettingsError, SimulatorSettings};
use super::stamp::Stamp;
use super::truth::{Defect, TileLabel};

/// Lines that one thread draws in one go.
const BATCH: usize = 32;

/// A simulated piece: an endless or limited sequence of camera lines.
///
/// Every byte depends on the settings and its place on the piece alone: not on
/// the size of the blocks in which lines are asked for, not on their order,
/// not on the number of threads.
pub struct Strip {
    settings: SimulatorSettings,
    piece: Piece,
    plan: Plan,
    /// Pictures of the features on the lines that were drawn last, by seed.
    stamps: HashMap<u64, Stamp>,
    position: u64,
}

/// What truly lies on the first lines of a piece.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StripTruth {
    /// The settings that drew the piece.
    pub settings: SimulatorSettings,
    /// Lines that this truth covers.
    pub lines: u64,
    /// Defects that begin on these lines, in the order of their first lines.
    pub defects: Vec<Defect>,
    /// Label of each tile, by row and column: `background` or a class name.
    pub labels: Vec<Vec<String>>,
}

impl Strip {
    /// Prepares a piece.
    ///
    /// # Errors
    /// [`SettingsError`] naming the setting that cannot be used.
    pub fn new(settings: SimulatorSettings) -> Result<Self, SettingsError> {
        settings.validate()?;
        let piece = Piece::new(
            settings.seed,
            settings.material,
            settings.pixels_per_line,
            settings.line_rate_hz,
        );
        let plan = Plan::new(&settings);
        Ok(Self {
            settings,
            piece,
            plan,
            stamps: HashMap::new(),
            position: 0,
        })
    }

    /// The settings of this piece.
    pub fn settings(&self) -> &SimulatorSettings {
        &self.settings
    }

    /// Length of the piece in lines; `None` where it is endless.
    pub fn total_lines(&self) -> Option<u64> {
        self.settings.total_lines()
    }

    /// The line that [`Self::next_lines`] begins with.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Fills `out` with the next lines, each of `pixels_per_line` bytes, and
    /// returns how many lines were written: fewer than fit where the piece
    /// ends. Bytes beyond the last whole line are left alone.
    pub fn next_lines(&mut self, out: &mut [u8]) -> usize {
        let count = self.render_lines(self.position, out);
        self.position += count as u64;
        count
    }

    /// Fills `out` with the lines from `first_line` on; returns as
    /// [`Self::next_lines`] does. Lines that were forgotten are drawn without
    /// their features.
    pub fn render_lines(&mut self, first_line: u64, out: &mut [u8]) -> usize {
        let pixels = self.settings.pixels_per_line;
        let left = self
            .total_lines()
            .map_or(u64::MAX, |total| total.saturating_sub(first_line));
        let count = (out.len() / pixels).min(usize::try_from(left).unwrap_or(usize::MAX));
        let until = first_line + count as u64;
        self.plan.extend(&self.piece, until);
        let near: Vec<&Laid> = self.plan.between(first_line, until).collect();
        let missing: Vec<(u64, Stamp)> = near
            .par_iter()
            .map(|laid| &laid.feature)
            .filter(|feature| !self.stamps.contains_key(&feature.seed))
            .map(|feature| (feature.seed, feature.draw(&self.piece)))
            .collect();
        self.stamps.extend(missing);
        let needed: HashSet<u64> = near.iter().map(|laid| laid.feature.seed).collect();
        self.stamps.retain(|seed, _| needed.contains(seed));
        let placed: Vec<Placed> = near
            .iter()
            .filter_map(|laid| {
                let stamp = self.stamps.get(&laid.feature.seed)?;
                Some(laid.feature.placed(stamp))
            })
            .collect();
        let piece = &self.piece;
        out[..count * pixels]
            .par_chunks_mut(BATCH * pixels)
            .enumerate()
            .for_each_init(CameraScratch::default, |scratch, (batch, lines)| {
                let first = first_line + (batch * BATCH) as u64;
                let last = first + BATCH as u64;
                let near: Vec<Placed> = placed
                    .iter()
                    .filter(|placed| {
                        placed.line < last && placed.line + placed.stamp.height as u64 > first
                    })
                    .copied()
                    .collect();
                for (offset, out) in lines.chunks_exact_mut(pixels).enumerate() {
                    expose_line(piece, &near, first + offset as u64, 0, scratch, out);
                }
            });
        count
    }

    /// Every defect that begins before `line`, in the order of first lines,
    /// but for those that were forgotten.
    pub fn defects_until(&mut self, line: u64) -> Vec<Defect> {
        self.plan.extend(&self.piece, line);
        self.plan.defects_until(line)
    }

    /// The true label of the tile at (row, column) of the piece, by the
    /// [label rule](super::truth#the-label-rule). Tiles that were forgotten or
    /// lie beyond the piece are background.
    pub fn tile_label(&mut self, row: u64, column: usize) -> TileLabel {
        self.plan
            .extend(&self.piece, (row + 1).saturating_mul(TILE as u64));
        self.plan.label(row, column)
    }

    /// What lies on the first `lines` lines (fewer where the piece is shorter).
    pub fn truth(&mut self, lines: u64) -> StripTruth {
        let lines = self.total_lines().map_or(lines, |total| total.min(lines));
        let rows = lines.div_ceil(TILE as u64);
        let columns = self.settings.pixels_per_line / TILE;
        let labels = (0..rows)
            .map(|row| {
                (0..columns)
                    .map(|column| self.tile_label(row, column).name().to_owned())
                    .collect()
            })
            .collect();
        StripTruth {
            settings: self.settings.clone(),
            lines,
            defects: self.defects_until(lines),
            labels,
        }
    }

    /// Drops features and truth that end before `line`. Each defect takes about
    /// a kilobyte; over an endless piece, call this now and then with the line
    /// from which truth is still wanted.
    pub fn forget_before(&mut self, line: u64) {
        self.plan.forget_before(line);
    }
}
