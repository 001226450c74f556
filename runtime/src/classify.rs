//! Rows of tiles go through the network.

mod cost;
mod input;
mod settled;

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use millsight_export::card::ModelCard;
use millsight_export::engine::{Engine, EngineError};
use millsight_export::panics;
use millsight_export::preprocess::{PreprocessError, ViewError};
use millsight_firmware_config::{MaterialDetection, TILE_SIZE};

use crate::assemble::Row;
use crate::decide::{self, Decider};
use crate::ledger::{TileState, UnjudgedReason};
use cost::Cost;
use input::Input;

pub use settled::{SettledRow, SettledTile};

/// Why tiles could not be judged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClassifyError {
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The engine panicked.
    #[error("the engine panicked: {0}")]
    Panic(String),
    /// The engine gave more or fewer scores than it was asked for.
    #[error("the engine gave {got} scores for {tiles} tiles of {classes} classes")]
    ScoreCount {
        /// Scores that came.
        got: usize,
        /// Tiles that were given.
        tiles: usize,
        /// Classes of the model.
        classes: usize,
    },
    /// Scores are infinite or no numbers.
    #[error("the network gave scores that are no numbers")]
    NotFinite,
    /// The row's pixels do not hold the tile.
    #[error(transparent)]
    View(#[from] ViewError),
    /// The tile does not fit the model's input.
    #[error(transparent)]
    Prepare(#[from] PreprocessError),
}

/// One worker: an engine with everything that it needs to judge rows.
pub struct Classifier {
    engine: Box<dyn Engine>,
    input: Input,
    decider: Decider,
    detection: MaterialDetection,
    /// Tiles that go through the network at once.
    batch: usize,
    scores: Vec<f32>,
    /// Rows that were taken and not yet handed on, in their order.
    in_hand: VecDeque<InHand>,
    cost: Cost,
}

/// A row with tiles of which nothing is known yet.
struct InHand {
    row: SettledRow,
    open_tiles: usize,
}

/// A tile that waits for the network: its row, counted from the first one
/// that was taken, and its column.
#[derive(Debug, Clone, Copy)]
struct Place {
    row: usize,
    column: usize,
}

impl Classifier {
    /// A worker that gives `batch` tiles (at least one) to its engine at once.
    pub fn new(
        engine: Box<dyn Engine>,
        card: &ModelCard,
        decider: Decider,
        detection: MaterialDetection,
        batch: usize,
    ) -> Self {
        let batch = batch.max(1);
        Self {
            engine,
            input: Input::new(card, batch),
            decider,
            detection,
            batch,
            scores: Vec::new(),
            in_hand: VecDeque::new(),
            cost: Cost::default(),
        }
    }

    /// Judges a row, and with it as many of the rows that `more` gives as the
    /// engine takes at once. Each row is handed on as soon as all of its tiles
    /// have their states.
    ///
    /// Tiles without material are background. The others go through the
    /// network, but for those of which the verdict would come later than
    /// `deadline` after the row's last line. A failure of the engine, a panic
    /// included, leaves the tiles unjudged that it was given at that time.
    pub fn classify(
        &mut self,
        row: Row,
        deadline: Option<Duration>,
        more: &mut dyn FnMut() -> Option<Row>,
        hand_on: &mut dyn FnMut(SettledRow),
    ) {
        let mut places = Vec::with_capacity(self.batch);
        let mut taken = 0;
        let mut handed_on = 0;
        let mut next = Some(row);
        while let Some(row) = next {
            self.take(row, taken, deadline, &mut places);
            taken += 1;
            handed_on += self.hand_on(hand_on);
            next = if places.len() < self.batch && self.has_time_for_more(places.len(), deadline) {
                more()
            } else {
                None
            };
        }
        for places in places.chunks(self.batch) {
            self.judge(places, handed_on);
            handed_on += self.hand_on(hand_on);
        }
    }

    /// Gives up the rows that were taken and not yet handed on, after a panic.
    /// What is not known of their tiles stays unjudged.
    pub fn abandon(&mut self) -> impl Iterator<Item = SettledRow> {
        self.in_hand.drain(..).map(|in_hand| in_hand.row)
    }

    /// Takes a row in hand: finds its background, and adds the places of the
    /// tiles that the network must see.
    fn take(
        &mut self,
        row: Row,
        number: usize,
        deadline: Option<Duration>,
        places: &mut Vec<Place>,
    ) {
        let columns = row.columns();
        let lost = row.pixels.is_none();
        self.in_hand.push_back(InHand {
            row: SettledRow::unjudged(row, UnjudgedReason::Fault),
            open_tiles: columns,
        });
        let Some(InHand { row, open_tiles }) = self.in_hand.back_mut() else {
            return;
        };
        if lost {
            row.states
                .fill(TileState::Unjudged(UnjudgedReason::ImageLost));
            *open_tiles = 0;
            return;
        }
        let before = places.len();
        let pixels = row.row.pixels.as_deref().unwrap_or_default();
        for column in 0..columns {
            if is_background(&self.detection, &row.row, pixels, column) {
                row.states[column] = TileState::Background;
            } else {
                places.push(Place {
                    row: number,
                    column,
                });
            }
        }
        *open_tiles = places.len() - before;
        let cost = self.cost.of(places.len(), self.batch);
        let late = deadline.is_some_and(|deadline| row.row.completed.elapsed() + cost > deadline);
        if *open_tiles > 0 && late {
            for place in places.drain(before..) {
                row.states[place.column] = TileState::Unjudged(UnjudgedReason::Deadline);
            }
            *open_tiles = 0;
            self.cost.fade();
        }
        if *open_tiles > 0 {
            row.probabilities = vec![0.0; columns * self.decider.classes().len()];
        }
    }

    /// Whether the oldest row in hand can well wait for another row: filling
    /// a batch may take half of the time until the deadline, so that a run
    /// that is slower than the last ones does not make all of it late.
    fn has_time_for_more(&self, tiles: usize, deadline: Option<Duration>) -> bool {
        let (Some(deadline), Some(oldest)) = (deadline, self.in_hand.front()) else {
            return true;
        };
        let row = &oldest.row.row;
        let cost = self.cost.of(tiles + row.columns(), self.batch);
        row.completed.elapsed() + cost <= deadline / 2
    }

    /// Hands on the rows at the front of which everything is known, and gives
    /// their number.
    fn hand_on(&mut self, hand_on: &mut dyn FnMut(SettledRow)) -> usize {
        let mut count = 0;
        while self.in_hand.front().is_some_and(|row| row.open_tiles == 0) {
            let Some(InHand { mut row, .. }) = self.in_hand.pop_front() else {
                break;
            };
            row.settled = Instant::now();
            hand_on(row);
            count += 1;
        }
        count
    }

    /// Runs tiles that the engine takes at once. `first` is the number of the
    /// first row in hand.
    fn judge(&mut self, places: &[Place], first: usize) {
        let begun = Instant::now();
        let run = catch_unwind(AssertUnwindSafe(|| self.run(places, first)))
            .unwrap_or_else(|panic| Err(ClassifyError::Panic(panics::message(&*panic))));
        let classes = self.decider.classes().len();
        let mut problem = match run {
            Ok(()) => {
                self.cost.note(begun.elapsed(), places.len());
                None
            }
            Err(error) => {
                self.scores.clear();
                Some(error)
            }
        };
        let mut scores = self.scores.chunks_exact_mut(classes);
        for place in places {
            let Some(InHand { row, open_tiles }) = self.in_hand.get_mut(place.row - first) else {
                continue;
            };
            *open_tiles -= 1;
            row.states[place.column] = match scores.next() {
                Some(scores) if decide::are_finite(scores) => {
                    let verdict = self.decider.decide(scores);
                    row.probabilities[place.column * classes..][..classes].copy_from_slice(scores);
                    row.verdicts[place.column] = Some(verdict);
                    TileState::Judged {
                        flagged: verdict.flagged.then_some(verdict.class),
                    }
                }
                Some(_) => {
                    problem.get_or_insert(ClassifyError::NotFinite);
                    TileState::Unjudged(UnjudgedReason::EngineError)
                }
                None => TileState::Unjudged(UnjudgedReason::EngineError),
            };
            row.problems.extend(problem.take());
        }
    }

    /// Prepares tiles and runs them, so that `scores` holds what the network
    /// says of them.
    fn run(&mut self, places: &[Place], first: usize) -> Result<(), ClassifyError> {
        for (slot, place) in places.iter().enumerate() {
            let row = &self.in_hand[place.row - first].row.row;
            let pixels = row.pixels.as_deref().unwrap_or_default();
            let width = row.geometry.pixels_per_line;
            self.input.prepare(slot, pixels, width, place.column)?;
        }
        let batch = self.input.batch(places.len());
        self.engine.run(batch, places.len(), &mut self.scores)?;
        let classes = self.decider.classes().len();
        if self.scores.len() != places.len() * classes {
            return Err(ClassifyError::ScoreCount {
                got: self.scores.len(),
                tiles: places.len(),
                classes,
            });
        }
        Ok(())
    }
}

/// Whether a tile shows no material: too few of its pixels reach the level of
/// the material. Padding does not count.
fn is_background(detection: &MaterialDetection, row: &Row, pixels: &[u8], column: usize) -> bool {
    if !detection.enabled {
        return false;
    }
    let level = detection.minimum_level;
    let bright: usize = pixels
        .chunks_exact(row.geometry.pixels_per_line)
        .take(row.lines)
        .map(|line| {
            let tile = &line[column * TILE_SIZE..][..TILE_SIZE];
            tile.iter().filter(|&&pixel| pixel >= level).count()
        })
        .sum();
    (bright as f32) < detection.minimum_share * (row.lines * TILE_SIZE) as f32
}

#[cfg(test)]
mod tests;
