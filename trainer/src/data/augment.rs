//! Random changes of a tile, all off by default.
//!
//! * [`words`]: how changes are spelt on the command line.
//! * `crop`: parts of a tile, resized.
//! * `flip`: mirror images.
//! * `levels`: brightness, contrast, colour, solarisation.
//! * `blur`: a Gaussian.
//! * `noise`: of the camera.
//! * `illumination`: lamps that drift, over-expose or leave an edge dark.
//!
//! All levels are of 8 bits, and each change rounds to them and saturates at 0
//! and 255, as a camera does.

mod blur;
mod crop;
mod flip;
mod illumination;
mod levels;
mod noise;
pub mod words;

use millsight_export::preprocess::Kernel;
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use self::crop::Window;
use self::levels::Jitter;
use super::DataError;

/// A random change of a tile.
///
/// Where a change has a `probability`, it is made with that probability, 0 to
/// 1, and else not at all.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Change {
    /// A part of random area, aspect ratio and position, resized to the view:
    /// `RandomResizedCrop` of torchvision.
    RandomCrop {
        /// Least and largest share of the tile's area, above 0 to 1.
        area: (f64, f64),
        /// Least and largest ratio of width to height.
        aspect: (f64, f64),
    },
    /// A part of fixed size at a random position, resized to the view.
    FixedCrop {
        /// Share of the tile's height and of its width, above 0 to 1.
        share: f64,
    },
    /// Mirror left to right.
    FlipHorizontal {
        /// How often.
        probability: f64,
    },
    /// Mirror top to bottom.
    FlipVertical {
        /// How often.
        probability: f64,
    },
    /// Contrast times 1 - 2 s to 1 + 2 s about the tile's mean, then brightness
    /// shifted by up to s of white.
    Brightness {
        /// s, 0 to 0.5.
        strength: f64,
    },
    /// Brightness, contrast, saturation and hue in random order: `ColorJitter`
    /// of torchvision. Grey tiles have neither saturation nor hue.
    Jitter {
        /// The factor of the brightness is 1 less to 1 more this, 0 to 1.
        brightness: f64,
        /// The same of the contrast about the mean.
        contrast: f64,
        /// The same of the distance to grey.
        saturation: f64,
        /// Largest turn of the hue, 0 to 0.5 of the circle.
        hue: f64,
        /// How often.
        probability: f64,
    },
    /// A Gaussian of random width.
    Blur {
        /// Least and largest standard deviation, 0 to [`Change::WIDEST_BLUR`],
        /// in pixels of the tile as it is then: before a crop of its stored ones,
        /// afterwards of the view's.
        sigma: (f64, f64),
        /// How often.
        probability: f64,
    },
    /// Levels from a threshold on are inverted.
    Solarise {
        /// The least level that is inverted.
        threshold: u8,
        /// How often.
        probability: f64,
    },
    /// Normal noise of each pixel and channel.
    Noise {
        /// Largest standard deviation in levels of 255, 0 to 128; each tile's
        /// is drawn evenly from 0 on.
        deviation: f64,
    },
    /// Light that varies smoothly over the tile, now and then so much that it
    /// saturates or leaves an edge dark. Clean steel under such light is easily
    /// taken for a defect.
    Illumination {
        /// 0 to 1: the largest drift is by a factor of e to this power, up or
        /// down.
        strength: f64,
    },
}

impl Change {
    /// Largest standard deviation of a blur, in pixels.
    pub const WIDEST_BLUR: f64 = 32.0;

    /// torchvision's aspect ratios of a random crop.
    pub const ASPECT: (f64, f64) = (3.0 / 4.0, 4.0 / 3.0);

    /// Refuses parameters that are out of range.
    ///
    /// # Errors
    /// With the parameter and its range.
    pub fn check(&self) -> Result<(), DataError> {
        let within = |name: &'static str, value: f64, least: f64, largest: f64| {
            if (least..=largest).contains(&value) {
                return Ok(());
            }
            Err(DataError::Change {
                name,
                range: format!("{least} to {largest}"),
                got: value.to_string(),
            })
        };
        // A crop of no area has no pixel.
        const TINY: f64 = 0.001;
        match *self {
            Self::RandomCrop { area, aspect } => {
                within("the largest area of a crop", area.1, TINY, 1.0)?;
                within("the least area of a crop", area.0, TINY, area.1)?;
                within("the largest aspect ratio of a crop", aspect.1, 0.01, 100.0)?;
                within("the least aspect ratio of a crop", aspect.0, 0.01, aspect.1)
            }
            Self::FixedCrop { share } => within("the share of a crop", share, TINY, 1.0),
            Self::FlipHorizontal { probability } | Self::FlipVertical { probability } => {
                within("the probability of a flip", probability, 0.0, 1.0)
            }
            Self::Brightness { strength } => {
                within("the strength of brightness", strength, 0.0, 0.5)
            }
            Self::Jitter {
                brightness,
                contrast,
                saturation,
                hue,
                probability,
            } => {
                within("the brightness of jitter", brightness, 0.0, 1.0)?;
                within("the contrast of jitter", contrast, 0.0, 1.0)?;
                within("the saturation of jitter", saturation, 0.0, 1.0)?;
                within("the hue of jitter", hue, 0.0, 0.5)?;
                within("the probability of jitter", probability, 0.0, 1.0)
            }
            Self::Blur { sigma, probability } => {
                within(
                    "the largest sigma of a blur",
                    sigma.1,
                    0.0,
                    Self::WIDEST_BLUR,
                )?;
                within("the least sigma of a blur", sigma.0, 0.0, sigma.1)?;
                within("the probability of a blur", probability, 0.0, 1.0)
            }
            Self::Solarise { probability, .. } => {
                within("the probability of solarisation", probability, 0.0, 1.0)
            }
            Self::Noise { deviation } => within("the deviation of noise", deviation, 0.0, 128.0),
            Self::Illumination { strength } => {
                within("the strength of illumination", strength, 0.0, 1.0)
            }
        }
    }

    /// Whether it cuts out a part.
    pub(crate) fn is_crop(&self) -> bool {
        matches!(self, Self::RandomCrop { .. } | Self::FixedCrop { .. })
    }
}

