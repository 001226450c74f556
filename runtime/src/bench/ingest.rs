//! What a core does before any network: lines to corrected rows, material, and
//! tiles in the size of a network.

use std::time::{Duration, Instant};

use millsight_export::card::ModelCard;
use millsight_firmware_config::{MaterialDetection, TILE_SIZE};

use crate::assemble::{Assembler, Buffers, Row, RowBuffer};
use crate::classify::{self, ClassifyError, Input};
use crate::flat_field::{FlatField, Reference};
use crate::position::Geometry;
use crate::source::{Event, Source, SourceError};

/// Lines through all steps, one after another, on this thread.
pub struct Ingest {
    assembler: Assembler,
    free: crossbeam_channel::Sender<RowBuffer>,
    detection: MaterialDetection,
    input: Input,
    width: usize,
}

/// Lines that went through, and how long that took.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Passed {
    /// Lines.
    pub lines: u64,
    /// Tiles with material, which were resized.
    pub tiles: u64,
    /// How long it took.
    pub took: Duration,
}

impl Passed {
    /// Lines per second.
    pub fn lines_per_second(&self) -> f64 {
        self.lines as f64 / self.took.as_secs_f64()
    }
}

/// Why lines did not go through.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IngestError {
    /// The source failed.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A tile could not be prepared.
    #[error(transparent)]
    Prepare(#[from] ClassifyError),
    /// The flat field does not fit the lines.
    #[error("the flat field cannot be used: {0}")]
    FlatField(String),
}

impl Ingest {
    /// Everything for lines of the geometry's width and the network of a card.
    ///
    /// # Errors
    /// When the reference does not fit the lines.
    pub fn new(
        geometry: Geometry,
        reference: &Reference,
        detection: MaterialDetection,
        card: &ModelCard,
    ) -> Result<Self, IngestError> {
        let width = geometry.pixels_per_line;
        let flat_field = FlatField::new(reference, width).map_err(IngestError::FlatField)?;
        let (free, buffers) = crossbeam_channel::bounded(1);
        let _ = free.send(RowBuffer::new(width, card.classes.len()));
        Ok(Self {
            assembler: Assembler::new(geometry, Buffers::Immediate(buffers), Some(flat_field)),
            free,
            detection,
            input: Input::new(card, width / TILE_SIZE),
            width,
        })
    }

    /// Takes the lines of a source to its end.
    ///
    /// # Errors
    /// When the source fails or a tile does not fit the network.
    pub fn run(&mut self, source: &mut dyn Source) -> Result<Passed, IngestError> {
        let begun = Instant::now();
        let (mut lines, mut tiles) = (0, 0);
        loop {
            let block = match source.next_event()? {
                Event::Lines(block) => block,
                Event::End => break,
                Event::Gap(_) | Event::Unreadable(_) | Event::Lost(_) | Event::Nothing => continue,
            };
            let count = block.pixels.len() / self.width;
            let mut next = 0;
            while next < count {
                let part = next..(next + self.assembler.open_lines()).min(count);
                next = part.end;
                let mut full = None;
                self.assembler.lines(&block, part, |row| full = Some(row));
                if let Some(row) = full {
                    tiles += self.prepare(row)?;
                }
            }
            lines += count as u64;
        }
        Ok(Passed {
            lines,
            tiles,
            took: begun.elapsed(),
        })
    }

    /// Prepares the tiles with material of a row, and frees it.
    fn prepare(&mut self, row: Row) -> Result<u64, IngestError> {
        let pixels = row.pixels.as_deref().unwrap_or_default();
        let mut tiles = 0;
        for column in 0..row.columns() {
            if !classify::is_background(&self.detection, &row, pixels, column) {
                self.input
                    .prepare(tiles, &pixels[column * TILE_SIZE..], self.width)?;
                tiles += 1;
            }
        }
        std::hint::black_box(self.input.batch(tiles));
        if let Some(buffer) = row.into_buffer() {
            let _ = self.free.send(buffer);
        }
        Ok(tiles as u64)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use millsight_firmware_config::Station;

    use super::*;
    use crate::bench::optics::reference;
    use crate::source::prerendered::Prerendered;
    use crate::station;

    #[test]
    fn all_lines_go_through() {
        let station = Station::ready("strip").unwrap();
        let width = 2 * TILE_SIZE;
        let geometry = Geometry {
            pixels_per_line: width,
            ..Geometry::of(&station)
        };
        let card = station::load_model(None, None).unwrap().card;
        let detection = station.material_detection;
        let mut ingest = Ingest::new(geometry, &reference(width), detection, &card).unwrap();
        let drawn = Prerendered::draw(width, 1, 0.5, 3).unwrap();
        let passed = ingest.run(&mut drawn.of_lines(3 * 512 + 100)).unwrap();
        assert_eq!((passed.lines, passed.tiles), (3 * 512 + 100, 6));
        assert!(
            Ingest::new(
                geometry,
                &reference(4096),
                MaterialDetection::default(),
                &card
            )
            .is_err()
        );
    }
}
