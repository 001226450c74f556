//! Blocks of lines become rows of tiles.

use std::ops::Range;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use millsight_firmware_config::TILE_SIZE;

use crate::classify::Room;
use crate::flat_field::FlatField;
use crate::position::{Geometry, Position, Travel};
use crate::source::LineBlock;

/// Pixels of one row of tiles, `[TILE_SIZE, pixels_per_line]`.
pub type RowPixels = Box<[u8]>;

/// Memory for one row. It goes round with the rows, so that nothing is
/// allocated for a row in steady state.
#[derive(Debug, Clone, Default)]
pub struct RowBuffer {
    /// The pixels.
    pub pixels: RowPixels,
    /// Room for what is found out about the row's tiles.
    pub room: Room,
}

impl RowBuffer {
    /// A buffer for a row of lines of `width` pixels, and for the verdicts of a
    /// model with `classes` classes.
    pub fn new(width: usize, classes: usize) -> Self {
        Self {
            pixels: vec![0; TILE_SIZE * width].into_boxed_slice(),
            room: Room::new(width / TILE_SIZE, classes),
        }
    }
}

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
    /// Metres from the head of the piece to the first line.
    pub metres: f64,
    /// Number of the model of the run that judges its tiles.
    pub model: usize,
    /// How its tiles lie on the material.
    pub geometry: Geometry,
    /// When its last line was exposed, since the start of the source.
    pub timestamp: Duration,
    /// When its last line arrived.
    pub completed: Instant,
    /// The pixels. `None` when no buffer was free, so that the lines were
    /// counted but could not be kept.
    pub pixels: Option<RowPixels>,
    /// Room for what is found out about its tiles.
    pub room: Room,
}

impl Row {
    /// Whether part of the row is padding.
    pub fn is_padded(&self) -> bool {
        self.lines < TILE_SIZE
    }

    /// The memory of a row that is done with; `None` where it had no pixels.
    pub fn into_buffer(self) -> Option<RowBuffer> {
        let room = self.room;
        self.pixels.map(|pixels| RowBuffer { pixels, room })
    }

    /// Number of its tiles.
    pub fn columns(&self) -> usize {
        self.geometry.columns()
    }

    /// Where the tile of a column lies.
    pub fn position(&self, column: usize) -> Position {
        Position {
            metres: self.metres,
            millimetres: self.geometry.millimetres(column),
        }
    }
}

/// Where buffers for rows come from.
#[derive(Debug, Clone)]
pub enum Buffers {
    /// Wait for a free buffer: for sources that can wait.
    Waiting(Receiver<RowBuffer>),
    /// Never wait: a camera does not.
    Immediate(Receiver<RowBuffer>),
}

impl Buffers {
    fn take(&self) -> Option<RowBuffer> {
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
    geometry: Geometry,
    buffers: Buffers,
    flat_field: Option<FlatField>,
    travel: Travel,
    /// Line behind the last one of the block before, and when that was exposed.
    exposed: (u64, Duration),
    next_row: u64,
    current: Option<Row>,
}

impl Assembler {
    /// An assembler for lines of the geometry's width.
    pub fn new(geometry: Geometry, buffers: Buffers, flat_field: Option<FlatField>) -> Self {
        Self {
            geometry,
            buffers,
            flat_field,
            travel: Travel::new(geometry),
            exposed: (0, Duration::ZERO),
            next_row: 0,
            current: None,
        }
    }

    /// Lines that the row in progress still takes, at least one.
    pub fn open_lines(&self) -> usize {
        TILE_SIZE - self.current.as_ref().map_or(0, |row| row.lines)
    }

    /// Metres from the head of the piece to a line, from what is known so far.
    pub fn metres(&self, line: u64) -> f64 {
        self.travel.metres(line)
    }

