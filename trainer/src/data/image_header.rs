//! What an image file says of itself, before its pixels.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use image::{ExtendedColorType, ImageDecoder, ImageFormat, ImageReader};

/// Pixel formats in the words of Pillow (`Image.mode`), as far as [`Header`]
/// tells them apart: bilevel, grey, grey with alpha, palette, colour, colour
/// with alpha, four inks, and grey of 16 bits.
pub const MODES: [&str; 8] = ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"];

/// What an image file says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    /// Width in pixels.
    pub(super) width: u32,
    /// Height in pixels.
    pub(super) height: u32,
    /// Pixel format in Pillow's words, one of [`MODES`]; the decoder's word
    /// where Pillow has none.
    pub(super) mode: String,
}

impl Header {
    /// Reads the header of an image file; the error says what is wrong.
    pub(super) fn read(path: &Path) -> Result<Self, String> {
        let reader = ImageReader::open(path)
            .and_then(ImageReader::with_guessed_format)
            .map_err(|error| error.to_string())?;
        let format = reader.format();
        let decoder = reader.into_decoder().map_err(|error| error.to_string())?;
        let (width, height) = decoder.dimensions();
        let stored = stored_mode(path, format).map_err(|error| error.to_string())?;
        Ok(Self {
            width,
            height,
            mode: stored.map_or_else(|| mode(decoder.original_color_type()), str::to_owned),
        })
    }
}

/// The mode where the decoder tells only what it makes of the pixels, which is
/// grey or colour whatever the file holds.
fn stored_mode(path: &Path, format: Option<ImageFormat>) -> io::Result<Option<&'static str>> {
    let of_format = match format {
        Some(ImageFormat::Png) => png,
        Some(ImageFormat::Bmp) => bmp,
        Some(ImageFormat::Jpeg) => jpeg,
        _ => return Ok(None),
    };
    match of_format(&mut File::open(path)?) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        mode => mode,
    }
}

/// By bit depth and colour type (PNG specification, 11.2.1) as Pillow's
/// `PngImagePlugin` does.
fn png(file: &mut (impl Read + Seek)) -> io::Result<Option<&'static str>> {
    let [depth, colour] = bytes_at(file, 24)?;
    Ok(match (depth, colour) {
        (1, 0) => Some("1"),
        (2 | 4 | 8, 0) => Some("L"),
        (16, 0) => Some("I;16"),
        (_, 2) => Some("RGB"),
        (_, 3) => Some("P"),
        (8, 4) => Some("LA"),
        (16, 4) | (_, 6) => Some("RGBA"),
        _ => None,
    })
}

/// Up to 8 bits a pixel are numbers in a palette. As in Pillow's
/// `BmpImagePlugin`, one that holds the levels from black to white in their
/// order makes a grey image.
fn bmp(file: &mut (impl Read + Seek)) -> io::Result<Option<&'static str>> {
    /// A file's own header, before that of the image.
    const FILE_HEADER: u64 = 14;
    /// Length of the header of OS/2, with 3 bytes to a colour instead of 4.
    const OS2: u32 = 12;
    let length = u32::from_le_bytes(bytes_at(file, FILE_HEADER)?);
    let old = length == OS2;
    let bits = u16::from_le_bytes(bytes_at(file, if old { 24 } else { 28 })?);
    if !matches!(bits, 1..=8) {
        return Ok(None);
    }
    let told = match old {
        true => 0,
        false => u32::from_le_bytes(bytes_at(file, 46)?),
    };
    let colours = match told {
        1..=256 => told,
        _ => 1 << bits,
    };
    let step = if old { 3 } else { 4 };
    let mut palette = vec![0; step * colours as usize];
    file.seek(SeekFrom::Start(FILE_HEADER + u64::from(length)))?;
    file.read_exact(&mut palette)?;
    let is_grey = |(number, colour): (usize, &[u8])| {
        let level = if colours == 2 { 255 * number } else { number };
        colour[..3].iter().all(|&part| usize::from(part) == level)
    };
    if !palette.chunks_exact(step).enumerate().all(is_grey) {
        return Ok(Some("P"));
    }
    Ok(Some(if colours == 2 { "1" } else { "L" }))
}

