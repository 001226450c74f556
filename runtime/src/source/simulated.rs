//! The simulator as a source of lines, and its ground truth as a judge of
//! verdicts.

use std::time::Duration;

use millsight_firmware_config::{MaterialKind, Source as Config, Station, TILE_SIZE};

use super::simulator::{Material, SimulatorSettings, Strip, TileLabel};
use super::{Event, LineBlock, Source, SourceError};
use crate::classify::SettledRow;
use crate::ledger::{TileState, TruthComparison};
use crate::station::Geometry;

/// Lines that are drawn at once: half a row of tiles, so that the drawing is
/// spread over the processor's cores while latency stays low.
const BLOCK_LINES: usize = 256;

/// What the simulator draws for a station.
pub fn settings(station: &Station, seed: u64, metres: f64) -> SimulatorSettings {
    let geometry = Geometry::of(station);
    SimulatorSettings {
        seed,
        pixels_per_line: station.camera.pixels_per_line,
        lines_per_metre: geometry.lines_per_metre,
        millimetres_per_pixel: geometry.mm_per_pixel,
        line_rate_hz: station.camera.line_rate_hz,
        metres: Some(metres),
        ..SimulatorSettings::for_material(match station.material.kind {
            MaterialKind::Strip => Material::Strip,
            MaterialKind::Rod => Material::Rod,
            MaterialKind::Wire => Material::Wire,
        })
    }
}

/// Simulated steel of a station.
pub struct SimulatedSource {
    strip: Strip,
    block: Vec<u8>,
}

impl SimulatedSource {
    /// The steel that a station's `[source]` describes.
    ///
    /// # Errors
    /// When the settings are outside what the simulator draws.
    pub fn new(station: &Station) -> Result<Self, SourceError> {
        Ok(Self {
            strip: strip(station)?,
            block: vec![0; BLOCK_LINES * station.camera.pixels_per_line],
        })
    }
}

fn strip(station: &Station) -> Result<Strip, SourceError> {
    let Config::Simulator { seed, metres, .. } = station.source else {
        return Err(SourceError::Simulator(
            "the station's source is not the simulator".into(),
        ));
    };
    Strip::new(settings(station, seed, metres))
        .map_err(|error| SourceError::Simulator(error.to_string()))
}

impl Source for SimulatedSource {
    fn pixels_per_line(&self) -> usize {
        self.strip.settings().pixels_per_line
    }

    fn expected_lines(&self) -> Option<u64> {
        self.strip.total_lines()
    }

    fn next_event(&mut self) -> Result<Event<'_>, SourceError> {
        let first_line = self.strip.position();
        let lines = self.strip.next_lines(&mut self.block);
        if lines == 0 {
            return Ok(Event::End);
        }
        self.strip.forget_before(first_line);
        let line_rate = self.strip.settings().line_rate_hz;
        Ok(Event::Lines(LineBlock {
            first_line,
            pixels: &self.block[..lines * self.pixels_per_line()],
            timestamp: Duration::from_secs_f64((first_line + lines as u64) as f64 / line_rate),
            encoder: None,
        }))
    }
}

/// Compares verdicts with what was truly drawn.
pub struct TruthJudge {
    strip: Strip,
    classes: Vec<String>,
    comparison: TruthComparison,
}

impl TruthJudge {
    /// A judge for the steel that a station's `[source]` describes. `classes`
    /// are those of the model, by index.
    ///
    /// # Errors
    /// When the settings are outside what the simulator draws.
    pub fn new(station: &Station, classes: &[String]) -> Result<Self, SourceError> {
        Ok(Self {
            strip: strip(station)?,
            classes: classes.to_vec(),
            comparison: TruthComparison::default(),
        })
    }

    /// Compares the judged tiles of a row.
    pub fn row(&mut self, row: &SettledRow) {
        let number = row.row.first_line / TILE_SIZE as u64;
        for (column, state) in row.states.iter().enumerate() {
            let TileState::Judged { flagged } = state else {
                continue;
            };
            match self.strip.tile_label(number, column) {
                TileLabel::Background | TileLabel::NoDefect => {
                    self.comparison.clean += 1;
                    self.comparison.false_alarms += u64::from(flagged.is_some());
                }
                TileLabel::Defect(drawn) => {
                    let named = flagged.and_then(|class| self.classes.get(class));
                    let is_right = named.is_some_and(|class| class == drawn.name());
                    self.comparison.defects += 1;
                    self.comparison.defects_flagged += u64::from(flagged.is_some());
                    self.comparison.defects_named += u64::from(is_right);
                }
            }
        }
    }

    /// The comparison over all rows so far.
    pub fn comparison(&self) -> TruthComparison {
        self.comparison.clone()
    }
}
