//! The simulator as a source of lines, and its ground truth as a judge of
//! verdicts.

use std::time::Duration;

use millsight_firmware_config::{
    MAXIMUM_WORKERS, MaterialKind, RECORDING_ROWS, Source as Config, Station, TILE_SIZE, Trigger,
};

use super::simulator::{Material, SimulatorSettings, Strip, TileLabel};
use super::{EncoderSpan, Event, LineBlock, Source, SourceError};
use crate::classify::SettledRow;
use crate::ledger::{TileState, TruthComparison};
use crate::position::Geometry;

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
    /// Whether an encoder triggers the lines.
    has_encoder: bool,
    /// Lines that are drawn and not all given yet; all of them where they are drawn
    /// beforehand.
    drawn: Vec<u8>,
    /// The first of them.
    drawn_from: u64,
    /// The next line to be given.
    next: u64,
}

impl SimulatedSource {
    /// The steel that a station's `[source]` describes.
    ///
    /// # Errors
    /// When the settings are outside what the simulator draws.
    pub fn new(station: &Station) -> Result<Self, SourceError> {
        let mut strip = strip(station)?;
        let block = BLOCK_LINES * station.camera.pixels_per_line;
        let mut drawn = Vec::with_capacity(block);
        if is_drawn_beforehand(station) {
            while draw(&mut strip, &mut drawn, block) > 0 {}
        }
        Ok(Self {
            strip,
            has_encoder: matches!(station.camera.trigger, Trigger::Encoder { .. }),
            drawn,
            drawn_from: 0,
            next: 0,
        })
    }
}

/// Whether a station's steel is drawn before its first line is given.
pub fn is_drawn_beforehand(station: &Station) -> bool {
    matches!(
        station.source,
        Config::Simulator {
            drawn_beforehand: true,
            ..
        }
    )
}

/// Appends the next lines, at most as many as fit into `block` bytes, and tells how
/// many there are.
fn draw(strip: &mut Strip, drawn: &mut Vec<u8>, block: usize) -> usize {
    let (first_line, before) = (strip.position(), drawn.len());
    drawn.resize(before + block, 0);
    let lines = strip.next_lines(&mut drawn[before..]);
    drawn.truncate(before + lines * strip.settings().pixels_per_line);
    strip.forget_before(first_line);
    lines
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
        let first_line = self.next;
        let width = self.pixels_per_line();
        if first_line == self.strip.position() {
            self.drawn.clear();
            self.drawn_from = first_line;
            draw(&mut self.strip, &mut self.drawn, BLOCK_LINES * width);
        }
        let given = (first_line - self.drawn_from) as usize * width;
        let left = &self.drawn[given..];
        let pixels = &left[..left.len().min(BLOCK_LINES * width)];
        let lines = pixels.len() / width;
        if lines == 0 {
            return Ok(Event::End);
        }
        self.next += lines as u64;
        let line_rate = self.strip.settings().line_rate_hz;
        Ok(Event::Lines(LineBlock {
            first_line,
            pixels,
            timestamp: Duration::from_secs_f64((first_line + lines as u64) as f64 / line_rate),
            // An encoder that triggers the camera counts one for each line.
            encoder: self.has_encoder.then(|| EncoderSpan {
                first: first_line as i64,
                last: (first_line + lines as u64) as i64 - 1,
            }),
        }))
    }
}

/// Compares verdicts with what was truly drawn.
pub struct TruthJudge {
    strip: Strip,
    classes: Vec<String>,
    comparison: TruthComparison,
    /// Rows by which one that comes late may lie behind the foremost one.
    margin: u64,
    /// The foremost row so far.
    foremost: u64,
    /// The first row of which the truth is still known.
    known_from: u64,
}

