//! Recordings of lines: a file that explains and checks itself.
//!
//! Layout, all integers little-endian:
//!
//! | part | bytes |
//! |---|---|
//! | magic | `MSLINES1` |
//! | header | length `u32`, JSON of [`Header`], CRC-32 of the JSON `u32` |
//! | block, repeated | `BLCK`, first line `u64`, timestamp in ns `u64`, encoder at the first line `i64` (`i64::MIN`: none), lines `u32`, CRC-32 of the pixels `u32`, counts of the encoder from the first line to the last `i32`, CRC-32 of these 40 bytes `u32`, pixels |
//! | end | `DONE`, lines in total `u64`, blocks `u64`, CRC-32 of these 20 bytes `u32` |
//!
//! As many counts of the encoder make a metre of material as the header's
//! `lines_per_metre`. A hole in the sequence of lines is a gap. A file without its end was cut
//! off; what stands before the cut is usable. Nothing follows the end. A block
//! whose pixels are damaged is left out, and the blocks behind it are usable as
//! long as its header is whole. Line numbers stay below 2⁶³.

mod reader;
mod writer;

#[cfg(test)]
mod tests;

use millsight_firmware_config::{
    MAXIMUM_LINE_RATE_HZ, MAXIMUM_LINES_PER_METRE, MAXIMUM_MM_PER_PIXEL, MAXIMUM_PIXELS_PER_LINE,
    MINIMUM_LINE_RATE_HZ, MINIMUM_LINES_PER_METRE, MINIMUM_MM_PER_PIXEL, TILE_SIZE, is_piece_id,
};
use serde::{Deserialize, Serialize};

pub use reader::RecordingSource;
pub use writer::{BlockError, BlockWriter, RecordingError, RecordingWriter};

/// First bytes of a recording.
pub const MAGIC: &[u8; 8] = b"MSLINES1";
const BLOCK_MAGIC: &[u8; 4] = b"BLCK";
const END_MAGIC: &[u8; 4] = b"DONE";
const BLOCK_HEADER: usize = 44;
const END_SIZE: usize = 24;
const NO_ENCODER: i64 = i64::MIN;
/// Longest header that is believed.
const LONGEST_HEADER: u32 = 1 << 20;
/// Most pixels in a block that are believed: 1 GiB.
const LARGEST_BLOCK: u64 = 1 << 30;

/// What a recording says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// Pixels in each line.
    pub pixels_per_line: usize,
    /// Lines per second at which it was taken.
    pub line_rate_hz: f64,
    /// Lines per metre of material.
    pub lines_per_metre: f64,
    /// Width of a pixel on the material in millimetres.
    pub mm_per_pixel: f64,
    /// The piece: coil, rod or wire.
    pub piece: String,
    /// What made the recording.
    pub origin: String,
}

impl Header {
    /// Checks every value by the rules that a station keeps.
    ///
    /// # Errors
    /// [`HeaderError`] naming the first value that breaks one.
    pub fn validate(&self) -> Result<(), HeaderError> {
        let pixels = self.pixels_per_line;
        if !(TILE_SIZE..=MAXIMUM_PIXELS_PER_LINE).contains(&pixels)
            || !pixels.is_multiple_of(TILE_SIZE)
        {
            return Err(HeaderError {
                field: "pixels_per_line",
                value: pixels.to_string(),
                allowed: format!(
                    "a multiple of {TILE_SIZE} from {TILE_SIZE} to {MAXIMUM_PIXELS_PER_LINE}"
                ),
            });
        }
        let ranges = [
            (
                "line_rate_hz",
                self.line_rate_hz,
                MINIMUM_LINE_RATE_HZ..=MAXIMUM_LINE_RATE_HZ,
            ),
            (
                "lines_per_metre",
                self.lines_per_metre,
                MINIMUM_LINES_PER_METRE..=MAXIMUM_LINES_PER_METRE,
            ),
            (
                "mm_per_pixel",
                self.mm_per_pixel,
                MINIMUM_MM_PER_PIXEL..=MAXIMUM_MM_PER_PIXEL,
            ),
        ];
        for (field, value, range) in ranges {
            if !range.contains(&value) {
                return Err(HeaderError {
                    field,
                    value: value.to_string(),
                    allowed: format!("a number from {} to {}", range.start(), range.end()),
                });
            }
        }
        if !is_piece_id(&self.piece) {
            return Err(HeaderError {
                field: "piece",
                value: format!("{:?}", self.piece),
                allowed: "visible characters without `/` and `\\`".into(),
            });
        }
        Ok(())
    }
}

/// A value of a [`Header`] that no recording has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` is {value}, but must be {allowed}")]
pub struct HeaderError {
    /// The field.
    pub field: &'static str,
    /// What it holds.
    pub value: String,
    /// What it may hold.
    pub allowed: String,
}

/// The line after a block, where there is one that can be counted and stored.
fn line_after(first_line: u64, lines: u64) -> Option<u64> {
    first_line
        .checked_add(lines)
        .filter(|&end| end <= i64::MAX as u64)
}
