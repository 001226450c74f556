//! Rows of tiles go through the networks: the screen, where there is one, looks
//! at every tile with material, the classifier at those that it does not clear.

mod cost;
mod input;
mod network;
mod settled;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use millsight_export::engine::EngineError;
use millsight_export::preprocess::{PreprocessError, ViewError};
use millsight_firmware_config::{MaterialDetection, TILE_SIZE};

use crate::assemble::Row;
use crate::ledger::{TileState, UnjudgedReason};

pub use network::Network;
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

/// One worker: networks with everything that is needed to judge rows.
pub struct Classifier {
    network: Network,
    screen: Option<Network>,
    detection: MaterialDetection,
    /// Rows that were taken and not yet handed on, in their order.
    in_hand: VecDeque<InHand>,
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
    /// A worker with a classifier, and with a screen that looks first.
    pub fn new(network: Network, screen: Option<Network>, detection: MaterialDetection) -> Self {
        Self {
            network,
            screen,
            detection,
            in_hand: VecDeque::new(),
        }
    }

    /// Judges a row, and with it as many of the rows that `more` gives as the
    /// engine takes at once. Each row is handed on as soon as all of its tiles
    /// have their states.
    ///
    /// Tiles without material are background. The others go through the screen,
    /// which clears those in which it finds nothing, and what is left through
    /// the classifier, but for those of which the verdict would come later than
    /// `deadline` after the row's last line. A failure of the classifier's
    /// engine, a panic included, leaves the tiles unjudged that it was given at
    /// that time; what a screen fails at, the classifier sees.
    pub fn classify(
        &mut self,
        row: Row,
        deadline: Option<Duration>,
        more: &mut dyn FnMut() -> Option<Row>,
        hand_on: &mut dyn FnMut(SettledRow),
    ) {
        let batch = self.network.batch();
        let mut places = Vec::with_capacity(batch);
        let mut taken = 0;
        let mut handed_on = 0;
        let mut next = Some(row);
        while let Some(row) = next {
            self.take(row, taken, deadline, &mut places);
            taken += 1;
            handed_on += self.hand_on(hand_on);
            next = if places.len() < batch && self.has_time_for_more(places.len(), deadline) {
                more()
            } else {
                None
            };
        }
        for places in places.chunks(batch) {
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
        if let Some(screen) = &mut self.screen {
            leave_late(row, deadline, places, before, screen, places.len() - before);
            clear(row, places, before, screen);
        }
        let all = places.len();
        leave_late(row, deadline, places, before, &mut self.network, all);
        *open_tiles = places.len() - before;
        if *open_tiles > 0 {
            row.probabilities = vec![0.0; columns * self.network.classes()];
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
        let cost = self.network.cost(tiles + row.columns());
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
        let in_hand = &self.in_hand;
        let tiles = places
            .iter()
            .map(|place| (&in_hand[place.row - first].row.row, place.column));
        let mut problem = self.network.look(tiles).err();
        let classes = self.network.classes();
        for (number, place) in places.iter().enumerate() {
            let Some(InHand { row, open_tiles }) = self.in_hand.get_mut(place.row - first) else {
                continue;
            };
            *open_tiles -= 1;
            row.states[place.column] = match self.network.verdict(number) {
                Some((verdict, probabilities)) => {
                    row.probabilities[place.column * classes..][..classes]
                        .copy_from_slice(probabilities);
                    row.verdicts[place.column] = Some(verdict);
                    TileState::Judged {
                        flagged: verdict.flagged.then_some(verdict.class),
                    }
                }
                None => {
                    if !self.network.has_failed() {
                        problem.get_or_insert(ClassifyError::NotFinite);
                    }
                    TileState::Unjudged(UnjudgedReason::EngineError)
                }
            };
            row.problems.extend(problem.take());
        }
    }
}

/// Leaves the places of a row, those from `before` on, unjudged when a network
/// that must look at `tiles` tiles first would make them late.
fn leave_late(
    row: &mut SettledRow,
    deadline: Option<Duration>,
    places: &mut Vec<Place>,
    before: usize,
    network: &mut Network,
    tiles: usize,
) {
    let done = row.row.completed.elapsed() + network.cost(tiles);
    if places.len() == before || deadline.is_none_or(|deadline| done <= deadline) {
        return;
    }
    for place in places.drain(before..) {
        row.states[place.column] = TileState::Unjudged(UnjudgedReason::Deadline);
    }
    network.fade();
}

/// Clears the places of a row, those from `before` on, in which the screen finds
/// nothing. The others stay for the classifier, all of them where the screen
/// fails.
fn clear(row: &mut SettledRow, places: &mut Vec<Place>, before: usize, screen: &mut Network) {
    let mut kept = before;
    let mut next = before;
    while next < places.len() {
        let end = places.len().min(next + screen.batch());
        let tiles = places[next..end]
            .iter()
            .map(|place| (&row.row, place.column));
        let mut problem = screen.look(tiles).err();
        for number in 0..end - next {
            let place = places[next + number];
            let verdict = screen.verdict(number).map(|(verdict, _)| verdict);
            match verdict {
                Some(verdict) if !verdict.flagged => {
                    row.states[place.column] = TileState::Cleared;
                    continue;
                }
                Some(_) => {}
                None if screen.has_failed() => {}
                None => {
                    problem.get_or_insert(ClassifyError::NotFinite);
                }
            }
            places[kept] = place;
            kept += 1;
        }
        row.problems.extend(problem);
        next = end;
    }
    places.truncate(kept);
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
