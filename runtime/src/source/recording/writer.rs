//! Writing recordings.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use millsight_export::durable;
use tempfile::NamedTempFile;

use super::super::LineBlock;
use super::{
    BLOCK_HEADER, BLOCK_MAGIC, END_MAGIC, END_SIZE, Header, HeaderError, LARGEST_BLOCK, MAGIC,
    NO_ENCODER, line_after,
};

/// Why a recording could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordingError {
    /// The disk refused.
    #[error("cannot write the recording {path}: {error}; nothing was left behind")]
    Write {
        /// The recording.
        path: PathBuf,
        /// The operating system's reason.
        error: io::Error,
    },
    /// The header says what no reader believes.
    #[error("cannot write the recording {path}: {error}")]
    Header {
        /// The recording.
        path: PathBuf,
        /// The value and what it may be.
        error: HeaderError,
    },
    /// A block that no reader would believe.
    #[error("a block at line {first_line} does not fit the recording: {reason}")]
    Block {
        /// First line of the block.
        first_line: u64,
        /// What is wrong.
        reason: String,
    },
}

/// Writes a recording to anything that takes bytes: a file, or the socket of a program
/// that takes lines while they come.
#[derive(Debug)]
pub struct BlockWriter<W> {
    to: W,
    pixels_per_line: usize,
    next_line: u64,
    lines: u64,
    blocks: u64,
}

/// Why a block was not written.
#[derive(Debug)]
pub enum BlockError {
    /// It is none that a reader would believe.
    Refused(String),
    /// It could not be written.
    Write(io::Error),
}

impl<W: Write> BlockWriter<W> {
    /// Begins with a header, which must be valid.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn begin(mut to: W, header: &Header) -> io::Result<Self> {
        let json = serde_json::to_vec(header)?;
        to.write_all(MAGIC)?;
        to.write_all(&(json.len() as u32).to_le_bytes())?;
        to.write_all(&json)?;
        to.write_all(&crc32fast::hash(&json).to_le_bytes())?;
        Ok(Self {
            to,
            pixels_per_line: header.pixels_per_line,
            next_line: 0,
            lines: 0,
            blocks: 0,
        })
    }

    /// Appends a block. Lines that are left out between blocks are a gap.
    ///
    /// # Errors
    /// When the block holds no whole lines or too many of them, goes back in
    /// the sequence or beyond what can be counted, or cannot be written.
    pub fn write(&mut self, block: &LineBlock<'_>) -> Result<(), BlockError> {
        let refuse = BlockError::Refused;
        let lines = block.pixels.len() / self.pixels_per_line;
        if lines == 0 || block.pixels.len() != lines * self.pixels_per_line {
            return Err(refuse(format!(
                "{} pixels are no whole lines of {}",
                block.pixels.len(),
                self.pixels_per_line
            )));
        }
        if block.first_line < self.next_line {
            return Err(refuse(format!(
                "line {} is written already",
                block.first_line
            )));
        }
        let next_line = line_after(block.first_line, lines as u64)
            .ok_or_else(|| refuse("lines of such numbers cannot be counted".into()))?;
        if block.pixels.len() as u64 > LARGEST_BLOCK {
            return Err(refuse(format!(
                "its {} bytes are more than the {LARGEST_BLOCK} that a block may have",
                block.pixels.len()
            )));
        }
        let timestamp = u64::try_from(block.timestamp.as_nanos())
            .map_err(|_| refuse("its time is more than 584 years after the start".into()))?;
        let (first_count, moved) = match block.encoder {
            None => (NO_ENCODER, 0),
            Some(span) => {
                let moved = span.last.checked_sub(span.first);
                let moved = moved.and_then(|moved| i32::try_from(moved).ok());
                let moved = moved.filter(|_| span.first != NO_ENCODER).ok_or_else(|| {
                    refuse(format!(
                        "the encoder cannot have gone from {} to {} in {lines} lines",
                        span.first, span.last
                    ))
                })?;
                (span.first, moved)
            }
        };
        let mut header = Vec::with_capacity(BLOCK_HEADER);
        header.extend_from_slice(BLOCK_MAGIC);
        header.extend_from_slice(&block.first_line.to_le_bytes());
        header.extend_from_slice(&timestamp.to_le_bytes());
        header.extend_from_slice(&first_count.to_le_bytes());
        header.extend_from_slice(&(lines as u32).to_le_bytes());
        header.extend_from_slice(&crc32fast::hash(block.pixels).to_le_bytes());
        header.extend_from_slice(&moved.to_le_bytes());
        header.extend_from_slice(&crc32fast::hash(&header).to_le_bytes());
        self.to.write_all(&header).map_err(BlockError::Write)?;
        self.to.write_all(block.pixels).map_err(BlockError::Write)?;
        self.next_line = next_line;
        self.lines += lines as u64;
        self.blocks += 1;
        Ok(())
    }

    /// Writes the end; gives what it wrote to.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn end(mut self) -> io::Result<W> {
        let mut end = Vec::with_capacity(END_SIZE);
        end.extend_from_slice(END_MAGIC);
        end.extend_from_slice(&self.lines.to_le_bytes());
        end.extend_from_slice(&self.blocks.to_le_bytes());
        end.extend_from_slice(&crc32fast::hash(&end).to_le_bytes());
        self.to.write_all(&end)?;
        self.to.flush()?;
        Ok(self.to)
    }
}

/// Writes a recording under a temporary name; [`RecordingWriter::finish`]
/// gives it its own. Dropped before that, it leaves nothing behind.
#[derive(Debug)]
pub struct RecordingWriter {
    path: PathBuf,
    file: BlockWriter<BufWriter<NamedTempFile>>,
}

impl RecordingWriter {
    /// Starts a recording.
    ///
    /// # Errors
    /// When the header is not valid or the folder of `path` cannot be written.
    pub fn create(path: &Path, header: &Header) -> Result<Self, RecordingError> {
        header.validate().map_err(|error| RecordingError::Header {
            path: path.to_path_buf(),
            error,
        })?;
        let file = durable::partial_beside(path)
            .and_then(|file| BlockWriter::begin(BufWriter::with_capacity(1 << 20, file), header))
            .map_err(|error| RecordingError::Write {
                path: path.to_path_buf(),
                error,
            })?;
        Ok(Self {
            path: path.to_path_buf(),
            file,
        })
    }

    /// Appends a block. Lines that are left out between blocks are a gap.
    ///
    /// # Errors
    /// When the block holds no whole lines or too many of them, goes back in
    /// the sequence or beyond what can be counted, or the disk refuses.
    pub fn write(&mut self, block: &LineBlock<'_>) -> Result<(), RecordingError> {
        self.file.write(block).map_err(|error| match error {
            BlockError::Refused(reason) => RecordingError::Block {
                first_line: block.first_line,
                reason,
            },
            BlockError::Write(error) => RecordingError::Write {
                path: self.path.clone(),
                error,
            },
        })
    }

    /// Writes the end, syncs, and gives the file its name.
    ///
    /// # Errors
    /// When the disk refuses; nothing is left behind then.
    pub fn finish(self) -> Result<(), RecordingError> {
        let Self { path, file } = self;
        file.end()
            .and_then(|file| file.into_inner().map_err(|error| error.into_error()))
            .and_then(|file| durable::persist(file, &path))
            .map_err(|error| RecordingError::Write { path, error })
    }
}
