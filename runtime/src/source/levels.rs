//! From pixels as a camera encodes them to grey levels of 8 bits.

use millsight_export::preprocess::brightness;
use millsight_firmware_config::{LevelWindow, PixelFormat};

/// How the lines of a camera become levels.
///
/// * 8 bits grey stay as they are.
/// * 10, 12 and 16 bits, in the low bits of two bytes (least significant first), lose
///   their lowest bits; or, with a window, black becomes 0 and white 255, with whole
///   numbers between, rounded to the nearest.
/// * Colour becomes its brightness, as in `export::preprocess`.
#[derive(Debug)]
pub struct CameraLevels {
    format: PixelFormat,
    /// Level of each sample of two bytes.
    table: Vec<u8>,
    levels: Vec<u8>,
}

impl CameraLevels {
    /// For a format, and the window of a station where it has one.
    pub fn new(format: PixelFormat, window: Option<LevelWindow>) -> Self {
        let table = match format.bytes() {
            2 => (0..=u16::MAX)
                .map(|sample| level(sample, format.bits(), window))
                .collect(),
            _ => Vec::new(),
        };
        Self {
            format,
            table,
            levels: Vec::new(),
        }
    }

    /// The levels of lines of `width` pixels that begin every `bytes_per_line` bytes; of
    /// what is no whole line any more nothing. Where the bytes are levels already they are
    /// not copied.
    pub fn of<'a>(&'a mut self, bytes: &'a [u8], width: usize, bytes_per_line: usize) -> &'a [u8] {
        let whole = width * self.format.bytes();
        if self.format == PixelFormat::Mono8 && bytes_per_line == width {
            return &bytes[..bytes.len() / width.max(1) * width];
        }
        self.levels.clear();
        for line in bytes.chunks(bytes_per_line.max(1)) {
            let Some(line) = line.get(..whole) else {
                break;
            };
            match self.format {
                PixelFormat::Mono8 => self.levels.extend_from_slice(line),
                PixelFormat::Mono10 | PixelFormat::Mono12 | PixelFormat::Mono16 => {
                    let samples = line.as_chunks::<2>().0.iter();
                    let table = &self.table;
                    self.levels.extend(
                        samples.map(|bytes| table[usize::from(u16::from_le_bytes(*bytes))]),
                    );
                }
                PixelFormat::Rgb8 => {
                    let pixels = line.as_chunks::<3>().0.iter();
                    self.levels.extend(pixels.map(|pixel| brightness(*pixel)));
                }
                PixelFormat::Bgr8 => {
                    let pixels = line.as_chunks::<3>().0.iter();
                    let levels = pixels.map(|&[blue, green, red]| brightness([red, green, blue]));
                    self.levels.extend(levels);
                }
            }
        }
        &self.levels
    }
}

/// The level of a sample of `bits` bits.
fn level(sample: u16, bits: u32, window: Option<LevelWindow>) -> u8 {
    let most = ((1u32 << bits) - 1) as u16;
    let sample = sample.min(most);
    let Some(LevelWindow { black, white }) = window else {
        return (sample >> (bits - 8)) as u8;
    };
    let (above, range) = (
        sample.saturating_sub(black),
        white.saturating_sub(black).max(1),
    );
    let scaled = (u32::from(above) * 255 + u32::from(range) / 2) / u32::from(range);
    scaled.min(255) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn levels(format: PixelFormat, window: Option<LevelWindow>, bytes: &[u8]) -> Vec<u8> {
        let width = bytes.len() / format.bytes();
        let mut levels = CameraLevels::new(format, window);
        levels.of(bytes, width, bytes.len()).to_vec()
    }

    fn deep(samples: &[u16]) -> Vec<u8> {
        samples
            .iter()
            .flat_map(|sample| sample.to_le_bytes())
            .collect()
    }

    #[test]
    fn deep_pixels_lose_their_lowest_bits() {
        let ten = deep(&[0, 3, 4, 1023, 0xffff]);
        assert_eq!(levels(PixelFormat::Mono10, None, &ten), [0, 0, 1, 255, 255]);
        let twelve = deep(&[15, 16, 4095]);
        assert_eq!(levels(PixelFormat::Mono12, None, &twelve), [0, 1, 255]);
        let sixteen = deep(&[255, 256, 0xffff]);
        assert_eq!(levels(PixelFormat::Mono16, None, &sixteen), [0, 1, 255]);
    }

    #[test]
    fn a_window_spreads_what_matters_over_all_levels() {
        let window = Some(LevelWindow {
            black: 100,
            white: 610,
        });
        // Two steps of the camera for one level, rounded to the nearest.
        let samples = deep(&[0, 100, 101, 102, 355, 610, 1000]);
        let found = levels(PixelFormat::Mono10, window, &samples);
        assert_eq!(found, [0, 0, 1, 1, 128, 255, 255]);
    }

    #[test]
    fn colour_becomes_its_brightness() {
        let pixel = [200, 100, 50];
        let grey = brightness(pixel);
        assert_eq!(levels(PixelFormat::Rgb8, None, &pixel), [grey]);
        assert_eq!(levels(PixelFormat::Bgr8, None, &[50, 100, 200]), [grey]);
        assert_ne!(levels(PixelFormat::Bgr8, None, &pixel), [grey]);
    }

    #[test]
    fn what_fills_lines_up_is_left_out_and_so_is_half_a_line() {
        let bytes = [1, 2, 9, 3, 4, 9, 5];
        let mut grey = CameraLevels::new(PixelFormat::Mono8, None);
        assert_eq!(grey.of(&bytes, 2, 3), [1, 2, 3, 4]);
        let whole = grey.of(&bytes, 2, 2);
        assert_eq!(whole, [1, 2, 9, 3, 4, 9]);
        assert_eq!(whole.as_ptr(), bytes.as_ptr(), "not copied");
    }
}
