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
//! A hole in the sequence of lines is a gap. A file without its end was cut
//! off; what stands before the cut is usable.

mod reader;
mod writer;

use serde::{Deserialize, Serialize};

pub use reader::RecordingSource;
pub use writer::{RecordingError, RecordingWriter};

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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::{EncoderSpan, Event, LineBlock, Source, SourceError};
    use super::*;
    use proptest::prelude::*;
    use std::path::Path;
    use std::time::Duration;

    const WIDTH: usize = 16;

    fn header() -> Header {
        Header {
            pixels_per_line: WIDTH,
            line_rate_hz: 67_000.0,
            lines_per_metre: 10_000.0,
            mm_per_pixel: 0.1,
            piece: "coil 7".into(),
            origin: "test".into(),
        }
    }

    fn write(path: &Path, blocks: &[(u64, usize)]) -> Vec<u8> {
        let mut writer = RecordingWriter::create(path, &header()).unwrap();
        let mut all = Vec::new();
        for &(first_line, lines) in blocks {
            let pixels: Vec<u8> = (0..lines * WIDTH)
                .map(|i| (i as u64 * 31 + first_line) as u8)
                .collect();
            writer
                .write(&LineBlock {
                    first_line,
                    pixels: &pixels,
                    timestamp: Duration::from_nanos(first_line),
                    encoder: None,
                })
                .unwrap();
            all.extend(pixels);
        }
        writer.finish().unwrap();
        all
    }

    /// Reads to the end or to the first error.
    fn read(path: &Path) -> (Vec<u8>, Vec<(u64, u64)>, Option<SourceError>) {
        let mut source = match RecordingSource::open(path) {
            Ok(source) => source,
            Err(error) => return (Vec::new(), Vec::new(), Some(error)),
        };
        let (mut pixels, mut gaps) = (Vec::new(), Vec::new());
        loop {
            match source.next_event() {
                Ok(Event::Lines(block)) => pixels.extend_from_slice(block.pixels),
                Ok(Event::Gap(gap) | Event::Unreadable(gap)) => {
                    gaps.push((gap.first_line, gap.lines));
                }
                Ok(Event::End) => return (pixels, gaps, None),
                Err(error) => return (pixels, gaps, Some(error)),
            }
        }
    }

    #[test]
    fn what_was_written_is_read_and_holes_become_gaps() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("strip.lines");
        let written = write(&path, &[(0, 3), (3, 5), (100, 2)]);
        let (pixels, gaps, error) = read(&path);
        assert!(error.is_none(), "{error:?}");
        assert_eq!(pixels, written);
        assert_eq!(gaps, [(8, 92)]);
    }

    #[test]
    fn encoder_counts_are_kept_for_both_ends_of_a_block() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("strip.lines");
        let span = EncoderSpan {
            first: 70_000,
            last: 69_993,
        };
        let mut writer = RecordingWriter::create(&path, &header()).unwrap();
        let mut block = LineBlock {
            first_line: 0,
            pixels: &[9; 8 * WIDTH],
            timestamp: Duration::ZERO,
            encoder: Some(span),
        };
        writer.write(&block).unwrap();
        block.first_line = 8;
        block.encoder = Some(EncoderSpan {
            first: 0,
            last: i64::MAX,
        });
        assert!(writer.write(&block).is_err());
        writer.finish().unwrap();
        let mut source = RecordingSource::open(&path).unwrap();
        match source.next_event().unwrap() {
            Event::Lines(block) => assert_eq!(block.encoder, Some(span)),
            event => panic!("{event:?}"),
        }
    }

    #[test]
    fn an_abandoned_recording_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("strip.lines");
        let writer = RecordingWriter::create(&path, &header()).unwrap();
        drop(writer);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Whatever is cut off, an error says so, and every line that comes
        /// before it is one that was written.
        #[test]
        fn every_truncation_is_noticed(cut in 1usize..500) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("strip.lines");
            let written = write(&path, &[(0, 3), (3, 5)]);
            let bytes = std::fs::read(&path).unwrap();
            let kept = bytes.len().saturating_sub(cut);
            std::fs::write(&path, &bytes[..kept]).unwrap();
            let (pixels, _, error) = read(&path);
            prop_assert!(error.is_some());
            prop_assert!(written.starts_with(&pixels));
        }

        /// A changed byte never passes as a pixel that was taken.
        #[test]
        fn every_changed_byte_is_noticed(at in 0usize..10_000, change in 1u8..) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("strip.lines");
            let written = write(&path, &[(0, 3), (3, 5)]);
            let mut bytes = std::fs::read(&path).unwrap();
            let at = at % bytes.len();
            bytes[at] ^= change;
            std::fs::write(&path, &bytes).unwrap();
            let (pixels, _, error) = read(&path);
            prop_assert!(error.is_some());
            prop_assert!(written.starts_with(&pixels));
        }
    }
}