/// By the number of components in the frame header (ITU-T T.81, B.2.2).
fn jpeg(file: &mut (impl Read + Seek)) -> io::Result<Option<&'static str>> {
    /// Where the first segment begins, after the marker of the image's start.
    const FIRST: u64 = 2;
    let mut at = FIRST;
    loop {
        let [fill, marker, high, low] = bytes_at(file, at)?;
        match marker {
            _ if fill != 0xFF => return Ok(None),
            0xFF => at += 1,
            // Frame headers: all of this range but tables and an extension.
            0xC0..=0xCF if !matches!(marker, 0xC4 | 0xC8 | 0xCC) => {
                let [components] = bytes_at(file, at + 9)?;
                return Ok(match components {
                    1 => Some("L"),
                    3 => Some("RGB"),
                    4 => Some("CMYK"),
                    _ => None,
                });
            }
            _ => at += 2 + u64::from(u16::from_be_bytes([high, low])),
        }
    }
}

fn bytes_at<const N: usize>(file: &mut (impl Read + Seek), at: u64) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    file.seek(SeekFrom::Start(at))?;
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Pillow's word for a pixel format of the decoder.
fn mode(colour: ExtendedColorType) -> String {
    match colour {
        ExtendedColorType::L1 => "1".into(),
        ExtendedColorType::L2 | ExtendedColorType::L4 | ExtendedColorType::L8 => "L".into(),
        ExtendedColorType::La8 => "LA".into(),
        ExtendedColorType::Rgb8 => "RGB".into(),
        ExtendedColorType::Rgba8 => "RGBA".into(),
        ExtendedColorType::Cmyk8 => "CMYK".into(),
        ExtendedColorType::L16 => "I;16".into(),
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::Cursor;

    use image::GrayImage;

    use super::*;

    #[test]
    fn depth_and_colour_type_of_a_png_give_the_mode() {
        let with = |depth, colour| {
            let mut header = vec![0; 24];
            header.extend([depth, colour]);
            png(&mut Cursor::new(header)).unwrap()
        };
        let modes = [
            ((1, 0), "1"),
            ((4, 0), "L"),
            ((16, 0), "I;16"),
            ((8, 2), "RGB"),
            ((16, 2), "RGB"),
            ((2, 3), "P"),
            ((8, 4), "LA"),
            ((8, 6), "RGBA"),
        ];
        for ((depth, colour), mode) in modes {
            assert_eq!(with(depth, colour), Some(mode), "{depth} {colour}");
        }
        assert_eq!(with(8, 7), None);
    }

    /// A grey palette is grey, any other is a palette, though the decoder
    /// makes the same of both.
    #[test]
    fn a_palette_is_told_from_grey() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tile.bmp");
        GrayImage::new(4, 3).save(&path).unwrap();
        let expected = |mode: &str| Header {
            width: 4,
            height: 3,
            mode: mode.to_owned(),
        };
        assert_eq!(Header::read(&path).unwrap(), expected("L"));
        let mut file = std::fs::read(&path).unwrap();
        let last_colour = u32::from_le_bytes(file[10..14].try_into().unwrap()) as usize - 4;
        file[last_colour] ^= 1;
        std::fs::write(&path, file).unwrap();
        assert_eq!(Header::read(&path).unwrap(), expected("P"));
    }

    #[test]
    fn components_of_a_jpeg_give_the_mode() {
        let with = |components| {
            let preview = [0xFF, 0xE1, 0, 6, 0xFF, 0xC0, 9, 9];
            let tables = [0xFF, 0xC4, 0, 2];
            let frame = [0xFF, 0xC2, 0, 11, 8, 0, 3, 0, 4, components, 1, 17, 0];
            let file = [&[0xFF, 0xD8][..], &preview, &tables, &[0xFF], &frame].concat();
            jpeg(&mut Cursor::new(file)).unwrap()
        };
        assert_eq!(with(1), Some("L"));
        assert_eq!(with(3), Some("RGB"));
        assert_eq!(with(4), Some("CMYK"));
        assert_eq!(with(2), None);
    }
}
