//! Images in memory, and reading them from files.

use std::io;
use std::path::{Path, PathBuf};

use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};

use super::jpeg;
use crate::bounded;

/// Largest number of pixels of a file that is read: 65,536 lines of 4096.
const LARGEST_IMAGE: u64 = 1 << 28;
/// Largest JPEG file that is read, in bytes: four to a pixel, which no
/// encoder needs.
const LARGEST_JPEG: u64 = 4 * LARGEST_IMAGE;

/// An 8-bit image, grey or RGB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Width in pixels, at least 1.
    pub width: usize,
    /// Height in pixels, at least 1.
    pub height: usize,
    /// 1 (grey) or 3 (red, green, blue).
    pub channels: usize,
    /// Rows from the top, without gaps; the channels of a pixel side by side.
    pub pixels: Vec<u8>,
}

impl Image {
    /// The whole image.
    pub fn view(&self) -> ImageView<'_> {
        ImageView {
            width: self.width,
            height: self.height,
            channels: self.channels,
            row_stride: self.width * self.channels,
            pixels: &self.pixels,
        }
    }

    /// The levels of a grey image, or the brightness of an RGB image as
    /// Pillow's `convert("L")` computes it: one byte a pixel.
    pub fn into_grey(self) -> Vec<u8> {
        if self.channels == 1 {
            return self.pixels;
        }
        let mut grey = Vec::with_capacity(self.width * self.height);
        self.view().luma_into(&mut grey);
        grey
    }
}

/// A borrowed image, perhaps a part of a wider one.
#[derive(Debug, Clone, Copy)]
pub struct ImageView<'a> {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) channels: usize,
    pub(super) row_stride: usize,
    pub(super) pixels: &'a [u8],
}

impl<'a> ImageView<'a> {
    /// A view of `width` x `height` pixels of `channels` (1 or 3) bytes, the
    /// rows of which begin every `row_stride` bytes of `pixels`. The last row
    /// need not be followed by anything.
    ///
    /// # Errors
    /// [`ViewError`] when these numbers cannot be.
    pub fn new(
        width: usize,
        height: usize,
        channels: usize,
        row_stride: usize,
        pixels: &'a [u8],
    ) -> Result<Self, ViewError> {
        let row = width.checked_mul(channels);
        let needed = (height.saturating_sub(1))
            .checked_mul(row_stride)
            .zip(row)
            .and_then(|(before, row)| before.checked_add(row));
        let possible = width > 0
            && height > 0
            && matches!(channels, 1 | 3)
            && row.is_some_and(|row| row <= row_stride)
            && needed.is_some_and(|needed| needed <= pixels.len());
        if !possible {
            let bytes = pixels.len();
            return Err(ViewError {
                width,
                height,
                channels,
                row_stride,
                bytes,
            });
        }
        Ok(Self {
            width,
            height,
            channels,
            row_stride,
            pixels,
        })
    }

    /// Width in pixels.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Height in pixels.
    pub fn height(&self) -> usize {
        self.height
    }

    /// 1 (grey) or 3 (RGB).
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// The bytes of row `y`, counted from the top.
    ///
    /// # Panics
    /// When there is no such row.
    #[inline]
    pub fn row(&self, y: usize) -> &'a [u8] {
        &self.pixels[y * self.row_stride..][..self.width * self.channels]
    }

    /// The [`brightness`] of the pixels of an RGB image.
    pub(super) fn luma_into(&self, luma: &mut Vec<u8>) {
        luma.clear();
        for y in 0..self.height {
            let pixels = self.row(y).chunks_exact(3);
            luma.extend(pixels.map(|pixel| brightness([pixel[0], pixel[1], pixel[2]])));
        }
    }
}

/// Brightness of a red, green and blue pixel, as Pillow's `convert("L")`
/// computes it (ITU-R 601-2 in fixed point, rounded).
#[inline]
pub fn brightness(pixel: [u8; 3]) -> u8 {
    let [red, green, blue] = pixel.map(u32::from);
    ((19595 * red + 38470 * green + 7471 * blue + 0x8000) >> 16) as u8
}

/// Numbers that describe no image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "{bytes} bytes with {row_stride} to a row hold no image of {width}x{height} pixels of \
     {channels} byte(s); both sides must be at least 1 and the bytes of a pixel 1 or 3"
)]
pub struct ViewError {
    /// Width in pixels.
    pub width: usize,
    /// Height in pixels.
    pub height: usize,
    /// Bytes of a pixel.
    pub channels: usize,
    /// Bytes from the beginning of a row to the next.
    pub row_stride: usize,
    /// Bytes there are.
    pub bytes: usize,
}

