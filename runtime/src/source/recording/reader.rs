//! Reading recordings.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::super::{EncoderSpan, Event, Gap, LineBlock, Source, SourceError};
use super::{
    BLOCK_HEADER, BLOCK_MAGIC, END_MAGIC, END_SIZE, Header, LARGEST_BLOCK, LONGEST_HEADER, MAGIC,
    NO_ENCODER, line_after,
};

/// Bytes that are read at once: of a file many; of a program few, so that its pixels do not go
/// through this buffer, but at once to where they stay.
const FILE_BUFFER: usize = 1 << 20;
const STREAM_BUFFER: usize = 8 << 10;

/// A recording as a source of lines.
pub struct RecordingSource {
    path: PathBuf,
    file: BufReader<Box<dyn Read + Send>>,
    header: Header,
    byte: u64,
    next_line: u64,
    lines: u64,
    blocks: u64,
    /// A block that was read behind a gap and waits for the gap to be told.
    pending: Option<Block>,
    pixels: Vec<u8>,
    ended: bool,
}

#[derive(Debug)]
struct Block {
    first_line: u64,
    lines: u64,
    timestamp: Duration,
    encoder: Option<EncoderSpan>,
    /// What is wrong with its pixels, if anything is.
    damage: Option<String>,
}

impl RecordingSource {
    /// Opens a recording and checks its header.
    ///
    /// # Errors
    /// When the file cannot be read or is no recording.
    pub fn open(path: &Path) -> Result<Self, SourceError> {
        let file = File::open(path).map_err(|error| SourceError::Read {
            path: path.to_path_buf(),
            error,
        })?;
        Self::read(Box::new(file), FILE_BUFFER, path)
    }

    /// A recording that another program writes, which errors name `path`.
    ///
    /// # Errors
    /// As [`RecordingSource::open`].
    pub fn of(reader: Box<dyn Read + Send>, path: &Path) -> Result<Self, SourceError> {
        Self::read(reader, STREAM_BUFFER, path)
    }

    fn read(reader: Box<dyn Read + Send>, buffer: usize, path: &Path) -> Result<Self, SourceError> {
        let mut source = Self {
            path: path.to_path_buf(),
            file: BufReader::with_capacity(buffer, reader),
            header: Header {
                pixels_per_line: 0,
                line_rate_hz: 0.0,
                lines_per_metre: 0.0,
                mm_per_pixel: 0.0,
                piece: String::new(),
                origin: String::new(),
            },
            byte: 0,
            next_line: 0,
            lines: 0,
            blocks: 0,
            pending: None,
            pixels: Vec::new(),
            ended: false,
        };
        let magic: [u8; 8] = source.take("the file's first bytes")?;
        if &magic != MAGIC {
            return Err(SourceError::Unsuitable {
                path: source.path,
                reason: "it does not begin with MSLINES1; \
                         give a recording, as `millsight simulate --strip` writes one"
                    .into(),
            });
        }
        source.header = source.read_header()?;
        Ok(source)
    }

    /// Takes the pixels of the lines that came last, and gives other memory for those that
    /// come.
    pub(in crate::source) fn swap_pixels(&mut self, pixels: &mut Vec<u8>) {
        std::mem::swap(&mut self.pixels, pixels);
    }

    fn read_header(&mut self) -> Result<Header, SourceError> {
        let length = u32::from_le_bytes(self.take("the header's length")?);
        if length > LONGEST_HEADER {
            return Err(self.damaged(format!("its header claims to be {length} bytes long")));
        }
        let mut json = vec![0; length as usize];
        self.fill(&mut json, "the header")?;
        let sum = u32::from_le_bytes(self.take("the header's checksum")?);
        if sum != crc32fast::hash(&json) {
            return Err(self.damaged("the header's checksum does not match".into()));
        }
        let header: Header = serde_json::from_slice(&json)
            .map_err(|error| self.damaged(format!("the header is not understood: {error}")))?;
        header.validate().map_err(|error| SourceError::Unsuitable {
            path: self.path.clone(),
            reason: format!("in its header {error}"),
        })?;
        Ok(header)
    }

