//! Tiles with captions in one picture.

use std::convert::Infallible;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use embedded_graphics::mono_font::MonoTextStyle;
use embedded_graphics::mono_font::iso_8859_1::FONT_6X12;
use embedded_graphics::pixelcolor::{Rgb888, RgbColor};
use embedded_graphics::prelude::{DrawTarget, Drawable, OriginDimensions, Pixel, Point, Size};
use embedded_graphics::text::{Baseline, Text};
use image::{ImageFormat, Rgb, RgbImage};
use millsight_export::card::{ElementType, InputSpec, Preprocessing};
use millsight_export::durable::replace_file;
use millsight_export::preprocess::{Preprocessor, load_image};

use crate::TrainError;
use crate::data::DataError;

/// Columns of the sheet.
const COLUMNS: u32 = 6;
/// Longer side of a tile, in pixels.
const TILE: u32 = 192;
/// Height of a line of its caption.
const LINE: u32 = 14;
/// Space around a tile with its caption.
const GAP: u32 = 6;

/// An image with two lines of text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Captioned {
    /// The image.
    pub file: PathBuf,
    /// What stands below it; what is too long is cut off.
    pub caption: [String; 2],
}

/// Writes a PNG with rows of six tiles, each resized to 192 pixels, with their
/// captions in black on white.
///
/// # Errors
/// When an image cannot be read or the picture not be written.
pub fn write(path: &Path, tiles: &[Captioned]) -> Result<(), TrainError> {
    let cell = [TILE + 2 * GAP, TILE + 2 * LINE + 2 * GAP];
    let columns = COLUMNS.min(tiles.len() as u32).max(1);
    let rows = (tiles.len() as u32).div_ceil(columns);
    let white = Rgb([255; 3]);
    let mut sheet = RgbImage::from_pixel(columns * cell[0], rows * cell[1], white);
    for (number, tile) in tiles.iter().enumerate() {
        let number = number as u32;
        let left = number % columns * cell[0] + GAP;
        let top = number / columns * cell[1] + GAP;
        draw(&mut sheet, &tile.file, [left, top])?;
        for (line, text) in (0..).zip(&tile.caption) {
            let at = [left, top + TILE + 2 + line * LINE];
            let Ok(()) = letter(&mut sheet, text, at);
        }
    }
    let mut bytes = Cursor::new(Vec::new());
    sheet
        .write_to(&mut bytes, ImageFormat::Png)
        .map_err(|error| TrainError::io("encode", path)(std::io::Error::other(error)))?;
    replace_file(path, bytes.get_ref()).map_err(TrainError::io("write", path))
}

/// Puts an image at left, top, its longer side as long as a tile's.
fn draw(sheet: &mut RgbImage, file: &Path, [left, top]: [u32; 2]) -> Result<(), TrainError> {
    let image = load_image(file).map_err(DataError::Tile)?;
    let longer = image.width.max(image.height).max(1) as f64;
    let side = |pixels: usize| {
        let scaled = pixels as f64 * f64::from(TILE) / longer;
        (scaled.round() as usize).max(1)
    };
    let input = InputSpec {
        name: String::new(),
        width: side(image.width),
        height: side(image.height),
        channels: 3,
        element: ElementType::U8,
    };
    let mut preprocessor = Preprocessor::new(&input, &Preprocessing::imagenet());
    let mut levels = vec![0; preprocessor.output_len()];
    preprocessor.prepare_u8(image.view(), &mut levels)?;
    let plane = input.width * input.height;
    for at in 0..plane {
        let colour = Rgb([levels[at], levels[plane + at], levels[2 * plane + at]]);
        let (x, y) = (at % input.width, at / input.width);
        sheet.put_pixel(left + x as u32, top + y as u32, colour);
    }
    Ok(())
}

/// Writes a line of text whose upper left corner is at left, top.
fn letter(sheet: &mut RgbImage, text: &str, [left, top]: [u32; 2]) -> Result<(), Infallible> {
    let style = MonoTextStyle::new(&FONT_6X12, Rgb888::BLACK);
    let room = (TILE / FONT_6X12.character_size.width) as usize;
    let text: String = text.chars().take(room).collect();
    let at = Point::new(left as i32, top as i32);
    Text::with_baseline(&text, at, style, Baseline::Top).draw(&mut Canvas(sheet))?;
    Ok(())
}

/// An image to draw on.
struct Canvas<'a>(&'a mut RgbImage);

impl OriginDimensions for Canvas<'_> {
    fn size(&self) -> Size {
        Size::new(self.0.width(), self.0.height())
    }
}

impl DrawTarget for Canvas<'_> {
    type Color = Rgb888;
    type Error = Infallible;

    fn draw_iter<I>(&mut self, pixels: I) -> Result<(), Infallible>
    where
        I: IntoIterator<Item = Pixel<Rgb888>>,
    {
        for Pixel(at, colour) in pixels {
            let (Ok(x), Ok(y)) = (u32::try_from(at.x), u32::try_from(at.y)) else {
                continue;
            };
            if let Some(pixel) = self.0.get_pixel_mut_checked(x, y) {
                *pixel = Rgb([colour.r(), colour.g(), colour.b()]);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use image::{GrayImage, Luma};

    #[test]
    fn tiles_and_captions_stand_where_they_belong() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tile.png");
        GrayImage::from_pixel(10, 5, Luma([77]))
            .save(&file)
            .unwrap();
        let tiles = vec![
            Captioned {
                file,
                caption: [
                    "cracks".into(),
                    "-> a very long class name, longer than a tile".into()
                ],
            };
            8
        ];
        let path = folder.path().join("sheet.png");
        write(&path, &tiles).unwrap();
        let sheet = image::open(&path).unwrap().into_rgb8();
        assert_eq!(sheet.dimensions(), (6 * 204, 2 * 232));
        // Twice as wide as high, at the left upper corner of the first cell.
        assert_eq!(sheet.get_pixel(6, 6), &Rgb([77; 3]));
        assert_eq!(sheet.get_pixel(6 + 191, 6 + 95), &Rgb([77; 3]));
        assert_eq!(sheet.get_pixel(6, 6 + 97), &Rgb([255; 3]));
        let black = |area: [u32; 4]| {
            let [left, top, width, height] = area;
            let pixels =
                (top..top + height).flat_map(|y| (left..left + width).map(move |x| (x, y)));
            pixels
                .filter(|&(x, y)| sheet.get_pixel(x, y) == &Rgb([0; 3]))
                .count()
        };
        assert!(
            black([6, 200, 36, 14]) > 30,
            "the first line of the caption"
        );
        assert_eq!(black([42, 200, 150, 13]), 0, "beyond its six letters");
        assert!(black([6, 214, 192, 14]) > 100, "the second line");
        assert_eq!(
            black([198, 214, 12, 14]),
            0,
            "text beyond the tile is cut off"
        );
        // Eight tiles: the ninth cell is empty.
        assert!(black([210, 432, 36, 14]) > 30);
        assert_eq!(black([414, 232, 200, 230]), 0);
    }

    #[test]
    fn a_missing_tile_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let tile = Captioned {
            file: "nowhere/tile.png".into(),
            caption: Default::default(),
        };
        let error = write(&folder.path().join("sheet.png"), &[tile]).unwrap_err();
        assert!(error.to_string().contains("nowhere/tile.png"), "{error}");
    }
}