    /// Takes some lines of a block, which arrive at this moment, and hands on
    /// the rows that they complete. The parts of a block are given one after
    /// the other.
    pub fn lines(
        &mut self,
        block: &LineBlock<'_>,
        part: Range<usize>,
        mut hand_on: impl FnMut(Row),
    ) {
        let arrived = Instant::now();
        let width = self.geometry.pixels_per_line;
        let total = block.pixels.len() / width;
        let mut next = part.start;
        while next < part.end {
            let take = self.open_lines().min(part.end - next);
            let first_line = block.first_line.saturating_add(next as u64);
            let last_line = first_line.saturating_add(take as u64 - 1);
            let timestamp = self.exposed_at(block, total, next + take);
            let encoder = block.encoder.map(|span| span.at(next, total));
            if let Some(count) = encoder {
                self.travel.read(first_line, count);
            }
            let row = self.current.get_or_insert_with(|| {
                let number = self.next_row;
                self.next_row += 1;
                let buffer = self.buffers.take();
                let (pixels, room) = match buffer {
                    Some(buffer) => (Some(buffer.pixels), buffer.room),
                    None => (None, Room::default()),
                };
                Row {
                    number,
                    first_line,
                    lines: 0,
                    encoder,
                    metres: self.travel.metres(first_line),
                    model: 0,
                    geometry: self.geometry,
                    timestamp,
                    completed: arrived,
                    pixels,
                    room,
                }
            });
            let pixels = &block.pixels[next * width..(next + take) * width];
            if let Some(buffer) = &mut row.pixels {
                let target = &mut buffer[row.lines * width..][..pixels.len()];
                match &self.flat_field {
                    Some(flat_field) => flat_field.copy(pixels, target),
                    None => target.copy_from_slice(pixels),
                }
            }
            row.lines += take;
            row.timestamp = timestamp;
            row.completed = arrived;
            let is_full = row.lines == TILE_SIZE;
            next += take;
            if let Some(span) = block.encoder {
                self.travel.read(last_line, span.at(next - 1, total));
            }
            if is_full {
                self.close(&mut hand_on);
            }
        }
        if next == total {
            let end = block.first_line.saturating_add(total as u64);
            self.exposed = (end, block.timestamp);
        }
    }

    /// Closes the row in progress, because lines are missing or the piece has
    /// ended: lines that do not follow one another are never joined. The rest
    /// of the row is black and the row is marked by [`Row::lines`].
    pub fn interrupt(&mut self, mut hand_on: impl FnMut(Row)) {
        self.close(&mut hand_on);
    }

    /// When the first `count` lines of a block of `total` lines had been
    /// exposed: between this block's end and the last one's, evenly.
    fn exposed_at(&self, block: &LineBlock<'_>, total: usize, count: usize) -> Duration {
        if count == total {
            return block.timestamp;
        }
        let (line, moment) = self.exposed;
        // Lines that are missing between the blocks took their time as well.
        let missing = block.first_line.saturating_sub(line) as f64;
        let share = (missing + count as f64) / (missing + total as f64);
        let passed = block.timestamp.saturating_sub(moment).mul_f64(share);
        moment.saturating_add(passed).min(block.timestamp)
    }

