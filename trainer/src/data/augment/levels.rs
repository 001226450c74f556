//! Brightness, contrast, colour and solarisation.
//!
//! The arithmetic is that of torchvision's `adjust_*` on 8-bit images, except
//! that results are rounded to the nearest level where torchvision cuts off the
//! fraction, which darkens by half a level each time.

use millsight_export::preprocess::brightness;
use rand::seq::SliceRandom;
use rand::{Rng, RngExt};

use super::{Owned, level};

/// Contrast about the mean of all levels, then a shift in levels.
pub(super) fn contrast_and_shift(tile: &mut Owned, gain: f64, shift: f64) {
    let sum: u64 = tile.levels.iter().map(|&level| u64::from(level)).sum();
    let mean = sum as f64 / tile.levels.len() as f64;
    map(tile, |value| (value - mean) * gain + mean + shift);
}

/// Inverts the levels from `threshold` on.
pub(super) fn solarise(tile: &mut Owned, threshold: u8) {
    for level in &mut tile.levels {
        if *level >= threshold {
            *level = 255 - *level;
        }
    }
}

fn map(tile: &mut Owned, change: impl Fn(f64) -> f64) {
    let table: [u8; 256] = std::array::from_fn(|value| level(change(value as f64)));
    for level in &mut tile.levels {
        *level = table[usize::from(*level)];
    }
}

/// One draw of torchvision's `ColorJitter`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Jitter {
    order: [Step; 4],
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Step {
    /// Times a factor.
    Brightness(f64),
    /// The distance to the mean brightness times a factor.
    Contrast(f64),
    /// The distance to the pixel's brightness times a factor.
    Saturation(f64),
    /// A turn of the hue, as a share of the circle.
    Hue(f64),
}

impl Jitter {
    /// Factors of 1 less to 1 more than the first three arguments, and a turn of
    /// at most `hue`, in random order.
    pub(super) fn draw(
        brightness: f64,
        contrast: f64,
        saturation: f64,
        hue: f64,
        random: &mut impl Rng,
    ) -> Self {
        let mut factor =
            |strength: f64| random.random_range((1.0 - strength).max(0.0)..=1.0 + strength);
        let mut order = [
            Step::Brightness(factor(brightness)),
            Step::Contrast(factor(contrast)),
            Step::Saturation(factor(saturation)),
            Step::Hue(random.random_range(-hue..=hue)),
        ];
        order.shuffle(random);
        Self { order }
    }

    pub(super) fn apply(self, tile: &mut Owned) {
        for step in self.order {
            match step {
                Step::Brightness(factor) => map(tile, |value| value * factor),
                Step::Contrast(factor) => {
                    let mean = mean_brightness(tile);
                    map(tile, |value| mean + (value - mean) * factor);
                }
                Step::Saturation(factor) => {
                    for pixel in tile.pixels_mut() {
                        let [red, green, blue] = &pixel;
                        let grey = f64::from(brightness([**red, **green, **blue]));
                        for value in pixel {
                            *value = level(grey + (f64::from(*value) - grey) * factor);
                        }
                    }
                }
                // A turn of 0 would round all the same.
                Step::Hue(0.0) => {}
                Step::Hue(turn) => {
                    for [red, green, blue] in tile.pixels_mut() {
                        [*red, *green, *blue] = turned([*red, *green, *blue], turn);
                    }
                }
            }
        }
    }
}

fn mean_brightness(tile: &mut Owned) -> f64 {
    let count = tile.plane() as f64;
    let sum: u64 = match tile.channels {
        3 => tile
            .pixels_mut()
            .map(|[red, green, blue]| u64::from(brightness([*red, *green, *blue])))
            .sum(),
        _ => tile.levels.iter().copied().map(u64::from).sum(),
    };
    sum as f64 / count
}