/// Rows after which truth that is no longer needed is forgotten: seldom
/// enough to cost nothing, often enough to stay small.
const FORGET_ROWS: u64 = 64;

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
            margin: (station.deadlines.queue_rows + MAXIMUM_WORKERS + RECORDING_ROWS) as u64,
            foremost: 0,
            known_from: 0,
        })
    }

    /// Compares the judged and the cleared tiles of a row.
    pub fn row(&mut self, row: &SettledRow) {
        let number = row.row.first_line / TILE_SIZE as u64;
        self.foremost = self.foremost.max(number);
        let needed_from = self.foremost.saturating_sub(self.margin);
        if needed_from >= self.known_from + FORGET_ROWS {
            self.strip.forget_before(needed_from * TILE_SIZE as u64);
            self.known_from = needed_from;
        }
        for (column, state) in row.states.iter().enumerate() {
            let (flagged, cleared) = match *state {
                TileState::Judged { flagged } => (flagged, false),
                TileState::Cleared => (None, true),
                TileState::Background | TileState::Unjudged(_) => continue,
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
                    self.comparison.defects_cleared += u64::from(cleared);
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::assemble::Row;
    use crate::classify::Room;
    use crate::ledger::UnjudgedReason;
    use std::time::Instant;

    /// A station with a narrow camera, and with an encoder where asked for.
    fn station(metres: f64, encoder: bool) -> Station {
        let trigger = if encoder {
            r#"trigger = { mode = "encoder", lines_per_metre = 1000 }"#
        } else {
            ""
        };
        let text = format!(
            r#"
name = "test"
[camera]
pixels_per_line = 512
line_rate_hz = 2000
{trigger}
[optics]
mm_per_pixel = 0.5
[material]
kind = "strip"
speed_m_per_s = {{ min = 1, nominal = 2, max = 2 }}
[source]
kind = "simulator"
metres = {metres}
pace = "unpaced"
[deadlines]
queue_rows = 2
"#
        );
        Station::parse(&text, "test.toml").unwrap()
    }

    #[test]
    fn an_encoder_that_triggers_counts_the_lines() {
        let mut source = SimulatedSource::new(&station(0.6, true)).unwrap();
        let mut next = 0;
        loop {
            match source.next_event().unwrap() {
                Event::Lines(block) => {
                    let lines = (block.pixels.len() / 512) as i64;
                    let span = block.encoder.unwrap();
                    assert_eq!((span.first, span.last), (next, next + lines - 1));
                    next += lines;
                }
                Event::End => break,
                event => panic!("{event:?}"),
            }
        }
        assert_eq!(next, 600);
        let mut source = SimulatedSource::new(&station(0.6, false)).unwrap();
        match source.next_event().unwrap() {
            Event::Lines(block) => assert_eq!(block.encoder, None),
            event => panic!("{event:?}"),
        }
    }

    #[test]
    fn lines_that_are_drawn_beforehand_are_the_same() {
        let lines = |drawn_first: bool| {
            let mut station = station(0.6, true);
            let Config::Simulator {
                drawn_beforehand, ..
            } = &mut station.source
            else {
                panic!("{:?}", station.source);
            };
            *drawn_beforehand = drawn_first;
            let mut source = SimulatedSource::new(&station).unwrap();
            assert_eq!(source.drawn.is_empty(), !drawn_first);
            let mut lines = Vec::new();
            while let Event::Lines(block) = source.next_event().unwrap() {
                assert_eq!(block.first_line as usize * 512, lines.len());
                lines.extend_from_slice(block.pixels);
            }
            lines
        };
        let beforehand = lines(true);
        assert_eq!(beforehand.len(), 600 * 512);
        assert!(beforehand == lines(false));
    }

    #[test]
    fn truth_far_behind_is_forgotten_but_a_late_row_is_still_compared() {
        let station = station(1000.0, false);
        let mut judge = TruthJudge::new(&station, &["no_defect".into()]).unwrap();
        let row = |number: u64| {
            let row = Row {
                number,
                first_line: number * TILE_SIZE as u64,
                lines: TILE_SIZE,
                encoder: None,
                metres: 0.0,
                model: 0,
                geometry: Geometry::of(&station),
                timestamp: Duration::ZERO,
                completed: Instant::now(),
                pixels: None,
                room: Room::default(),
            };
            let mut settled = SettledRow::unjudged(row, UnjudgedReason::ImageLost);
            settled.states[0] = TileState::Judged { flagged: None };
            settled
        };
        judge.margin = 40;
        let rows = judge.margin + 2 * FORGET_ROWS;
        for number in 0..rows {
            judge.row(&row(number));
        }
        let end = rows * TILE_SIZE as u64;
        let known = judge.strip.defects_until(end);
        let from = judge.known_from * TILE_SIZE as u64;
        assert!(from > 0);
        assert!(known.iter().all(|defect| defect.last_line >= from));
        let mut whole = strip(&station).unwrap();
        let late = rows - 1 - judge.margin;
        assert_eq!(judge.strip.tile_label(late, 0), whole.tile_label(late, 0));
        assert!(known.len() < whole.defects_until(end).len());
    }
}