    fn close(&mut self, hand_on: &mut impl FnMut(Row)) {
        if let Some(mut row) = self.current.take() {
            if let Some(buffer) = &mut row.pixels {
                buffer[row.lines * self.geometry.pixels_per_line..].fill(0);
            }
            hand_on(row);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::source::EncoderSpan;
    use crossbeam_channel::bounded;
    use proptest::prelude::*;

    const WIDTH: usize = 1024;
    const LINES_PER_SECOND: u64 = 1000;

    fn assembler(buffers: Buffers) -> Assembler {
        let geometry = Geometry {
            lines_per_metre: 1000.0,
            counts_per_metre: Some(2000.0),
            mm_per_pixel: 0.5,
            pixels_per_line: WIDTH,
            reversed: false,
        };
        Assembler::new(geometry, buffers, None)
    }

    fn buffers(count: usize) -> Receiver<RowBuffer> {
        let (send, receive) = bounded(count.max(1));
        for _ in 0..count {
            let mut buffer = RowBuffer::new(WIDTH, 2);
            buffer.pixels.fill(7);
            send.send(buffer).unwrap();
        }
        receive
    }

    fn level(line: u64) -> u8 {
        (line % 251) as u8
    }

    /// Gives a block; the encoder counts `counts` for each line.
    fn push(
        assembler: &mut Assembler,
        first_line: u64,
        lines: usize,
        counts: Option<i64>,
        rows: &mut Vec<Row>,
    ) {
        let pixels: Vec<u8> = (0..lines as u64)
            .flat_map(|line| std::iter::repeat_n(level(first_line + line), WIDTH))
            .collect();
        let end = first_line + lines as u64;
        let block = LineBlock {
            first_line,
            pixels: &pixels,
            timestamp: Duration::from_millis(end * 1000 / LINES_PER_SECOND),
            encoder: counts.map(|counts| EncoderSpan {
                first: 500 + counts * first_line as i64,
                last: 500 + counts * (end as i64 - 1),
            }),
        };
        assembler.lines(&block, 0..lines, |row| rows.push(row));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// However the lines are cut into blocks, the rows are the same, and
        /// no line is lost, doubled or moved.
        #[test]
        fn rows_do_not_depend_on_the_blocks(
            sizes in prop::collection::vec(1usize..700, 1..8),
            counts in -3i64..4,
        ) {
            let mut assembler = assembler(Buffers::Immediate(buffers(16)));
            let mut rows = Vec::new();
            let mut line = 0;
            for &size in &sizes {
                push(&mut assembler, line, size, Some(counts), &mut rows);
                line += size as u64;
            }
            assembler.interrupt(|row| rows.push(row));
            prop_assert_eq!(rows.len(), (line as usize).div_ceil(TILE_SIZE));
            prop_assert_eq!(rows.iter().map(|row| row.lines as u64).sum::<u64>(), line);
            for (number, row) in rows.iter().enumerate() {
                prop_assert_eq!(row.number, number as u64);
                let first_line = (number * TILE_SIZE) as u64;
                prop_assert_eq!(row.first_line, first_line);
                prop_assert_eq!(row.encoder, Some(500 + counts * first_line as i64));
                let metres = (counts * first_line as i64) as f64 / 2000.0;
                prop_assert!((row.metres - metres).abs() < 1e-9);
                let end = first_line + row.lines as u64;
                let exposed = end as f64 / LINES_PER_SECOND as f64;
                prop_assert!((row.timestamp.as_secs_f64() - exposed).abs() < 1e-6);
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
        let mut assembler = assembler(Buffers::Immediate(buffers(4)));
        let mut rows = Vec::new();
        push(&mut assembler, 0, 100, None, &mut rows);
        assembler.interrupt(|row| rows.push(row));
        push(&mut assembler, 1000, TILE_SIZE, None, &mut rows);
        assert_eq!(rows.len(), 2);
        assert!(rows[0].is_padded());
        assert_eq!((rows[1].first_line, rows[1].lines), (1000, TILE_SIZE));
        assert_eq!(rows[1].metres, 1.0);
    }

    #[test]
    fn without_a_free_buffer_the_lines_are_still_counted() {
        let mut assembler = assembler(Buffers::Immediate(buffers(1)));
        let mut rows = Vec::new();
        push(&mut assembler, 0, 3 * TILE_SIZE, None, &mut rows);
        assert_eq!(rows.len(), 3);
        assert!(rows[0].pixels.is_some());
        assert!(rows[1].pixels.is_none() && rows[2].pixels.is_none());
        assert_eq!(rows[2].lines, TILE_SIZE);
    }

    #[test]
    fn a_row_is_complete_when_its_last_line_came_and_not_when_it_is_closed() {
        let mut assembler = assembler(Buffers::Immediate(buffers(1)));
        let mut rows = Vec::new();
        push(&mut assembler, 0, 100, None, &mut rows);
        std::thread::sleep(Duration::from_millis(60));
        assembler.interrupt(|row| rows.push(row));
        assert!(rows[0].completed.elapsed() >= Duration::from_millis(60));
    }

    #[test]
    fn a_block_may_be_given_in_parts() {
        let pixels = vec![3; 600 * WIDTH];
        let block = LineBlock {
            first_line: 0,
            pixels: &pixels,
            timestamp: Duration::from_millis(600),
            encoder: Some(EncoderSpan {
                first: 0,
                last: 599,
            }),
        };
        let mut assembler = assembler(Buffers::Immediate(buffers(2)));
        let mut rows = Vec::new();
        for part in [0..128, 128..512, 512..600] {
            assert!(part.len() <= assembler.open_lines());
            assembler.lines(&block, part, |row| rows.push(row));
        }
        assembler.interrupt(|row| rows.push(row));
        assert_eq!(rows[0].timestamp, Duration::from_millis(512));
        assert_eq!(rows[1].timestamp, Duration::from_millis(600));
        assert_eq!((rows[1].encoder, rows[1].lines), (Some(512), 88));
    }
}
