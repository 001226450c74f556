//! PNG files, line by line.

use std::fs::File;
use std::io::{BufReader, ErrorKind};

use millsight_firmware_config::PixelFormat;
use png::{BitDepth, ColorType, Decoder, DecodingError, Reader, Transformations};

use super::LARGEST_DECODED;
use super::levels::Levels;

/// A PNG file of any height. An interlaced one is decoded whole, because all
/// of its lines come last.
pub(super) struct PngStrip {
    reader: Reader<BufReader<File>>,
    levels: Levels,
    depth: BitDepth,
    line_bytes: usize,
    /// The samples of an interlaced image.
    whole: Option<Vec<u8>>,
}

impl PngStrip {
    /// Reads what stands before the pixels.
    ///
    /// # Errors
    /// What is wrong with the file and what to do.
    pub(super) fn open(file: File, format: PixelFormat) -> Result<Self, String> {
        let undecodable =
            |error| format!("it cannot be decoded as PNG ({error}); export the strip again");
        let mut decoder = Decoder::new(BufReader::new(file));
        decoder.ignore_checksums(false);
        // Palettes are looked up, and levels of fewer bits are spread over 8.
        decoder.set_transformations(Transformations::EXPAND);
        let mut reader = decoder.read_info().map_err(undecodable)?;
        let (color, depth) = reader.output_color_type();
        let channels = match color {
            ColorType::Grayscale | ColorType::Indexed => 1,
            ColorType::GrayscaleAlpha => 2,
            ColorType::Rgb => 3,
            ColorType::Rgba => 4,
        };
        let levels = Levels::new(channels, depth as u8, format)?;
        let line_bytes = reader.output_line_size(reader.info().width);
        let whole = if reader.info().interlaced {
            let size = reader
                .output_buffer_size()
                .filter(|&size| size as u64 <= LARGEST_DECODED)
                .ok_or(
                    "it is interlaced and too large to be decoded whole; \
                     export the strip without interlacing",
                )?;
            let mut samples = vec![0; size];
            reader.next_frame(&mut samples).map_err(undecodable)?;
            Some(samples)
        } else {
            None
        };
        Ok(Self {
            levels,
            depth,
            line_bytes: line_bytes.ok_or("its lines are too long")?,
            whole,
            reader,
        })
    }

    /// Pixels in a line.
    pub(super) fn width(&self) -> usize {
        self.reader.info().width as usize
    }

    /// Number of lines.
    pub(super) fn height(&self) -> u64 {
        u64::from(self.reader.info().height)
    }

    /// Appends the levels of a line, the one after that of the last call.
    ///
    /// # Errors
    /// What is wrong with the file at this line.
    pub(super) fn append_line(&mut self, line: u64, target: &mut Vec<u8>) -> Result<(), String> {
        let samples = match &self.whole {
            Some(samples) => &samples[line as usize * self.line_bytes..][..self.line_bytes],
            None => match self.reader.next_row() {
                Ok(Some(row)) => row.data(),
                Ok(None) => return Err("it holds fewer lines than it states".into()),
                Err(error) if is_cut(&error) => return Err("it is cut off".into()),
                Err(error) => {
                    return Err(format!(
                        "{error} (lines shortly before may be wrong as well: \
                         a PNG's checksum follows its pixels)"
                    ));
                }
            },
        };
        if self.depth == BitDepth::Sixteen {
            let pairs = samples.chunks_exact(2);
            let samples = pairs.map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
            return self.levels.append_16(samples, target);
        }
        self.levels.append_8(samples, target);
        Ok(())
    }

    /// Reads what follows the pixels, their checksums above all.
    ///
    /// # Errors
    /// What is wrong with the file as a whole.
    pub(super) fn finish(&mut self) -> Result<(), String> {
        self.reader.finish().map_err(|error| {
            if is_cut(&error) {
                "it is cut off behind its last line".into()
            } else {
                error.to_string()
            }
        })
    }
}

fn is_cut(error: &DecodingError) -> bool {
    matches!(error, DecodingError::IoError(error) if error.kind() == ErrorKind::UnexpectedEof)
}