/// Reads a PNG, JPEG, TIFF or BMP file.
///
/// What comes out is what Pillow's `convert("RGB")` gives, but for grey files,
/// which keep their single channel: alpha is dropped without compositing,
/// palettes are looked up, bilevel becomes 0 and 255, grey of 16 bits
/// saturates at 255, and colour of 16 bits keeps its upper 8.
///
/// # Errors
/// [`LoadImageError`] with the file's name and what is wrong with it.
pub fn load_image(path: &Path) -> Result<Image, LoadImageError> {
    let read = |source| LoadImageError::Read {
        path: path.to_owned(),
        source,
    };
    let truncated = || LoadImageError::Truncated {
        path: path.to_owned(),
    };
    let decode = |source| match source {
        ImageError::IoError(error) if error.kind() == io::ErrorKind::UnexpectedEof => truncated(),
        source => LoadImageError::Decode {
            path: path.to_owned(),
            source,
        },
    };
    bounded::regular(path).map_err(read)?;
    let mut reader = ImageReader::open(path)
        .map_err(read)?
        .with_guessed_format()
        .map_err(read)?;
    if reader.format() == Some(ImageFormat::Jpeg)
        && !jpeg::is_whole(&bounded::read(path, LARGEST_JPEG).map_err(read)?)
    {
        return Err(truncated());
    }
    let mut limits = Limits::no_limits();
    // Room for pixels of four 16-bit channels.
    limits.max_alloc = Some(LARGEST_IMAGE * 8);
    reader.limits(limits);
    let decoder = reader.into_decoder().map_err(decode)?;
    let (width, height) = decoder.dimensions();
    if width == 0 || height == 0 || u64::from(width) * u64::from(height) > LARGEST_IMAGE {
        return Err(LoadImageError::Size {
            path: path.to_owned(),
            width,
            height,
        });
    }
    let decoded = DynamicImage::from_decoder(decoder).map_err(decode)?;
    let (channels, pixels) = levels(decoded).map_err(|colour| LoadImageError::Colour {
        path: path.to_owned(),
        colour,
    })?;
    Ok(Image {
        width: width as usize,
        height: height as usize,
        channels,
        pixels,
    })
}

/// Channels and levels of a decoded image, or the name of a colour type that
/// has no levels.
fn levels(decoded: DynamicImage) -> Result<(usize, Vec<u8>), String> {
    let upper = |values: Vec<u16>| values.into_iter().map(|value| (value >> 8) as u8).collect();
    let without_alpha = |pixels: Vec<u8>, kept: usize| {
        let pixels = pixels.chunks_exact(kept + 1);
        (
            kept,
            pixels
                .flat_map(|pixel| pixel[..kept].iter().copied())
                .collect(),
        )
    };
    Ok(match decoded {
        DynamicImage::ImageLuma8(image) => (1, image.into_raw()),
        DynamicImage::ImageLumaA8(image) => without_alpha(image.into_raw(), 1),
        DynamicImage::ImageRgb8(image) => (3, image.into_raw()),
        DynamicImage::ImageRgba8(image) => without_alpha(image.into_raw(), 3),
        DynamicImage::ImageLuma16(image) => (
            1,
            image
                .into_raw()
                .into_iter()
                .map(|value| value.min(255) as u8)
                .collect(),
        ),
        DynamicImage::ImageLumaA16(image) => without_alpha(upper(image.into_raw()), 1),
        DynamicImage::ImageRgb16(image) => (3, upper(image.into_raw())),
        DynamicImage::ImageRgba16(image) => without_alpha(upper(image.into_raw()), 3),
        other => return Err(format!("{:?}", other.color())),
    })
}

/// Why a file gives no image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadImageError {
    /// The file cannot be read.
    #[error("cannot read the image {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the file system says.
        source: io::Error,
    },
    /// The file ends before its image does.
    #[error("the image {} is cut off: its file ends too early; copy or record it again", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
    },
    /// The file is no image, or a damaged one.
    #[error("cannot decode the image {}: {source}; it may be damaged, or none of PNG, JPEG, TIFF and BMP", path.display())]
    Decode {
        /// The file.
        path: PathBuf,
        /// What the decoder says.
        source: ImageError,
    },
    /// An image without pixels, or with too many.
    #[error("the image {} has {width}x{height} pixels, but 1 to {LARGEST_IMAGE} are allowed; cut it into pieces", path.display())]
    Size {
        /// The file.
        path: PathBuf,
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
    },
    /// Pixels that are no integers.
    #[error("the image {} has pixels of type {colour}; convert it to 8-bit grey or RGB", path.display())]
    Colour {
        /// The file.
        path: PathBuf,
        /// The decoder's name of the type.
        colour: String,
    },
}
