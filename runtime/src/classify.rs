//! Rows of tiles go through the network.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use millsight_export::card::{ElementType, ModelCard};
use millsight_export::engine::{Batch, Engine};
use millsight_export::preprocess::{ImageView, Preprocessor, ViewError};
use millsight_firmware_config::{MaterialDetection, TILE_SIZE};

use crate::assemble::Row;
use crate::decide::{self, Decider, Verdict};
use crate::ledger::{TileState, UnjudgedReason};

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
    /// What went wrong on the way, if anything did.
    pub problem: Option<String>,
}

impl SettledRow {
    /// A row at which nobody looks.
    pub fn unjudged(row: Row, columns: usize, reason: UnjudgedReason) -> Self {
        Self {
            row,
            states: vec![TileState::Unjudged(reason); columns],
            verdicts: vec![None; columns],
            probabilities: Vec::new(),
            settled: Instant::now(),
            problem: None,
        }
    }
}

/// One worker: an engine with everything that it needs to judge rows.
pub struct Classifier {
    engine: Box<dyn Engine>,
    preprocessor: Preprocessor,
    decider: Decider,
    detection: MaterialDetection,
    width: usize,
    /// Elements of one prepared tile.
    tile_elements: usize,
    element: ElementType,
    levels: Vec<u8>,
    values: Vec<f32>,
    scores: Vec<f32>,
}

impl Classifier {
    /// A worker for lines of `width` pixels, a multiple of the tile size.
    pub fn new(
        engine: Box<dyn Engine>,
        card: &ModelCard,
        decider: Decider,
        detection: MaterialDetection,
        width: usize,
    ) -> Self {
        let columns = width / TILE_SIZE;
        let tile_elements = card.input.channels * card.input.height * card.input.width;
        let element = card.input.element;
        let of = |wanted: ElementType| {
            if element == wanted {
                columns * tile_elements
            } else {
                0
            }
        };
        Self {
            engine,
            preprocessor: Preprocessor::new(&card.input, &card.preprocessing),
            decider,
            detection,
            width,
            tile_elements,
            element,
            levels: vec![0; of(ElementType::U8)],
            values: vec![0.0; of(ElementType::F32)],
            scores: Vec::new(),
        }
    }

    /// Judges the tiles of a row: those without material are background, the
    /// others go through the network as one batch. A failure of the engine,
    /// a panic included, leaves the tiles of the row unjudged.
    pub fn classify(&mut self, row: Row) -> SettledRow {
        let columns = self.width / TILE_SIZE;
        let Some(pixels) = &row.pixels else {
            return SettledRow::unjudged(row, columns, UnjudgedReason::ImageLost);
        };
        let mut states = vec![TileState::Background; columns];
        let mut verdicts = vec![None; columns];
        let mut probabilities = vec![0.0; columns * self.decider.classes().len()];
        let with_material: Vec<usize> = (0..columns)
            .filter(|&column| !self.is_background(pixels, row.lines, column))
            .collect();
        let judged = catch_unwind(AssertUnwindSafe(|| self.run(pixels, &with_material)))
            .unwrap_or_else(|_| Err("the engine panicked".into()));
        let problem = match judged {
            Ok(()) => {
                let classes = self.decider.classes().len();
                let mut problem = None;
                for (scores, &column) in self.scores.chunks_exact_mut(classes).zip(&with_material) {
                    if !decide::are_finite(scores) {
                        states[column] = TileState::Unjudged(UnjudgedReason::EngineError);
                        problem = Some("the network gave scores that are no numbers".into());
                        continue;
                    }
                    let verdict = self.decider.decide(scores);
                    probabilities[column * classes..][..classes].copy_from_slice(scores);
                    states[column] = TileState::Judged {
                        flagged: verdict.flagged.then_some(verdict.class),
                    };
                    verdicts[column] = Some(verdict);
                }
                problem
            }
            Err(reason) => {
                for &column in &with_material {
                    states[column] = TileState::Unjudged(UnjudgedReason::EngineError);
                }
                Some(reason)
            }
        };
        SettledRow {
            row,
            states,
            verdicts,
            probabilities,
            settled: Instant::now(),
            problem,
        }
    }

    /// Prepares the tiles of the given columns and runs them as one batch.
    fn run(&mut self, pixels: &[u8], columns: &[usize]) -> Result<(), String> {
        self.scores.clear();
        if columns.is_empty() {
            return Ok(());
        }
        for (slot, &column) in columns.iter().enumerate() {
            let view = tile_view(pixels, self.width, column).map_err(|error| error.to_string())?;
            let range = slot * self.tile_elements..(slot + 1) * self.tile_elements;
            match self.element {
                ElementType::U8 => self.preprocessor.prepare_u8(view, &mut self.levels[range]),
                ElementType::F32 => self.preprocessor.prepare_f32(view, &mut self.values[range]),
            }
            .map_err(|error| error.to_string())?;
        }
        let elements = columns.len() * self.tile_elements;
        let batch = match self.element {
            ElementType::U8 => Batch::U8(&self.levels[..elements]),
            ElementType::F32 => Batch::F32(&self.values[..elements]),
        };
        self.engine
            .run(batch, columns.len(), &mut self.scores)
            .map_err(|error| error.to_string())
    }

    /// Whether a tile shows no material: too few of its pixels reach the
    /// level of the material. Padding does not count.
    fn is_background(&self, pixels: &[u8], lines: usize, column: usize) -> bool {
        if !self.detection.enabled {
            return false;
        }
        let level = self.detection.minimum_level;
        let bright: usize = pixels
            .chunks_exact(self.width)
            .take(lines)
            .map(|line| {
                let tile = &line[column * TILE_SIZE..][..TILE_SIZE];
                tile.iter().filter(|&&pixel| pixel >= level).count()
            })
            .sum();
        (bright as f32) < self.detection.minimum_share * (lines * TILE_SIZE) as f32
    }
}

/// A tile within the pixels of its row, without a copy.
fn tile_view(pixels: &[u8], width: usize, column: usize) -> Result<ImageView<'_>, ViewError> {
    ImageView::new(
        TILE_SIZE,
        TILE_SIZE,
        1,
        width,
        &pixels[column * TILE_SIZE..],
    )
}
