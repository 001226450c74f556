//! Rows of tiles go through the networks: the screen, where there is one, looks
//! at every tile with material, the classifier at those that it does not clear.

mod cost;
mod input;
mod models;
mod network;
mod settled;

use std::collections::VecDeque;
use std::iter;
use std::sync::Arc;
use std::time::{Duration, Instant};

use millsight_export::engine::EngineError;
use millsight_export::preprocess::{PreprocessError, ViewError};
use millsight_firmware_config::{MaterialDetection, TILE_SIZE};

use crate::assemble::Row;
use crate::decide::Verdict;
use crate::ledger::{TileState, UnjudgedReason};

pub(crate) use input::Input;
pub use models::Models;
use models::OfWorker;
pub use network::Network;
pub use settled::{Room, SettledRow, SettledTile};

/// How long the classifier runs at most, where a screen is to look at the next
/// row in the meantime.
const TURN: Duration = Duration::from_millis(10);

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
    /// A row is to be judged by a model that is not there.
    #[error("the model number {0} of the run has no network here")]
    NoModel(usize),
    /// The row's pixels do not hold the tile.
    #[error(transparent)]
    View(#[from] ViewError),
    /// The tile does not fit the model's input.
    #[error(transparent)]
    Prepare(#[from] PreprocessError),
}

/// One worker: networks with everything that is needed to judge rows.
pub struct Classifier {
    networks: OfWorker,
    models: Arc<Models>,
    screen: Option<Network>,
    detection: MaterialDetection,
    /// The row that is looked at for the first time.
    first_look: Option<SettledRow>,
    /// Rows with tiles that wait for the classifier, in their order.
    in_hand: VecDeque<SettledRow>,
    /// The tiles of the classifier's run.
    places: Vec<Place>,
}

/// What is said of a tile that was judged by itself.
#[derive(Debug, Clone, Copy)]
pub struct JudgedAlone<'a> {
    /// Number of the model of the run that judged it.
    pub model: usize,
    /// The verdict.
    pub verdict: Verdict,
    /// Probability of each class of the model.
    pub probabilities: &'a [f32],
    /// How far it is from the tiles that the model was trained on, where the model tells.
    pub distance: Option<f32>,
}

/// A tile in a run of the classifier: its row in hand, and its column.
#[derive(Debug, Clone, Copy)]
struct Place {
    row: usize,
    column: usize,
}

impl Classifier {
    /// A worker with a classifier, and with a screen that looks first.
    pub fn new(network: Network, screen: Option<Network>, detection: MaterialDetection) -> Self {
        let batch = network.batch();
        Self {
            networks: OfWorker::new(network),
            models: Arc::default(),
            screen,
            detection,
            first_look: None,
            // A row in hand has an open tile at least.
            in_hand: VecDeque::with_capacity(batch + 1),
            places: Vec::with_capacity(batch),
        }
    }

    /// The same, which lets other models of the run judge when they are to.
    pub fn with_models(self, models: Arc<Models>) -> Self {
        Self { models, ..self }
    }

    /// Looks at a row for the first time, and hands it on: tiles without
    /// material are background, and of the others the screen clears those in
    /// which it finds nothing. What is left stays open for the classifier, the
    /// most suspicious first, and so does everything that a screen fails at.
    /// Nobody looks at a row for which the screen would need longer than until
    /// `deadline` after the row's last line.
    pub fn look(
        &mut self,
        row: Row,
        deadline: Option<Duration>,
        hand_on: &mut dyn FnMut(SettledRow),
    ) {
        let fault = UnjudgedReason::Fault;
        let row = self.first_look.insert(SettledRow::unjudged(row, fault));
        if row.row.pixels.is_none() {
            let lost = TileState::Unjudged(UnjudgedReason::ImageLost);
            row.states.fill(lost);
        } else {
            find_material(&self.detection, row);
        }
        if let Some(screen) = &mut self.screen {
            let cost = screen.cost(row.open.len());
            if time_left(&row.row, deadline).is_none_or(|time| time < cost) {
                row.give_up(UnjudgedReason::Deadline);
                screen.fade();
            }
            clear(row, screen);
        }
        if row.is_open() {
            let scores = row.states.len() * self.networks.last().classes();
            row.probabilities.resize(scores, 0.0);
        }
        if let Some(mut row) = self.first_look.take() {
            row.settled = Instant::now();
            hand_on(row);
        }
    }

    /// Takes a row with open tiles in hand.
    pub fn take(&mut self, row: SettledRow) {
        self.in_hand.push_back(row);
    }