/// The levels of a tile.
#[derive(Debug, Clone, Copy)]
pub struct Tile<'a> {
    /// `[channels, height, width]`.
    pub levels: &'a [u8],
    /// 1 or 3.
    pub channels: usize,
    /// Height and width in pixels.
    pub size: [usize; 2],
}

/// Makes a view of a tile: the changes in their order, and the size of the
/// view, height and width in pixels. Gives levels `[channels, height, width]`.
///
/// A crop resizes to the view. Without one, a tile of another size is first
/// resized as the network's input is at inspection; a tile of that size is not
/// resized at all. The random numbers that are taken depend on the changes and
/// on what was drawn before, never on the levels.
///
/// # Errors
/// When the levels are not those of such a tile.
pub fn apply(
    changes: &[Change],
    tile: Tile<'_>,
    view: [usize; 2],
    random: &mut impl Rng,
) -> Result<Vec<u8>, DataError> {
    let mut tile = Owned::of(tile)?;
    if tile.size != view && !changes.iter().any(Change::is_crop) {
        let whole = Window::whole(tile.size);
        tile = crop::resized(&tile, whole, view, Kernel::Bilinear)?;
    }
    for change in changes {
        match *change {
            Change::RandomCrop { area, aspect } => {
                let window = crop::random(tile.size, area, aspect, random);
                tile = crop::resized(&tile, window, view, Kernel::Bicubic)?;
            }
            Change::FixedCrop { share } => {
                let window = crop::fixed(tile.size, share, random);
                tile = crop::resized(&tile, window, view, Kernel::Bicubic)?;
            }
            Change::FlipHorizontal { probability } => {
                if happens(probability, random) {
                    flip::horizontal(&mut tile);
                }
            }
            Change::FlipVertical { probability } => {
                if happens(probability, random) {
                    flip::vertical(&mut tile);
                }
            }
            Change::Brightness { strength } => {
                let gain = random.random_range(1.0 - 2.0 * strength..=1.0 + 2.0 * strength);
                let shift = random.random_range(-strength..=strength);
                levels::contrast_and_shift(&mut tile, gain, shift * 255.0);
            }
            Change::Jitter {
                brightness,
                contrast,
                saturation,
                hue,
                probability,
            } => {
                if happens(probability, random) {
                    Jitter::draw(brightness, contrast, saturation, hue, random).apply(&mut tile);
                }
            }
            Change::Blur { sigma, probability } => {
                if happens(probability, random) {
                    blur::gaussian(&mut tile, random.random_range(sigma.0..=sigma.1));
                }
            }
            Change::Solarise {
                threshold,
                probability,
            } => {
                if happens(probability, random) {
                    levels::solarise(&mut tile, threshold);
                }
            }
            Change::Noise { deviation } => {
                noise::add(&mut tile, random.random_range(0.0..=deviation), random);
            }
            Change::Illumination { strength } => {
                illumination::Light::draw(strength, random).fall_on(&mut tile);
            }
        }
    }
    Ok(tile.levels)
}

fn happens(probability: f64, random: &mut impl Rng) -> bool {
    random.random::<f64>() < probability
}

/// A tile on its way through the changes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Owned {
    /// `[channels, height, width]`.
    levels: Vec<u8>,
    channels: usize,
    /// Height and width, each at least 1.
    size: [usize; 2],
}

impl Owned {
    fn of(tile: Tile<'_>) -> Result<Self, DataError> {
        let [height, width] = tile.size;
        let expected = tile.channels * height * width;
        if !matches!(tile.channels, 1 | 3) || expected == 0 || tile.levels.len() != expected {
            return Err(DataError::Levels {
                channels: tile.channels,
                size: tile.size,
                got: tile.levels.len(),
            });
        }
        Ok(Self {
            levels: tile.levels.to_vec(),
            channels: tile.channels,
            size: tile.size,
        })
    }

    fn plane(&self) -> usize {
        self.size[0] * self.size[1]
    }

    /// Red, green and blue of each pixel; none of a grey tile.
    fn pixels_mut(&mut self) -> impl Iterator<Item = [&mut u8; 3]> {
        let plane = self.plane();
        let colour = if self.channels == 3 { plane } else { 0 };
        let (red, rest) = self.levels[..3 * colour].split_at_mut(colour);
        let (green, blue) = rest.split_at_mut(colour);
        red.iter_mut()
            .zip(green)
            .zip(blue)
            .map(|((red, green), blue)| [red, green, blue])
    }
}

/// The nearest level; a cast saturates at 0 and 255.
fn level(value: f64) -> u8 {
    value.round() as u8
}

#[cfg(test)]
mod tests;
