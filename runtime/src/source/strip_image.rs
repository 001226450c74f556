//! An image of a strip: PNG or TIFF, one row of the image a line.

mod levels;
mod png_strip;
mod tiff_strip;

#[cfg(test)]
mod tests;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use millsight_firmware_config::{Camera, MAXIMUM_PIXELS_PER_LINE};

use super::{Event, LineBlock, Source, SourceError};
use png_strip::PngStrip;
use tiff_strip::TiffStrip;

/// Lines that are handed out at once.
const BLOCK_LINES: usize = 128;

/// Most bytes that are decoded at once, where a file cannot be read line by
/// line: 1 GiB.
const LARGEST_DECODED: u64 = 1 << 30;

/// Kinds of image, known by a file's first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageKind {
    /// PNG.
    Png,
    /// TIFF or BigTIFF.
    Tiff,
    /// JPEG, which is no strip: its compression changes the pixels.
    Jpeg,
    /// BMP, which is no strip.
    Bmp,
}

impl ImageKind {
    /// The kind of image that begins with `bytes`; 8 bytes tell.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        const BEGINNINGS: [(&[u8], ImageKind); 7] = [
            (b"\x89PNG\r\n\x1a\n", ImageKind::Png),
            (b"II*\0", ImageKind::Tiff),
            (b"MM\0*", ImageKind::Tiff),
            (b"II+\0", ImageKind::Tiff),
            (b"MM\0+", ImageKind::Tiff),
            (b"\xff\xd8\xff", ImageKind::Jpeg),
            (b"BM", ImageKind::Bmp),
        ];
        BEGINNINGS
            .iter()
            .find(|(beginning, _)| bytes.starts_with(beginning))
            .map(|&(_, kind)| kind)
    }
}

/// A strip image as a source of lines. It is decoded as it is handed out, so
/// that a strip of any length can be replayed; only interlaced PNG files and
/// rare kinds of TIFF are decoded whole, up to a limit.
pub struct StripImageSource {
    path: PathBuf,
    width: usize,
    height: u64,
    line_duration: Duration,
    decoder: Decoder,
    next_line: u64,
    block: Vec<u8>,
    /// Damage that was met behind the lines of the last block.
    damage: Option<String>,
    ended: bool,
}

enum Decoder {
    Png(Box<PngStrip>),
    Tiff(TiffStrip),
}

impl StripImageSource {
    /// Opens a strip image. The camera's line rate dates the lines; its pixel
    /// format says which bits of an image of 16 bits hold the levels.
    ///
    /// # Errors
    /// When the file cannot be read, is no PNG or TIFF, or has pixels that
    /// cannot be brought to 8 bits.
    pub fn open(path: &Path, kind: ImageKind, camera: &Camera) -> Result<Self, SourceError> {
        let unsuitable = |reason: String| SourceError::Unsuitable {
            path: path.to_path_buf(),
            reason,
        };
        let file = File::open(path).map_err(|error| SourceError::Read {
            path: path.to_path_buf(),
            error,
        })?;
        let format = camera.pixel_format;
        let decoder = match kind {
            ImageKind::Png => {
                Decoder::Png(Box::new(PngStrip::open(file, format).map_err(unsuitable)?))
            }
            ImageKind::Tiff => {
                Decoder::Tiff(TiffStrip::open(path, file, format).map_err(unsuitable)?)
            }
            ImageKind::Jpeg => {
                return Err(unsuitable(
                    "it is a JPEG image, and JPEG changes the pixels that are to be judged; \
                     export the strip as PNG or TIFF (single JPEG images can be judged with \
                     `millsight classify`)"
                        .into(),
                ));
            }
            ImageKind::Bmp => {
                return Err(unsuitable(
                    "it is a BMP image; export the strip as PNG or TIFF".into(),
                ));
            }
        };
        let (width, height) = match &decoder {
            Decoder::Png(strip) => (strip.width(), strip.height()),
            Decoder::Tiff(strip) => (strip.width(), strip.height()),
        };
        if width == 0 || height == 0 {
            return Err(unsuitable("it has no pixels".into()));
        }
        if width > MAXIMUM_PIXELS_PER_LINE {
            return Err(unsuitable(format!(
                "it has {width} pixels in a line, but at most {MAXIMUM_PIXELS_PER_LINE} are \
                 possible; lines are the rows of the image: turn it if they are its columns"
            )));
        }
        Ok(Self {
            path: path.to_path_buf(),
            width,
            height,
            line_duration: Duration::from_secs_f64(1.0 / camera.line_rate_hz),
            decoder,
            next_line: 0,
            block: Vec::with_capacity(BLOCK_LINES * width),
            damage: None,
            ended: false,
        })
    }

    /// Decodes a block of lines, or those that come before damage.
    fn decode(&mut self, lines: u64) {
        self.block.clear();
        for line in self.next_line..self.next_line + lines {
            let decoded = match &mut self.decoder {
                Decoder::Png(strip) => strip.append_line(line, &mut self.block),
                Decoder::Tiff(strip) => strip.append_line(line, &mut self.block),
            };
            if let Err(reason) = decoded {
                self.block
                    .truncate((line - self.next_line) as usize * self.width);
                self.damage = Some(reason);
                return;
            }
        }
    }

    /// What is known of the file only behind its last line.
    fn finish(&mut self) -> Result<(), SourceError> {
        match &mut self.decoder {
            Decoder::Png(strip) => strip.finish().map_err(|reason| SourceError::Unverified {
                path: self.path.clone(),
                reason,
            }),
            // TIFF has no checksums.
            Decoder::Tiff(_) => Ok(()),
        }
    }
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
        if self.ended || rest == 0 {
            if !std::mem::replace(&mut self.ended, true) {
                self.finish()?;
            }
            return Ok(Event::End);
        }
        if self.damage.is_none() {
            self.decode(rest.min(BLOCK_LINES as u64));
        } else {
            self.block.clear();
        }
        if self.block.is_empty() {
            self.ended = true;
            return Err(SourceError::Damaged {
                path: self.path.clone(),
                line: self.next_line,
                byte: self.next_line * self.width as u64,
                reason: self.damage.take().unwrap_or_default(),
            });
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