    /// Whether rows are in hand.
    pub fn has_rows(&self) -> bool {
        !self.in_hand.is_empty()
    }

    /// Whether the classifier could look at the tiles of one more row at once
    /// with those in hand. Filling a batch may take half of the time until the
    /// oldest row's deadline, so that a run that is slower than the last ones
    /// does not make all of it late.
    pub fn has_room(&self, deadline: Option<Duration>) -> bool {
        let Some(oldest) = self.in_hand.front() else {
            return true;
        };
        let tiles: usize = self.in_hand.iter().map(|row| row.open.len()).sum();
        if tiles >= self.turn() {
            return false;
        }
        let cost = self.networks.last().cost(tiles + oldest.row.columns());
        deadline.is_none_or(|deadline| oldest.row.completed.elapsed() + cost <= deadline / 2)
    }

    /// Lets the classifier run once, over the oldest open tiles in hand, and
    /// hands on the rows that have no more of them. Tiles of which the verdict
    /// would come later than `deadline` after the row's last line stay
    /// unjudged, and so do those that the engine was given when it failed, a
    /// panic included. Tiles of rows that belong to another model wait for the next run.
    pub fn judge(&mut self, deadline: Option<Duration>, hand_on: &mut dyn FnMut(SettledRow)) {
        let model = self.ask_for_network();
        let tiles = model.map_or(0, |_| self.leave_late(deadline));
        let rows = self.in_hand.iter().enumerate();
        let rows = rows.take_while(|(_, row)| !row.is_open() || Some(row.row.model) == model);
        let open = rows.flat_map(|(number, row)| {
            let place = move |&column| Place {
                row: number,
                column,
            };
            row.open.iter().map(place)
        });
        self.places.clear();
        self.places.extend(open.take(tiles));
        if !self.places.is_empty() {
            self.run();
        }
        while self.in_hand.front().is_some_and(|row| !row.is_open()) {
            if let Some(mut row) = self.in_hand.pop_front() {
                row.settled = Instant::now();
                hand_on(row);
            }
        }
    }

    /// Judges one tile, `[512, 512]`, without regard to time.
    ///
    /// # Errors
    /// When the tile cannot be prepared, or the engine fails or gives scores
    /// that are no numbers.
    pub fn judge_alone(&mut self, tile: &[u8]) -> Result<JudgedAlone<'_>, ClassifyError> {
        let model = self.models.current();
        if !self.networks.ask_for(model, &self.models) {
            return Err(ClassifyError::NoModel(model));
        }
        let network = self.networks.last_mut();
        network.look(iter::once((tile, TILE_SIZE)))?;
        let distance = network.distance(0);
        let (verdict, probabilities) = network.verdict(0).ok_or(ClassifyError::NotFinite)?;
        Ok(JudgedAlone {
            model,
            verdict,
            probabilities,
            distance,
        })
    }

    /// Asks for the network of the oldest row with open tiles; gives the number of its
    /// model. Where there is none, which only a fault of the program can cause, nobody can
    /// judge the row.
    fn ask_for_network(&mut self) -> Option<usize> {
        let row = self.in_hand.iter_mut().find(|row| row.is_open())?;
        let model = row.row.model;
        if self.networks.ask_for(model, &self.models) {
            return Some(model);
        }
        row.problems.push(ClassifyError::NoModel(model));
        row.give_up(UnjudgedReason::Fault);
        None
    }

    /// Gives up the rows that were taken and not yet handed on, after a panic.
    /// What is not known of their tiles stays unjudged.
    pub fn abandon(&mut self) -> impl Iterator<Item = SettledRow> {
        self.first_look
            .take()
            .into_iter()
            .chain(self.in_hand.drain(..))
            .map(|mut row| {
                row.give_up(UnjudgedReason::Fault);
                row
            })
    }

    /// Most tiles of a run.
    fn turn(&self) -> usize {
        match self.screen {
            Some(_) => self.networks.last().within(TURN).max(1),
            None => self.networks.last().batch(),
        }
    }

    /// Gives up the oldest rows until there is one of which a tile can be judged
    /// in time; gives the number of tiles that can.
    fn leave_late(&mut self, deadline: Option<Duration>) -> usize {
        let turn = self.turn();
        let network = self.networks.last_mut();
        for row in &mut self.in_hand {
            let time = time_left(&row.row, deadline);
            let tiles = time.map_or(0, |time| network.within(time));
            if tiles > 0 {
                return tiles.min(turn);
            }
            if row.verdicts.iter().all(Option::is_none) {
                network.fade();
            }
            row.give_up(UnjudgedReason::Deadline);
        }
        0
    }

    fn run(&mut self) {
        let Self {
            networks,
            in_hand,
            places,
            ..
        } = self;
        let network = networks.last_mut();
        let tiles = places
            .iter()
            .map(|place| in_hand[place.row].tile(place.column));
        let mut problem = network.look(tiles).err();
        let classes = network.classes();
        for (number, place) in places.iter().enumerate() {
            let row = &mut in_hand[place.row];
            let distance = network.distance(number);
            row.states[place.column] = match network.verdict(number) {
                Some((verdict, probabilities)) => {
                    row.probabilities[place.column * classes..][..classes]
                        .copy_from_slice(probabilities);
                    row.verdicts[place.column] = Some(verdict);
                    row.distances[place.column] = distance;
                    TileState::Judged {
                        flagged: verdict.flagged.then_some(verdict.class),
                    }
                }
                None => {
                    if !network.has_failed() {
                        problem.get_or_insert(ClassifyError::NotFinite);
                    }
                    TileState::Unjudged(UnjudgedReason::EngineError)
                }
            };
            row.problems.extend(problem.take());
        }
        for row in in_hand.iter_mut() {
            let states = &row.states;
            row.open.retain(|&column| states[column] == WAITING);
        }
    }
}

