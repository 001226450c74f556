//! What passes just now, for those who watch.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use millsight_export::engine::EngineIdentity;
use millsight_firmware_config::TILE_SIZE;
use serde::Serialize;

use super::watch::Health;
use crate::classify::SettledRow;
use crate::ledger::{Ledger, LineCounts, ModelIdentity, TileCounts, TileState};

/// Side of a tile in the picture of the strip, in pixels.
pub const SIDE: usize = 32;

/// Pixels of the tile for one of the picture.
const STEP: usize = TILE_SIZE / SIDE;

/// Rows of tiles that are kept: as many as a screen shows.
const ROWS: usize = 64;

/// Time over which the line rate is measured.
const RATE_OVER: Duration = Duration::from_secs(1);

/// What runs.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct About {
    /// Name of the station.
    pub station: String,
    /// What the piece is called.
    pub piece: String,
    /// What runs the classifier.
    #[schema(value_type = Object)]
    pub engine: EngineIdentity,
    /// The classifier.
    pub model: ModelIdentity,
    /// The screen that looks first, where there is one.
    pub screen: Option<ModelIdentity>,
    /// Classes of the classifier.
    pub classes: Vec<String>,
    /// Lines per second at which the source gives them; `None`: as fast as they are
    /// judged.
    pub line_rate: Option<f64>,
    /// Tiles side by side.
    pub columns: usize,
}

/// A run, as those who watch see it.
pub struct Live {
    about: About,
    ledger: Arc<Ledger>,
    watchers: AtomicUsize,
    strip: Mutex<Strip>,
    health: Mutex<Health>,
}

/// The last rows of the strip.
#[derive(Debug, Default)]
struct Strip {
    /// How many rows have been seen in all.
    seen: u64,
    rows: VecDeque<StripRow>,
}

/// A row of tiles of the strip.
#[derive(Debug, Clone, PartialEq)]
pub struct StripRow {
    /// Its number in the piece, from 0 on. Rows come in the order in which they were
    /// settled.
    pub number: u64,
    /// Where it begins along the piece, metres.
    pub metres: f64,
    /// State of each tile: `background`, `cleared`, `judged`, `unjudged`, or the index
    /// of the class that was flagged.
    pub tiles: Vec<Shown>,
    /// Levels, `[SIDE, columns * SIDE]`; black where lines are missing.
    pub levels: Vec<u8>,
}

/// The state of a tile, as it is marked on the strip.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(untagged)]
pub enum Shown {
    /// Index of the class that was flagged.
    Flagged(usize),
    /// Nothing was flagged: the name of the state.
    State(&'static str),
}

/// Counts at a moment.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Counts {
    /// Lines.
    pub lines: LineCounts,
    /// Lines per second over the last second.
    pub lines_per_second: f64,
    /// Tiles by state.
    pub tiles: TileCounts,
    /// Unjudged tiles by reason.
    pub unjudged: BTreeMap<&'static str, u64>,
    /// Flagged tiles by class.
    pub flagged: BTreeMap<String, u64>,
    /// Unjudged tiles that wait until there is time.
    pub backlog: u64,
    /// Median time from the last line of a tile to its verdict, milliseconds.
    pub latency_p50_ms: f64,
    /// Its 99th percentile, milliseconds.
    pub latency_p99_ms: f64,
}

impl Live {
    /// A run that counts in `ledger`.
    pub fn new(about: About, ledger: Arc<Ledger>) -> Self {
        Self {
            about,
            ledger,
            watchers: AtomicUsize::new(0),
            strip: Mutex::default(),
            health: Mutex::default(),
        }
    }

    /// What runs.
    pub fn about(&self) -> &About {
        &self.about
    }

