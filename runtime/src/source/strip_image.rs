//! An image of a strip: PNG or TIFF, one row of the image a line.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::time::Duration;

use millsight_export::preprocess::{self, Image};

use super::{Event, LineBlock, Source, SourceError};

/// Lines that are handed out at once.
const BLOCK_LINES: usize = 128;

/// A strip image as a source of lines. Grey 8-bit PNG files are decoded line
/// by line, so that a strip of any length can be replayed; other images are
/// decoded whole.
pub struct StripImageSource {
    path: PathBuf,
    width: usize,
    height: u64,
    line_duration: Duration,
    lines: Lines,
    next_line: u64,
    block: Vec<u8>,
    failed: bool,
}

enum Lines {
    Streamed(Box<png::Reader<BufReader<File>>>),
    Whole(Vec<u8>),
}

impl StripImageSource {
    /// Opens a strip image. `line_rate` (lines per second) only dates the
    /// lines.
    ///
    /// # Errors
    /// When the file cannot be read or is no image.
    pub fn open(path: &Path, line_rate: f64) -> Result<Self, SourceError> {
        let (width, height, lines) = match streamed(path)? {
            Some(reader) => {
                let info = reader.info();
                (
                    info.width as usize,
                    u64::from(info.height),
                    Lines::Streamed(Box::new(reader)),
                )
            }
            None => {
                let image = load(path)?;
                (
                    image.width,
                    image.height as u64,
                    Lines::Whole(image.into_grey()),
                )
            }
        };
        Ok(Self {
            path: path.to_path_buf(),
            width,
            height,
            line_duration: Duration::from_secs_f64(1.0 / line_rate),
            lines,
            next_line: 0,
            block: Vec::with_capacity(BLOCK_LINES * width),
            failed: false,
        })
    }

    /// Decodes up to a block of lines. What was decoded before damage stays in
    /// the block; the damage is told by the next call.
    fn decode(&mut self, lines: usize) -> Result<(), String> {
        self.block.clear();
        match &mut self.lines {
            Lines::Whole(pixels) => {
                let from = self.next_line as usize * self.width;
                self.block
                    .extend_from_slice(&pixels[from..from + lines * self.width]);
                Ok(())
            }
            Lines::Streamed(reader) => {
                for _ in 0..lines {
                    match reader.next_row() {
                        Ok(Some(row)) => self.block.extend_from_slice(row.data()),
                        Ok(None) => return Err("it holds fewer lines than it states".into()),
                        Err(error) => return Err(error.to_string()),
                    }
                }
                Ok(())
            }
        }
    }
}

/// A decoder for line-by-line reading, where the file allows it.
fn streamed(path: &Path) -> Result<Option<png::Reader<BufReader<File>>>, SourceError> {
    let is_png = path
        .extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("png"));
    if !is_png {
        return Ok(None);
    }
    let file = File::open(path).map_err(|error| SourceError::Read {
        path: path.to_path_buf(),
        error,
    })?;
    let reader = png::Decoder::new(BufReader::new(file))
        .read_info()
        .map_err(|error| SourceError::Unsuitable {
            path: path.to_path_buf(),
            reason: format!("it cannot be decoded as PNG ({error}); export the strip again"),
        })?;
    let info = reader.info();
    let by_line = info.color_type == png::ColorType::Grayscale
        && info.bit_depth == png::BitDepth::Eight
        && !info.interlaced;
    Ok(by_line.then_some(reader))
}

fn load(path: &Path) -> Result<Image, SourceError> {
    preprocess::load_image(path).map_err(|error| SourceError::Unsuitable {
        path: path.to_path_buf(),
        reason: error.to_string(),
    })
}

impl Source for StripImageSource {
    fn pixels_per_line(&self) -> usize {
        self.width
    }

    fn expected_lines(&self) -> Option<u64> {
        Some(self.height)
    }

    fn next_event(&mut self) -> Result<Event<'_>, SourceError> {
        let rest = self.height - self.next_line;
        if rest == 0 {
            return Ok(Event::End);
        }
        let damaged = |line: u64, width: usize, reason: String, path: &Path| SourceError::Damaged {
            path: path.to_path_buf(),
            line,
            byte: line * width as u64,
            reason,
        };
        if self.failed {
            return Err(damaged(
                self.next_line,
                self.width,
                "it is cut off or corrupted".into(),
                &self.path,
            ));
        }
        if let Err(reason) = self.decode(rest.min(BLOCK_LINES as u64) as usize) {
            self.failed = true;
            if self.block.is_empty() {
                return Err(damaged(self.next_line, self.width, reason, &self.path));
            }
        }
        let first_line = self.next_line;
        self.next_line += (self.block.len() / self.width) as u64;
        Ok(Event::Lines(LineBlock {
            first_line,
            pixels: &self.block,
            timestamp: self.line_duration.mul_f64(self.next_line as f64),
            encoder: None,
        }))
    }
}