/// State of a tile of which nothing is known: what it ends as when a panic
/// leaves it behind.
const WAITING: TileState = TileState::Unjudged(UnjudgedReason::Fault);

/// Time that is left for the verdicts of a row; `None` when it is over.
fn time_left(row: &Row, deadline: Option<Duration>) -> Option<Duration> {
    match deadline {
        Some(deadline) => deadline.checked_sub(row.completed.elapsed()),
        None => Some(Duration::MAX),
    }
}

/// Finds the background of a row; its other tiles are open.
fn find_material(detection: &MaterialDetection, row: &mut SettledRow) {
    let pixels = row.row.pixels.as_deref().unwrap_or_default();
    for column in 0..row.states.len() {
        if is_background(detection, &row.row, pixels, column) {
            row.states[column] = TileState::Background;
        } else {
            row.open.push(column);
        }
    }
}

/// Clears the open tiles of a row in which the screen finds nothing, and puts
/// the others in the order of its suspicion.
fn clear(row: &mut SettledRow, screen: &mut Network) {
    let mut next = 0;
    while next < row.open.len() {
        let end = row.open.len().min(next + screen.batch());
        let tiles = row.open[next..end].iter().map(|&column| row.tile(column));
        let mut problem = screen.look(tiles).err();
        for number in 0..end - next {
            let column = row.open[next + number];
            match screen.suspicion(number) {
                Some((verdict, suspicion)) => {
                    row.suspicions[column] = Some(suspicion);
                    if !verdict.flagged {
                        row.states[column] = TileState::Cleared;
                    }
                }
                None if screen.has_failed() => {}
                None => {
                    problem.get_or_insert(ClassifyError::NotFinite);
                }
            }
        }
        row.problems.extend(problem);
        next = end;
    }
    let SettledRow {
        open,
        states,
        suspicions,
        ..
    } = row;
    open.retain(|&column| states[column] != TileState::Cleared);
    // What the screen could not look at comes first.
    let urgency = |column: usize| suspicions[column].unwrap_or(f32::INFINITY);
    open.sort_unstable_by(|&a, &b| urgency(b).total_cmp(&urgency(a)).then(a.cmp(&b)));
}

/// Whether a tile shows no material: too few of its pixels reach the level of
/// the material. Padding does not count.
pub(crate) fn is_background(
    detection: &MaterialDetection,
    row: &Row,
    pixels: &[u8],
    column: usize,
) -> bool {
    if !detection.enabled {
        return false;
    }
    let level = detection.minimum_level;
    let enough = detection.minimum_share * (row.lines * TILE_SIZE) as f32;
    let mut bright = 0;
    let lines = pixels.chunks_exact(row.geometry.pixels_per_line);
    for line in lines.take(row.lines) {
        let tile = &line[column * TILE_SIZE..][..TILE_SIZE];
        // Counts of so few pixels fit into bytes, of which a processor adds many
        // at once.
        bright += tile
            .chunks(128)
            .map(|part| {
                part.iter()
                    .map(|&pixel| u8::from(pixel >= level))
                    .sum::<u8>()
            })
            .map(usize::from)
            .sum::<usize>();
        if bright as f32 >= enough {
            return false;
        }
    }
    (bright as f32) < enough
}

#[cfg(test)]
mod tests;