    /// What has been counted.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// How the computer and the camera are.
    pub fn health(&self) -> Health {
        let health = self.health.lock();
        health.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Says how they are.
    pub(super) fn set_health(&self, health: Health) {
        *self.health.lock().unwrap_or_else(PoisonError::into_inner) = health;
    }

    /// Shows a row to those who watch. Where nobody does, this does nothing.
    pub fn row(&self, row: &SettledRow) {
        if self.watchers.load(Ordering::Relaxed) == 0 {
            return;
        }
        let tiles = row.states.iter().map(|&state| match state {
            TileState::Judged {
                flagged: Some(class),
            } => Shown::Flagged(class),
            state => Shown::State(state.name()),
        });
        let shown = StripRow {
            number: row.row.number,
            metres: row.row.metres,
            tiles: tiles.collect(),
            levels: match row.row.pixels.as_deref() {
                Some(pixels) => shrunk(pixels, row.states.len()),
                None => vec![0; row.states.len() * SIDE * SIDE],
            },
        };
        let mut strip = self.strip.lock().unwrap_or_else(PoisonError::into_inner);
        strip.seen += 1;
        if strip.rows.len() == ROWS {
            strip.rows.pop_front();
        }
        strip.rows.push_back(shown);
    }

    /// Begins to watch.
    pub fn watch(self: &Arc<Self>) -> Watching {
        self.watchers.fetch_add(1, Ordering::Relaxed);
        let strip = self.strip.lock().unwrap_or_else(PoisonError::into_inner);
        Watching {
            live: Arc::clone(self),
            seen: strip.seen,
            samples: VecDeque::new(),
        }
    }
}

/// Someone who watches, until it is dropped.
pub struct Watching {
    live: Arc<Live>,
    /// Rows that were given, or had passed before.
    seen: u64,
    /// Lines at moments, over a little more than [`RATE_OVER`].
    samples: VecDeque<(Instant, u64)>,
}

impl Watching {
    /// What is watched.
    pub fn live(&self) -> &Live {
        &self.live
    }

    /// The rows that have come since the last call; of many the last ones.
    pub fn rows(&mut self) -> Vec<StripRow> {
        let strip = &self.live.strip;
        let strip = strip.lock().unwrap_or_else(PoisonError::into_inner);
        let new = (strip.seen - self.seen).min(strip.rows.len() as u64) as usize;
        self.seen = strip.seen;
        let from = strip.rows.len() - new;
        strip.rows.range(from..).cloned().collect()
    }

    /// What has been counted until now.
    pub fn counts(&mut self) -> Counts {
        let ledger = self.live.ledger();
        let lines = ledger.line_counts();
        let now = Instant::now();
        self.samples.push_back((now, lines.r#in));
        while let Some((second, _)) = self.samples.get(1)
            && now.duration_since(*second) >= RATE_OVER
        {
            self.samples.pop_front();
        }
        let (since, before) = self.samples.front().copied().unwrap_or((now, lines.r#in));
        let seconds = now.duration_since(since).as_secs_f64();
        let milliseconds = |share| ledger.latency_quantile(share).as_secs_f64() * 1000.0;
        Counts {
            lines_per_second: match seconds > 0.0 {
                true => (lines.r#in - before) as f64 / seconds,
                false => 0.0,
            },
            lines,
            tiles: ledger.tiles(),
            unjudged: ledger.unjudged_by_reason().collect(),
            flagged: ledger
                .flagged_by_class()
                .map(|(class, count)| (class.to_owned(), count))
                .collect(),
            backlog: ledger.backlog(),
            latency_p50_ms: milliseconds(0.5),
            latency_p99_ms: milliseconds(0.99),
        }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.live.watchers.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A row of tiles, smaller: each level is the mean over [`STEP`] pixels of two of
/// [`STEP`] lines. All of them would cost the thread that records eight times the time.
fn shrunk(pixels: &[u8], columns: usize) -> Vec<u8> {
    let width = columns * TILE_SIZE;
    let mut levels = Vec::with_capacity(columns * SIDE * SIDE);
    for line in (0..TILE_SIZE).step_by(STEP) {
        let of = |line: usize| {
            pixels
                .get(line * width..(line + 1) * width)
                .unwrap_or_default()
        };
        let (upper, lower) = (of(line), of(line + STEP / 2));
        let sums = upper
            .chunks_exact(STEP)
            .zip(lower.chunks_exact(STEP))
            .map(|(upper, lower)| {
                let sum = |levels: &[u8]| levels.iter().map(|&level| u32::from(level)).sum::<u32>();
                sum(upper) + sum(lower)
            });
        levels.extend(sums.map(|sum| (sum / (2 * STEP as u32)) as u8));
    }
    levels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_smaller_row_keeps_its_levels_in_place() {
        let columns = 3;
        let width = columns * TILE_SIZE;
        // Brighter along, and another level in each tile across.
        let level = |line: usize, pixel: usize| (line / 4 + 20 * (pixel / TILE_SIZE)) as u8;
        let pixels: Vec<u8> = (0..TILE_SIZE * width)
            .map(|at| level(at / width, at % width))
            .collect();
        let levels = shrunk(&pixels, columns);
        assert_eq!(levels.len(), columns * SIDE * SIDE);
        for (at, &shown) in levels.iter().enumerate() {
            let (line, pixel) = (at / (columns * SIDE), at % (columns * SIDE));
            let expected = level(line * STEP + STEP / 4, pixel * STEP);
            assert!(
                shown.abs_diff(expected) <= 1,
                "{at}: {shown}, not {expected}"
            );
        }
    }
}
