//! What all tiles were like, in brief: by it one sees later whether the material, the
//! light or the camera has changed.

use std::time::{Duration, Instant};

use millsight_firmware_config::TILE_SIZE;

use super::database;
use super::{Recorder, now};
use crate::classify::SettledRow;
use crate::ledger::TileState;

/// Steps into which the screen's suspicion, from 0 to 1, is divided.
const SUSPICION_STEPS: usize = 20;

/// Steps into which the brightness of tiles, from 0 to 255, is divided.
const BRIGHTNESS_STEPS: usize = 32;

/// Steps into which the distance of tiles from the training data is divided, from 0 to
/// `FARTHEST`. What is further away counts for the last.
const DISTANCE_STEPS: usize = 40;

/// The training data itself lies around 1.
const FARTHEST: f32 = 4.0;

/// Longest time that is summed up in one.
const INTERVAL: Duration = Duration::from_secs(60);

/// Of so many lines, and of so many pixels, one is looked at for the brightness: the
/// mean over a thousand pixels says as much as that over all.
const LINE_STEP: usize = 64;
const PIXEL_STEP: usize = 4;

/// Counts over rows of tiles.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Statistics {
    begun: Option<Instant>,
    /// Number of the model of the run that judged, or would have.
    model: usize,
    pub(super) first_row: u64,
    pub(super) rows: u64,
    pub(super) background: u64,
    pub(super) cleared: u64,
    pub(super) judged: u64,
    pub(super) unjudged: u64,
    /// Flagged tiles of each class.
    pub(super) flagged: Vec<u64>,
    /// Tiles by the screen's suspicion.
    pub(super) suspicion: [u64; SUSPICION_STEPS],
    /// Tiles with material by their mean level.
    pub(super) brightness: [u64; BRIGHTNESS_STEPS],
    /// Judged tiles by how far they are from the training data, where the model tells.
    pub(super) distance: [u64; DISTANCE_STEPS],
}

impl Statistics {
    pub(super) fn new(classes: usize) -> Self {
        Self {
            begun: None,
            model: 0,
            first_row: 0,
            rows: 0,
            background: 0,
            cleared: 0,
            judged: 0,
            unjudged: 0,
            flagged: vec![0; classes],
            suspicion: [0; SUSPICION_STEPS],
            brightness: [0; BRIGHTNESS_STEPS],
            distance: [0; DISTANCE_STEPS],
        }
    }

    /// Counts a row.
    pub(super) fn add(&mut self, row: &SettledRow) {
        if self.begun.is_none() {
            self.begun = Some(Instant::now());
            self.model = row.row.model;
            self.first_row = row.row.number;
        }
        self.rows += 1;
        for (column, &state) in row.states.iter().enumerate() {
            match state {
                TileState::Background => self.background += 1,
                TileState::Cleared => self.cleared += 1,
                TileState::Judged { flagged } => {
                    self.judged += 1;
                    if let Some(count) = flagged.and_then(|class| self.flagged.get_mut(class)) {
                        *count += 1;
                    }
                }
                TileState::Unjudged(_) => self.unjudged += 1,
            }
            if let Some(suspicion) = row.suspicions[column] {
                let step = (suspicion * SUSPICION_STEPS as f32) as usize;
                self.suspicion[step.min(SUSPICION_STEPS - 1)] += 1;
            }
            if let Some(distance) = row.distances[column] {
                let step = (distance / FARTHEST * DISTANCE_STEPS as f32) as usize;
                self.distance[step.min(DISTANCE_STEPS - 1)] += 1;
            }
            if state != TileState::Background
                && let Some(level) = brightness(row, column)
            {
                self.brightness[level * BRIGHTNESS_STEPS / 256] += 1;
            }
        }
    }

    /// Whether it is time to record what was counted.
    fn is_due(&self) -> bool {
        self.begun.is_some_and(|begun| begun.elapsed() >= INTERVAL)
    }

    /// Whether rows of another model were counted.
    fn is_of_another(&self, row: &SettledRow) -> bool {
        self.begun.is_some() && self.model != row.row.model
    }
}

/// Mean level of a tile's lines, 0 to 255.
fn brightness(row: &SettledRow, column: usize) -> Option<usize> {
    let pixels = row.row.pixels.as_deref()?;
    let width = row.states.len() * TILE_SIZE;
    let (mut sum, mut count) = (0, 0);
    for line in (0..row.row.lines).step_by(LINE_STEP) {
        let line = pixels.get(line * width + column * TILE_SIZE..)?;
        let line = line.get(..TILE_SIZE)?.iter().step_by(PIXEL_STEP);
        count += line.len();
        sum += line.map(|&level| usize::from(level)).sum::<usize>();
    }
    sum.checked_div(count)
}

impl Recorder {
    /// Counts a row, and records what was counted when it is time.
    pub(super) fn count(&mut self, row: &SettledRow) -> Result<(), super::RecordError> {
        let before = match self.statistics.is_of_another(row) {
            true => self.insert_statistics(),
            false => Ok(()),
        };
        self.statistics.add(row);
        let now = match self.statistics.is_due() {
            true => self.insert_statistics(),
            false => Ok(()),
        };
        before.and(now)
    }

    /// Records what was counted, where there is something.
    pub(super) fn insert_statistics(&mut self) -> Result<(), super::RecordError> {
        let empty = Statistics::new(self.statistics.flagged.len());
        let counted = std::mem::replace(&mut self.statistics, empty);
        if counted.rows == 0 {
            return Ok(());
        }
        let classes = self.description.card.classes.iter();
        let flagged: serde_json::Map<_, _> = classes
            .zip(&counted.flagged)
            .filter(|(_, count)| **count > 0)
            .map(|(class, &count)| (class.clone(), count.into()))
            .collect();
        let piece = self.piece;
        let list = |counts: &[u64]| serde_json::to_string(counts).unwrap_or_default();
        let values = rusqlite::params![
            piece,
            now(),
            counted.first_row as i64,
            counted.rows as i64,
            counted.background as i64,
            counted.cleared as i64,
            counted.judged as i64,
            counted.unjudged as i64,
            serde_json::Value::Object(flagged).to_string(),
            list(&counted.suspicion),
            list(&counted.brightness),
            list(&counted.distance),
            self.model(counted.model),
        ];
        self.execute(database::INSERT_STATISTICS, values)
            .map(|_| ())
    }
}
