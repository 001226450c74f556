//! Lines that are drawn beforehand and given again and again, so that drawing
//! takes no time from what is measured.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use millsight_firmware_config::TILE_SIZE;

use super::simulator::{ClassShares, Material, TileSetSettings, draw_tiles};
use super::{Event, LineBlock, Source, SourceError};

/// Lines that are given at once, as a camera's buffer does.
const BLOCK_LINES: usize = 128;

/// Rows of tiles in memory.
#[derive(Debug, Clone)]
pub struct Prerendered {
    pixels: Arc<[u8]>,
    width: usize,
    /// Lines that are to be given in all.
    wanted: u64,
    next: u64,
    /// Which lines are of other rows, and their pixels.
    burst: Option<(Range<u64>, Arc<[u8]>)>,
}

impl Prerendered {
    /// Draws `rows` rows of tiles of strip, of which a share carries a defect,
    /// each class alike. Every column is covered with steel.
    ///
    /// # Errors
    /// When the share is none, or the width no number of tiles.
    pub fn draw(
        width: usize,
        rows: usize,
        defect_share: f64,
        seed: u64,
    ) -> Result<Self, SourceError> {
        let each = defect_share / 4.0;
        let settings = TileSetSettings {
            seed,
            class_shares: ClassShares::new(1.0 - defect_share, each, each, each, each),
            material: Some(Material::Strip),
            ..TileSetSettings::default()
        };
        let columns = width / TILE_SIZE;
        let tiles = draw_tiles(rows * columns, &settings)
            .map_err(|error| SourceError::Simulator(error.to_string()))?;
        let mut pixels = vec![0; rows * TILE_SIZE * width];
        for (number, tile) in tiles.iter().enumerate() {
            let (row, column) = (number / columns, number % columns);
            let lines = pixels[row * TILE_SIZE * width..].chunks_exact_mut(width);
            for (line, of_tile) in lines.zip(tile.chunks_exact(TILE_SIZE)) {
                line[column * TILE_SIZE..][..TILE_SIZE].copy_from_slice(of_tile);
            }
        }
        Ok(Self {
            pixels: pixels.into(),
            width,
            wanted: 0,
            next: 0,
            burst: None,
        })
    }

    /// Number of lines that are drawn.
    pub fn lines(&self) -> u64 {
        (self.pixels.len() / self.width) as u64
    }

    /// The pixels of the rows, line by line.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// The same rows with other pixels, as many as there are.
    #[must_use]
    pub fn with_pixels(&self, pixels: Vec<u8>) -> Self {
        debug_assert_eq!(pixels.len(), self.pixels.len());
        Self {
            pixels: pixels.into(),
            ..self.clone()
        }
    }

    /// The same rows, to be given until there are so many lines.
    #[must_use]
    pub fn of_lines(&self, lines: u64) -> Self {
        Self {
            wanted: lines,
            next: 0,
            ..self.clone()
        }
    }

    /// The same rows, but for some lines those of another, of the same width.
    #[must_use]
    pub fn with_burst(&self, lines: Range<u64>, other: &Self) -> Self {
        debug_assert_eq!(self.width, other.width);
        Self {
            burst: Some((lines, Arc::clone(&other.pixels))),
            ..self.clone()
        }
    }

    /// The rows of which a line is, and the first line that may be of others.
    fn rows_at(&self, line: u64) -> (&[u8], u64) {
        match &self.burst {
            Some((lines, pixels)) if lines.contains(&line) => (pixels, lines.end),
            Some((lines, _)) if line < lines.start => (&self.pixels, lines.start),
            _ => (&self.pixels, u64::MAX),
        }
    }
}

impl Source for Prerendered {
    fn pixels_per_line(&self) -> usize {
        self.width
    }

    fn expected_lines(&self) -> Option<u64> {
        Some(self.wanted)
    }

    fn next_event(&mut self) -> Result<Event<'_>, SourceError> {
        let first_line = self.next;
        let (rows, end) = self.rows_at(first_line);
        let drawn = (rows.len() / self.width) as u64;
        let from = first_line % drawn;
        let lines = (BLOCK_LINES as u64)
            .min(drawn - from)
            .min(end.min(self.wanted) - first_line);
        if lines == 0 {
            return Ok(Event::End);
        }
        let pixels = from as usize * self.width..(from + lines) as usize * self.width;
        self.next += lines;
        let (rows, _) = self.rows_at(first_line);
        Ok(Event::Lines(LineBlock {
            first_line,
            pixels: &rows[pixels],
            timestamp: Duration::ZERO,
            encoder: None,
        }))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn rows_are_given_again_until_there_are_enough() {
        let width = 2 * TILE_SIZE;
        let drawn = Prerendered::draw(width, 1, 0.5, 3).unwrap();
        let mut source = drawn.of_lines(1200);
        let (mut lines, mut first) = (0, Vec::new());
        while let Event::Lines(block) = source.next_event().unwrap() {
            assert_eq!(block.first_line, lines);
            if block.first_line % TILE_SIZE as u64 == 0 {
                first.push(block.pixels[..width].to_vec());
            }
            lines += (block.pixels.len() / width) as u64;
        }
        assert_eq!((lines, first.len()), (1200, 3));
        assert!(first.iter().all(|line| *line == first[0]));
        assert!(first[0].iter().any(|&level| level > 16));
    }

    #[test]
    fn a_burst_is_of_other_rows() {
        let width = 2 * TILE_SIZE;
        let drawn = Prerendered::draw(width, 1, 0.0, 3).unwrap();
        let other = Prerendered::draw(width, 1, 1.0, 4).unwrap();
        let mut source = drawn.of_lines(1600).with_burst(512..1100, &other);
        let mut given = Vec::new();
        while let Event::Lines(block) = source.next_event().unwrap() {
            given.extend_from_slice(block.pixels);
        }
        assert_eq!(given.len(), 1600 * width);
        for (line, pixels) in given.chunks_exact(width).enumerate() {
            let rows = match line {
                512..1100 => &other,
                _ => &drawn,
            };
            let from = line % TILE_SIZE * width;
            assert!(*pixels == rows.pixels[from..from + width], "line {line}");
        }
    }
}
