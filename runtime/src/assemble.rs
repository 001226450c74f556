//! Blocks of lines become rows of tiles.

use std::time::Instant;

use crossbeam_channel::Receiver;
use millsight_firmware_config::TILE_SIZE;

use crate::flat_field::FlatField;
use crate::source::LineBlock;

/// Pixels of one row of tiles, `[TILE_SIZE, pixels_per_line]`.
pub type RowPixels = Box<[u8]>;

/// A row of tiles: `TILE_SIZE` lines of the strip.
#[derive(Debug)]
pub struct Row {
    /// Number of the row in the strip, counted from 0.
    pub number: u64,
    /// Sequence number of its first line.
    pub first_line: u64,
    /// Lines that the source gave, 1 to `TILE_SIZE`; the rest is padding.
    pub lines: usize,
    /// Encoder count at the first line.
    pub encoder: Option<i64>,
    /// When its last line arrived.
    pub completed: Instant,
    /// The pixels. `None` when no buffer was free, so that the lines were
    /// counted but could not be kept.
    pub pixels: Option<RowPixels>,
}

impl Row {
    /// Whether part of the row is padding.
    pub fn is_padded(&self) -> bool {
        self.lines < TILE_SIZE
    }
}

/// Where buffers for rows come from.
#[derive(Debug, Clone)]
pub enum Buffers {
    /// Wait for a free buffer: for sources that can wait.
    Waiting(Receiver<RowPixels>),
    /// Never wait: a camera does not.
    Immediate(Receiver<RowPixels>),
}

impl Buffers {
    fn take(&self) -> Option<RowPixels> {
        match self {
            Buffers::Waiting(free) => free.recv().ok(),
            Buffers::Immediate(free) => free.try_recv().ok(),
        }
    }
}

/// Cuts the stream of lines into rows of tiles. Each pixel is copied once,
/// and corrected by the flat field in the same pass.
#[derive(Debug)]
pub struct Assembler {
    width: usize,
    buffers: Buffers,
    flat_field: Option<FlatField>,
    next_row: u64,
    current: Option<Row>,
}

impl Assembler {
    /// An assembler for lines of `width` pixels.
    pub fn new(width: usize, buffers: Buffers, flat_field: Option<FlatField>) -> Self {
        Self {
            width,
            buffers,
            flat_field,
            next_row: 0,
            current: None,
        }
    }

    /// Takes a block of any number of lines and hands on the rows that it
    /// completes.
    pub fn lines(&mut self, block: &LineBlock<'_>, mut hand_on: impl FnMut(Row)) {
        let mut first_line = block.first_line;
        let mut pixels = block.pixels;
        while !pixels.is_empty() {
            let row = self.current.get_or_insert_with(|| {
                let number = self.next_row;
                self.next_row += 1;
                Row {
                    number,
                    first_line,
                    lines: 0,
                    encoder: block.encoder.filter(|_| first_line == block.first_line),
                    completed: Instant::now(),
                    pixels: self.buffers.take(),
                }
            });
            let take = (pixels.len() / self.width).min(TILE_SIZE - row.lines);
            let (now, later) = pixels.split_at(take * self.width);
            if let Some(buffer) = &mut row.pixels {
                let target = &mut buffer[row.lines * self.width..][..now.len()];
                match &self.flat_field {
                    Some(flat_field) => flat_field.copy(now, target),
                    None => target.copy_from_slice(now),
                }
            }
            row.lines += take;
            first_line += take as u64;
            pixels = later;
            if row.lines == TILE_SIZE {
                self.close(&mut hand_on);
            }
        }
    }

    /// Closes the row in progress, because lines are missing or the piece has
    /// ended: lines that do not follow one another are never joined. The rest
    /// of the row is black and the row is marked by [`Row::lines`].
    pub fn interrupt(&mut self, mut hand_on: impl FnMut(Row)) {
        self.close(&mut hand_on);
    }

    fn close(&mut self, hand_on: &mut impl FnMut(Row)) {
        if let Some(mut row) = self.current.take() {
            if let Some(buffer) = &mut row.pixels {
                buffer[row.lines * self.width..].fill(0);
            }
            row.completed = Instant::now();
            hand_on(row);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crossbeam_channel::bounded;
    use proptest::prelude::*;
    use std::time::Duration;

    const WIDTH: usize = 1024;

    fn buffers(count: usize) -> Receiver<RowPixels> {
        let (send, receive) = bounded(count.max(1));
        for _ in 0..count {
            send.send(vec![7; TILE_SIZE * WIDTH].into_boxed_slice())
                .unwrap();
        }
        receive
    }

    fn level(line: u64) -> u8 {
        (line % 251) as u8
    }

    fn push(assembler: &mut Assembler, first_line: u64, lines: usize, rows: &mut Vec<Row>) {
        let pixels: Vec<u8> = (0..lines as u64)
            .flat_map(|line| std::iter::repeat_n(level(first_line + line), WIDTH))
            .collect();
        let block = LineBlock {
            first_line,
            pixels: &pixels,
            timestamp: Duration::ZERO,
            encoder: None,
        };
        assembler.lines(&block, |row| rows.push(row));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// However the lines are cut into blocks, the rows are the same, and
        /// no line is lost, doubled or moved.
        #[test]
        fn rows_do_not_depend_on_the_blocks(sizes in prop::collection::vec(1usize..700, 1..8)) {
            let mut assembler = Assembler::new(WIDTH, Buffers::Immediate(buffers(16)), None);
            let mut rows = Vec::new();
            let mut line = 0;
            for &size in &sizes {
                push(&mut assembler, line, size, &mut rows);
                line += size as u64;
            }
            assembler.interrupt(|row| rows.push(row));
            prop_assert_eq!(rows.len(), (line as usize).div_ceil(TILE_SIZE));
            prop_assert_eq!(rows.iter().map(|row| row.lines as u64).sum::<u64>(), line);
            for (number, row) in rows.iter().enumerate() {
                prop_assert_eq!(row.number, number as u64);
                prop_assert_eq!(row.first_line, (number * TILE_SIZE) as u64);
                let pixels = row.pixels.as_ref().unwrap();
                for index in 0..TILE_SIZE {
                    let expected = if index < row.lines { level(row.first_line + index as u64) } else { 0 };
                    prop_assert!(pixels[index * WIDTH..][..WIDTH].iter().all(|&p| p == expected));
                }
            }
        }
    }

    #[test]
    fn lines_on_either_side_of_a_gap_are_not_joined() {
        let mut assembler = Assembler::new(WIDTH, Buffers::Immediate(buffers(4)), None);
        let mut rows = Vec::new();
        push(&mut assembler, 0, 100, &mut rows);
        assembler.interrupt(|row| rows.push(row));
        push(&mut assembler, 1000, TILE_SIZE, &mut rows);
        assert_eq!(rows.len(), 2);
        assert!(rows[0].is_padded());
        assert_eq!((rows[1].first_line, rows[1].lines), (1000, TILE_SIZE));
    }

    #[test]
    fn without_a_free_buffer_the_lines_are_still_counted() {
        let mut assembler = Assembler::new(WIDTH, Buffers::Immediate(buffers(1)), None);
        let mut rows = Vec::new();
        push(&mut assembler, 0, 3 * TILE_SIZE, &mut rows);
        assert_eq!(rows.len(), 3);
        assert!(rows[0].pixels.is_some());
        assert!(rows[1].pixels.is_none() && rows[2].pixels.is_none());
        assert_eq!(rows[2].lines, TILE_SIZE);
    }
}