    /// Reads the next block into the buffer, or the end.
    fn read_block(&mut self) -> Result<Option<Block>, SourceError> {
        let magic: [u8; 4] = self.take("a block or the end of the recording")?;
        if &magic == END_MAGIC {
            self.read_end()?;
            return Ok(None);
        }
        if &magic != BLOCK_MAGIC {
            return Err(self.damaged("neither a block nor the end begins here".into()));
        }
        let mut bytes = [0; BLOCK_HEADER];
        bytes[..4].copy_from_slice(&magic);
        self.fill(&mut bytes[4..], "a block's header")?;
        let (body, sum) = bytes.split_at(BLOCK_HEADER - 4);
        if sum != crc32fast::hash(body).to_le_bytes() {
            return Err(self.damaged("a block header's checksum does not match".into()));
        }
        let mut fields = Fields(&body[4..]);
        let mut block = Block {
            first_line: u64::from_le_bytes(fields.next()),
            timestamp: Duration::from_nanos(u64::from_le_bytes(fields.next())),
            encoder: Some(i64::from_le_bytes(fields.next()))
                .filter(|&count| count != NO_ENCODER)
                .map(|first| EncoderSpan { first, last: first }),
            lines: u64::from(u32::from_le_bytes(fields.next())),
            damage: None,
        };
        let pixel_sum = u32::from_le_bytes(fields.next());
        let moved = i32::from_le_bytes(fields.next());
        if let Some(span) = &mut block.encoder {
            span.last = span.first.saturating_add(moved.into());
        }
        // No overflow: the header is valid, so that lines are short.
        let size = block.lines * self.header.pixels_per_line as u64;
        if size == 0
            || size > LARGEST_BLOCK
            || block.first_line < self.next_line
            || line_after(block.first_line, block.lines).is_none()
        {
            return Err(self.damaged(format!(
                "a block claims {} lines from line {}",
                block.lines, block.first_line
            )));
        }
        let start = self.byte;
        let mut pixels = std::mem::take(&mut self.pixels);
        pixels.resize(size as usize, 0);
        let filled = self.fill(&mut pixels, "a block's pixels");
        self.pixels = pixels;
        filled?;
        if crc32fast::hash(&self.pixels) != pixel_sum {
            block.damage = Some(format!(
                "{} is damaged at byte {start}: the checksum of a block's pixels does not match",
                self.path.display()
            ));
        }
        self.lines += block.lines;
        self.blocks += 1;
        Ok(Some(block))
    }

    fn read_end(&mut self) -> Result<(), SourceError> {
        let mut bytes = [0; END_SIZE];
        bytes[..4].copy_from_slice(END_MAGIC);
        self.fill(&mut bytes[4..], "the end of the recording")?;
        let (body, sum) = bytes.split_at(END_SIZE - 4);
        let mut fields = Fields(&body[4..]);
        let lines = u64::from_le_bytes(fields.next());
        let blocks = u64::from_le_bytes(fields.next());
        if sum != crc32fast::hash(body).to_le_bytes()
            || lines != self.lines
            || blocks != self.blocks
        {
            return Err(self.damaged("the end does not match what stands before it".into()));
        }
        match self.file.fill_buf() {
            Ok([]) => Ok(()),
            Ok(_) => Err(self.damaged(
                "bytes follow its end, which are no part of it: \
                 was another recording appended to this one?"
                    .into(),
            )),
            Err(error) => {
                Err(self.damaged(format!("what follows its end cannot be read: {error}")))
            }
        }
    }

    fn take<const N: usize>(&mut self, what: &str) -> Result<[u8; N], SourceError> {
        let mut bytes = [0; N];
        self.fill(&mut bytes, what)?;
        Ok(bytes)
    }

    fn fill(&mut self, bytes: &mut [u8], what: &str) -> Result<(), SourceError> {
        match self.file.read_exact(bytes) {
            Ok(()) => {
                self.byte += bytes.len() as u64;
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                Err(self.damaged(format!("it is cut off within {what}")))
            }
            Err(error) => Err(self.damaged(format!("{what} cannot be read: {error}"))),
        }
    }

    fn damaged(&self, reason: String) -> SourceError {
        SourceError::Damaged {
            path: self.path.clone(),
            line: self.next_line,
            byte: self.byte,
            reason,
        }
    }
}

/// Splits fixed-size fields off a header.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn next<const N: usize>(&mut self) -> [u8; N] {
        let mut field = [0; N];
        let (head, rest) = self.0.split_at(N);
        field.copy_from_slice(head);
        self.0 = rest;
        field
    }
}

impl Source for RecordingSource {
    fn pixels_per_line(&self) -> usize {
        self.header.pixels_per_line
    }

    fn expected_lines(&self) -> Option<u64> {
        None
    }

    fn header(&self) -> Option<&Header> {
        Some(&self.header)
    }

    fn next_event(&mut self) -> Result<Event<'_>, SourceError> {
        if self.ended {
            return Ok(Event::End);
        }
        let block = match self.pending.take() {
            Some(block) => block,
            None => match self.read_block() {
                Ok(Some(block)) => block,
                Ok(None) => {
                    self.ended = true;
                    return Ok(Event::End);
                }
                Err(error) => {
                    self.ended = true;
                    return Err(error);
                }
            },
        };
        if block.first_line > self.next_line {
            let gap = Gap {
                first_line: self.next_line,
                lines: block.first_line - self.next_line,
                reason: "missing in the recording".into(),
                seconds: None,
            };
            self.next_line = block.first_line;
            self.pending = Some(block);
            return Ok(Event::Gap(gap));
        }
        self.next_line = block.first_line + block.lines;
        if let Some(reason) = block.damage {
            return Ok(Event::Unreadable(Gap {
                first_line: block.first_line,
                lines: block.lines,
                reason,
                seconds: None,
            }));
        }
        Ok(Event::Lines(LineBlock {
            first_line: block.first_line,
            pixels: &self.pixels,
            timestamp: block.timestamp,
            encoder: block.encoder,
        }))
    }
}