/// A pixel with its hue turned by a share of the circle; its value and
/// saturation stay (Smith, 1978: the hexcone model).
fn turned(pixel: [u8; 3], turn: f64) -> [u8; 3] {
    let [red, green, blue] = pixel.map(f64::from);
    let value = red.max(green).max(blue);
    let chroma = value - red.min(green).min(blue);
    if chroma == 0.0 {
        return pixel;
    }
    // In sixths of the circle, from red over green to blue.
    let hue = if value == red {
        (green - blue) / chroma
    } else if value == green {
        2.0 + (blue - red) / chroma
    } else {
        4.0 + (red - green) / chroma
    };
    let hue = hue + 6.0 * turn;
    [5.0, 3.0, 1.0].map(|offset| {
        let sixth = (offset + hue).rem_euclid(6.0);
        level(value - chroma * sixth.min(4.0 - sixth).clamp(0.0, 1.0))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_pcg::Pcg64;

    fn grey(levels: &[u8]) -> Owned {
        Owned {
            levels: levels.to_vec(),
            channels: 1,
            size: [1, levels.len()],
        }
    }

    fn colour(pixel: [u8; 3]) -> Owned {
        Owned {
            levels: pixel.to_vec(),
            channels: 3,
            size: [1, 1],
        }
    }

    fn only(step: Step) -> Jitter {
        let none = Step::Hue(0.0);
        Jitter {
            order: [none, step, none, none],
        }
    }

    #[test]
    fn contrast_keeps_the_mean_and_saturates() {
        let mut tile = grey(&[0, 100, 200, 100]);
        contrast_and_shift(&mut tile, 1.2, 0.0);
        assert_eq!(tile.levels, [0, 100, 220, 100]);
        contrast_and_shift(&mut tile, 1.0, 60.0);
        assert_eq!(tile.levels, [60, 160, 255, 160]);
    }

    #[test]
    fn solarisation_inverts_from_the_threshold_on() {
        let mut tile = grey(&[0, 127, 128, 255]);
        solarise(&mut tile, 128);
        assert_eq!(tile.levels, [0, 127, 127, 0]);
    }

    #[test]
    fn each_step_of_the_jitter_does_what_it_says() {
        let mut tile = grey(&[10, 100, 220]);
        only(Step::Brightness(1.4)).apply(&mut tile);
        assert_eq!(tile.levels, [14, 140, 255]);
        let mut tile = grey(&[10, 100, 220]);
        only(Step::Contrast(0.5)).apply(&mut tile);
        assert_eq!(tile.levels, [60, 105, 165]);
        // Grey has neither saturation nor hue.
        only(Step::Saturation(0.0)).apply(&mut tile);
        only(Step::Hue(0.3)).apply(&mut tile);
        assert_eq!(tile.levels, [60, 105, 165]);

        let mut tile = colour([200, 100, 50]);
        only(Step::Saturation(0.0)).apply(&mut tile);
        assert_eq!(tile.levels, [124; 3]);
        let mut tile = colour([200, 100, 50]);
        only(Step::Saturation(1.4)).apply(&mut tile);
        assert_eq!(tile.levels, [230, 90, 20]);
    }

    /// `colorsys.hsv_to_rgb` of Python gives these.
    #[test]
    fn a_third_of_the_circle_leads_from_red_to_green() {
        assert_eq!(turned([200, 100, 50], 1.0 / 3.0), [50, 200, 100]);
        assert_eq!(turned([200, 100, 50], -1.0 / 3.0), [100, 50, 200]);
        assert_eq!(turned([200, 100, 50], 0.5), [50, 150, 200]);
        assert_eq!(turned([200, 100, 50], 0.1), [200, 190, 50]);
        assert_eq!(turned([80, 80, 80], 0.4), [80; 3]);
    }

    #[test]
    fn factors_stay_in_their_ranges_and_the_order_changes() {
        let mut random = Pcg64::seed_from_u64(2);
        let mut first = std::collections::BTreeSet::new();
        let mut brightest = 1.0f64;
        for _ in 0..300 {
            let jitter = Jitter::draw(0.4, 0.3, 0.2, 0.1, &mut random);
            for (place, step) in jitter.order.into_iter().enumerate() {
                let (name, value, range) = match step {
                    Step::Brightness(value) => ("brightness", value, 0.6..=1.4),
                    Step::Contrast(value) => ("contrast", value, 0.7..=1.3),
                    Step::Saturation(value) => ("saturation", value, 0.8..=1.2),
                    Step::Hue(value) => ("hue", value, -0.1..=0.1),
                };
                assert!(range.contains(&value), "{name} {value}");
                if place == 0 {
                    first.insert(name);
                }
                if name == "brightness" {
                    brightest = brightest.max(value);
                }
            }
        }
        assert_eq!(first.len(), 4);
        assert!(brightest > 1.35, "{brightest}");
    }
}
