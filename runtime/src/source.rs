//! Where lines come from: a camera, a program that feeds them, a simulator, a recording,
//! an image of a strip, a folder of tiles.

pub mod camera;
pub mod connected;
#[cfg(unix)]
pub mod feed;
#[cfg(feature = "genicam")]
pub mod genicam;
pub mod levels;
pub mod pace;
pub mod prerendered;
pub mod recording;
pub mod simulated;
pub mod simulator;
pub mod strip_image;
pub mod tile_folder;
#[cfg(target_os = "linux")]
pub mod v4l2;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

/// Consecutive lines as a source hands them out, borrowed from its buffer.
#[derive(Debug, Clone, Copy)]
pub struct LineBlock<'a> {
    /// Sequence number of the first line, counted by the source from 0. A
    /// camera derives it from its frame counter, so that lost frames leave a
    /// hole of known length.
    pub first_line: u64,
    /// The pixels, line after line, 8-bit grey.
    pub pixels: &'a [u8],
    /// When the last line was exposed, since the start of the source.
    pub timestamp: Duration,
    /// Position of the encoder at the block's lines, where the station has
    /// one.
    pub encoder: Option<EncoderSpan>,
}

/// Counts of the encoder at the first and at the last line of a block. Between
/// them the material is taken to have moved evenly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EncoderSpan {
    /// Count at the first line.
    pub first: i64,
    /// Count at the last line.
    pub last: i64,
}

impl EncoderSpan {
    /// Count at the line `index` of a block of `lines` lines, to the nearest
    /// whole count.
    pub fn at(self, index: usize, lines: usize) -> i64 {
        let steps = lines.saturating_sub(1) as i128;
        if steps == 0 {
            return self.first;
        }
        let moved = (i128::from(self.last) - i128::from(self.first)) * index as i128;
        let count = i128::from(self.first) + (2 * moved + steps).div_euclid(2 * steps);
        count.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
    }
}

/// Lines that are known to be missing.
#[derive(Debug, Clone, PartialEq)]
pub struct Gap {
    /// Sequence number of the first missing line.
    pub first_line: u64,
    /// Number of missing lines.
    pub lines: u64,
    /// Why they are missing, for people.
    pub reason: String,
    /// For how many seconds no line came, where that is known.
    pub seconds: Option<f64>,
}

impl Gap {
    /// The lines of `seconds` in which no `what` came, by the line rate: nobody has counted
    /// them.
    fn estimated(first_line: u64, seconds: f64, line_rate: f64, what: &str, reason: &str) -> Self {
        Self {
            first_line,
            lines: (seconds * line_rate).round() as u64,
            reason: format!(
                "{reason}; no {what} for {seconds:.1} s, in which so many lines come at the line \
                 rate"
            ),
            seconds: Some(seconds),
        }
    }
}

/// What became of a camera and its frames.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct CameraCounts {
    /// Whether it is connected and runs.
    pub is_there: bool,
    /// Frames that came, damaged ones too.
    pub frames: u64,
    /// Frames that were lost on the way.
    pub dropped_frames: u64,
    /// Frames that came damaged.
    pub damaged_frames: u64,
    /// How often it was gone, or its stream failed.
    pub losses: u64,
    /// For how many seconds in all no frame came when it was gone, those times alone after
    /// which it was back.
    pub seconds_away: f64,
    /// State of its input lines at the last frame, a bit for each, where it tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line_status: Option<i64>,
}

/// What a source yields.
#[derive(Debug)]
pub enum Event<'a> {
    /// Lines.
    Lines(LineBlock<'a>),
    /// Lines that will never come, because they were lost before.
    Gap(Gap),
    /// Lines that exist but cannot be read: a gap that is a fault of the data
    /// at hand.
    Unreadable(Gap),
    /// Lines that a camera has taken and that did not come whole.
    Lost(Gap),
    /// Nothing for the moment: the source waits for its camera.
    Nothing,
    /// The piece (coil, rod, wire) has passed; the source has no more lines.
    End,
}

