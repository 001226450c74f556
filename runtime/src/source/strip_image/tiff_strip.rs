//! TIFF files, in the pieces in which they are stored.

use std::fs::File;
use std::io::{BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::path::Path;

use millsight_export::preprocess;
use millsight_firmware_config::PixelFormat;
use tiff::decoder::{ChunkType, Decoder, DecodingResult, Limits};
use tiff::tags::{ByteOrder, Tag};
use tiff::{ColorType, TiffError, TiffResult};

use super::LARGEST_DECODED;
use super::levels::Levels;

/// Most bytes of a tag that are read: the places of 8 million pieces.
const LARGEST_TAG: usize = 64 << 20;

/// A TIFF file of any height.
pub(super) struct TiffStrip {
    width: usize,
    height: u64,
    pixels: Pixels,
}

/// How pixels are stored.
enum Pixels {
    /// Without compression, line after line.
    Plain(Box<Plain>),
    /// In compressed strips of lines, or in tiles.
    Pieces(Box<Pieces>),
    /// As something rare, decoded whole.
    Whole(Vec<u8>),
}

struct Plain {
    decoder: Decoder<BufReader<File>>,
    levels: Levels,
    /// Where each strip of lines begins in the file, and its bytes.
    strips: Vec<(u64, u64)>,
    lines_per_strip: u64,
    bytes_per_sample: usize,
    big_endian: bool,
    white_is_zero: bool,
    position: Option<u64>,
    line: Vec<u8>,
}

struct Pieces {
    decoder: Decoder<BufReader<File>>,
    levels: Levels,
    channels: usize,
    width: usize,
    piece: (usize, u64),
    /// Levels of the pieces that lie side by side, and their first line.
    band: Vec<u8>,
    band_line: u64,
}

impl TiffStrip {
    /// Reads the directory of the file; `path` is that of `file`.
    ///
    /// # Errors
    /// What is wrong with the file and what to do.
    pub(super) fn open(path: &Path, file: File, format: PixelFormat) -> Result<Self, String> {
        let undecodable = |error: TiffError| {
            format!(
                "it cannot be decoded as TIFF ({}); export the strip again",
                reason(&error)
            )
        };
        let mut limits = Limits::default();
        limits.decoding_buffer_size = LARGEST_DECODED as usize;
        limits.intermediate_buffer_size = LARGEST_DECODED as usize;
        limits.ifd_value_size = LARGEST_TAG;
        let mut decoder = Decoder::new(BufReader::new(file))
            .map_err(undecodable)?
            .with_limits(limits);
        let (width, height) = decoder.dimensions().map_err(undecodable)?;
        let (width, height) = (width as usize, u64::from(height));
        let color = decoder.colortype().map_err(undecodable)?;
        let layout = Layout::read(&mut decoder).map_err(undecodable)?;
        let (channels, depth) = match color {
            ColorType::Gray(depth @ (8 | 16)) => (1, depth),
            ColorType::GrayA(depth @ (8 | 16)) => (2, depth),
            ColorType::RGB(depth @ (8 | 16)) => (3, depth),
            ColorType::RGBA(depth @ (8 | 16)) => (4, depth),
            _ => (0, color.bit_depth()),
        };
        let pixels = if channels == 0 || layout.is_planar || !layout.is_unsigned {
            Pixels::Whole(whole(path, color, depth)?)
        } else {
            let levels = Levels::new(channels, depth, format)?;
            if layout.is_plain && layout.samples == channels {
                Pixels::Plain(Box::new(
                    Plain::new(decoder, levels, layout, depth, width).map_err(undecodable)?,
                ))
            } else {
                let pieces = Pieces::new(decoder, levels, channels, width);
                pieces.check_size(height, depth)?;
                Pixels::Pieces(Box::new(pieces))
            }
        };
        Ok(Self {
            width,
            height,
            pixels,
        })
    }

    /// Pixels in a line.
    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// Number of lines.
    pub(super) fn height(&self) -> u64 {
        self.height
    }

    /// Appends the levels of a line.
    ///
    /// # Errors
    /// What is wrong with the file at this line.
    pub(super) fn append_line(&mut self, line: u64, target: &mut Vec<u8>) -> Result<(), String> {
        match &mut self.pixels {
            Pixels::Plain(plain) => plain.append_line(line, target),
            Pixels::Pieces(pieces) => pieces.append_line(line, target),
            Pixels::Whole(levels) => {
                target.extend_from_slice(&levels[line as usize * self.width..][..self.width]);
                Ok(())
            }
        }
    }
}

/// What the directory says of how pixels are stored.
struct Layout {
    is_plain: bool,
    is_planar: bool,
    is_unsigned: bool,
    white_is_zero: bool,
    samples: usize,
}

impl Layout {
    fn read(decoder: &mut Decoder<BufReader<File>>) -> TiffResult<Self> {
        let mut number = |tag, absent: u32| {
            let value = decoder.find_tag_unsigned::<u32>(tag);
            value.map(|value| value.unwrap_or(absent))
        };
        let compression = number(Tag::Compression, 1)?;
        let predictor = number(Tag::Predictor, 1)?;
        let planar = number(Tag::PlanarConfiguration, 1)?;
        let photometric = number(Tag::PhotometricInterpretation, 1)?;
        let samples = number(Tag::SamplesPerPixel, 1)?;
        let formats = decoder.find_tag_unsigned_vec::<u16>(Tag::SampleFormat)?;
        Ok(Self {
            is_plain: compression == 1
                && predictor == 1
                && decoder.get_chunk_type() == ChunkType::Strip,
            is_planar: planar == 2 && samples > 1,
            is_unsigned: formats.is_none_or(|formats| formats.iter().all(|&format| format == 1)),
            white_is_zero: photometric == 0,
            samples: samples as usize,
        })
    }
}

impl Plain {
    fn new(
        mut decoder: Decoder<BufReader<File>>,
        levels: Levels,
        layout: Layout,
        depth: u8,
        width: usize,
    ) -> TiffResult<Self> {
        let offsets = decoder.get_tag_u64_vec(Tag::StripOffsets)?;
        let bytes = decoder.get_tag_u64_vec(Tag::StripByteCounts)?;
        let bytes_per_sample = usize::from(depth / 8);
        Ok(Self {
            strips: offsets.into_iter().zip(bytes).collect(),
            lines_per_strip: u64::from(decoder.chunk_dimensions().1),
            big_endian: decoder.byte_order() == ByteOrder::BigEndian,
            bytes_per_sample,
            white_is_zero: layout.white_is_zero,
            position: None,
            line: vec![0; width * layout.samples * bytes_per_sample],
            decoder,
            levels,
        })
    }

    fn append_line(&mut self, line: u64, target: &mut Vec<u8>) -> Result<(), String> {
        let size = self.line.len() as u64;
        let within = line % self.lines_per_strip * size;
        let offset = self
            .strips
            .get((line / self.lines_per_strip) as usize)
            .filter(|(_, bytes)| within + size <= *bytes)
            .and_then(|(offset, _)| offset.checked_add(within))
            .ok_or("its directory names no place for it")?;
        let file = self.decoder.inner();
        let seek = match self.position {
            Some(position) if position == offset => Ok(offset),
            _ => file.seek(SeekFrom::Start(offset)),
        };
        self.position = None;
        seek.and_then(|_| file.read_exact(&mut self.line))
            .map_err(|error| reason(&error.into()))?;
        self.position = offset.checked_add(size);
        if self.white_is_zero {
            self.line.iter_mut().for_each(|byte| *byte = !*byte);
        }
        if self.bytes_per_sample == 1 {
            self.levels.append_8(&self.line, target);
            return Ok(());
        }
        let number = if self.big_endian {
            u16::from_be_bytes
        } else {
            u16::from_le_bytes
        };
        let samples = self.line.chunks_exact(2);
        self.levels
            .append_16(samples.map(|pair| number([pair[0], pair[1]])), target)
    }
}

impl Pieces {
    fn new(
        decoder: Decoder<BufReader<File>>,
        levels: Levels,
        channels: usize,
        width: usize,
    ) -> Self {
        let (piece_width, piece_height) = decoder.chunk_dimensions();
        Self {
            decoder,
            levels,
            channels,
            width,
            piece: (piece_width as usize, u64::from(piece_height)),
            band: Vec::new(),
            band_line: 0,
        }
    }

    /// The decoder holds one piece at a time, and this one a band of them.
    fn check_size(&self, height: u64, depth: u8) -> Result<(), String> {
        let (piece_width, piece_height) = self.piece;
        let lines = piece_height.min(height);
        let pixel = self.channels as u64 * u64::from(depth / 8);
        let size = (piece_width as u64)
            .checked_mul(lines)
            .and_then(|pixels| pixels.checked_mul(pixel));
        let band = (self.width as u64).checked_mul(lines);
        if size.max(band).is_some_and(|size| size <= LARGEST_DECODED)
            && size.is_some()
            && band.is_some()
        {
            return Ok(());
        }
        Err(format!(
            "it is compressed in pieces of {lines} lines, too large to be decoded; \
             store it with fewer lines to a piece (for example with `tiffcp -r 512`)"
        ))
    }

    fn append_line(&mut self, line: u64, target: &mut Vec<u8>) -> Result<(), String> {
        let (_, piece_height) = self.piece;
        if self.band.is_empty() || line / piece_height != self.band_line / piece_height {
            self.band_line = line / piece_height * piece_height;
            self.decode_band(line / piece_height)?;
        }
        let within = (line - self.band_line) as usize * self.width;
        let levels = self
            .band
            .get(within..within + self.width)
            .ok_or("a piece of it holds fewer lines than it states")?;
        target.extend_from_slice(levels);
        Ok(())
    }

    /// Decodes the pieces that lie side by side in band number `band`.
    fn decode_band(&mut self, band: u64) -> Result<(), String> {
        self.band.clear();
        let across = self.width.div_ceil(self.piece.0);
        let mut pieces = Vec::with_capacity(across);
        for column in 0..across as u64 {
            let index = u32::try_from(band * across as u64 + column)
                .map_err(|_| "it has too many pieces")?;
            let (width, height) = self.decoder.chunk_data_dimensions(index);
            let samples = self
                .decoder
                .read_chunk(index)
                .map_err(|error| reason(&error))?;
            let pixels = width as usize * height as usize;
            let mut levels = Vec::with_capacity(pixels);
            match samples {
                DecodingResult::U8(samples) => self.levels.append_8(&samples, &mut levels),
                DecodingResult::U16(samples) => {
                    self.levels.append_16(samples.into_iter(), &mut levels)?
                }
                _ => return Err("its pixels are no unsigned integers".into()),
            }
            if levels.len() != pixels {
                return Err("a piece of it does not have the size that it states".into());
            }
            pieces.push((width as usize, levels));
        }
        if let [(width, levels)] = &mut pieces[..]
            && *width == self.width
        {
            self.band = std::mem::take(levels);
            return Ok(());
        }
        let lines = pieces
            .iter()
            .map(|(width, levels)| levels.len() / width)
            .min();
        for line in 0..lines.unwrap_or_default() {
            for (width, levels) in &pieces {
                self.band
                    .extend_from_slice(&levels[line * width..][..*width]);
            }
        }
        Ok(())
    }
}

/// Levels of an image of a rare kind, such as one of 1 bit or a palette.
fn whole(path: &Path, color: ColorType, depth: u8) -> Result<Vec<u8>, String> {
    if depth > 8 {
        return Err(format!(
            "its pixels are of a kind that is not read ({color:?}); \
             export the strip as grey of 8 or 16 bits"
        ));
    }
    let image = preprocess::load_image(path).map_err(|error| error.to_string())?;
    Ok(image.into_grey())
}

/// What a decoder's error says to someone who has a file.
fn reason(error: &TiffError) -> String {
    match error {
        TiffError::IoError(error) if error.kind() == ErrorKind::UnexpectedEof => {
            "it is cut off".into()
        }
        error => error.to_string(),
    }
}