/// Something that yields lines.
pub trait Source: Send {
    /// Pixels in each line.
    fn pixels_per_line(&self) -> usize;

    /// Total number of lines, where the source knows it beforehand.
    fn expected_lines(&self) -> Option<u64>;

    /// What the source knows of itself, where it carries that with it: it
    /// goes before the station's description.
    fn header(&self) -> Option<&recording::Header> {
        None
    }

    /// The files that the lines come from, where each gives
    /// [`TILE_SIZE`](millsight_firmware_config::TILE_SIZE) of them.
    fn files(&self) -> &[PathBuf] {
        &[]
    }

    /// What became of the camera, where the source is one.
    fn camera(&self) -> Option<CameraCounts> {
        None
    }

    /// The lines that are missing when the source is left while its camera is gone.
    fn missing_at_end(&mut self) -> Option<Gap> {
        None
    }

    /// The next event; waits for a camera, though not for long, but not for a line rate
    /// (see [`pace::Pacer`]).
    ///
    /// # Errors
    /// When the source is damaged or gone. Lines that were yielded before
    /// stay valid.
    fn next_event(&mut self) -> Result<Event<'_>, SourceError>;
}

/// The first bytes of a file, as many as tell what it is; fewer when there are
/// no more.
///
/// # Errors
/// When it cannot be read.
pub fn beginning(path: &Path) -> Result<Vec<u8>, SourceError> {
    let read = || {
        let mut first = Vec::new();
        File::open(path)?.take(8).read_to_end(&mut first)?;
        Ok(first)
    };
    read().map_err(|error| SourceError::Read {
        path: path.to_path_buf(),
        error,
    })
}

/// Why a source cannot start or go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// A file or folder could not be read.
    #[error("cannot read {path}: {error}; check that it exists and that you may read it")]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's reason.
        error: std::io::Error,
    },
    /// The file is of no kind that can be replayed.
    #[error("{path} is not a strip that can be replayed: {reason}")]
    Unsuitable {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong and what to do.
        reason: String,
    },
    /// The file is damaged at some line.
    #[error(
        "{path} is damaged at line {line} (byte {byte}): {reason}; \
         the lines before it were used, the rest is lost"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// First line that could not be read.
        line: u64,
        /// Byte offset of the damaged part; for compressed images the number
        /// of decoded bytes.
        byte: u64,
        /// What is wrong.
        reason: String,
    },
    /// The file's own checksums say that it is damaged, but not where.
    #[error(
        "{path} does not pass its own check: {reason}; \
         its lines were used, but some are not as they were taken: export the strip again"
    )]
    Unverified {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The camera cannot be used.
    #[cfg(target_os = "linux")]
    #[error(transparent)]
    V4l2(#[from] v4l2::DeviceError),
    /// The camera cannot be used.
    #[cfg(feature = "genicam")]
    #[error(transparent)]
    Genicam(#[from] genicam::Error),
    /// A camera of a kind for which this program was not made.
    #[error("this program cannot use such a camera: {0}")]
    Unsupported(&'static str),
    /// Nobody feeds lines.
    #[error("cannot take lines from {from}: {reason}")]
    Feed {
        /// Standard input, or the socket.
        from: String,
        /// What is wrong and what to do.
        reason: String,
    },
    /// The simulator refused its settings.
    #[error("the simulator cannot run: {0}")]
    Simulator(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_between_the_ends_of_a_block_are_interpolated() {
        let span = EncoderSpan { first: -4, last: 8 };
        let counts: Vec<i64> = (0..7).map(|index| span.at(index, 7)).collect();
        assert_eq!(counts, [-4, -2, 0, 2, 4, 6, 8]);
        let still = EncoderSpan { first: 5, last: 5 };
        assert_eq!((still.at(0, 1), still.at(3, 9)), (5, 5));
        let widest = EncoderSpan {
            first: i64::MIN,
            last: i64::MAX,
        };
        assert_eq!(widest.at(511, 512), i64::MAX);
    }
}
