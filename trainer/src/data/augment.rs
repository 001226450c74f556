//! Random changes of a prepared tile, all off by default.

use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

/// Largest relative change of contrast.
const CONTRAST: f32 = 0.2;
/// Largest change of brightness, in levels of 255.
const BRIGHTNESS: f32 = 0.1 * 255.0;

/// A kind of change.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Augmentation {
    /// Mirror left to right and top to bottom, each with probability 1/2.
    Flips,
    /// Contrast times 0.8 to 1.2 about the tile's mean, then brightness
    /// shifted by up to 10 % of white.
    Brightness,
}

/// Changes a tile of `[channels, height, width]` levels in place; `size` is
/// height, width.
pub fn apply(kinds: &[Augmentation], tile: &mut [u8], size: [usize; 2], random: &mut impl Rng) {
    let [height, width] = size;
    if kinds.contains(&Augmentation::Flips) {
        if random.random() {
            for row in tile.chunks_exact_mut(width) {
                row.reverse();
            }
        }
        if random.random() {
            for plane in tile.chunks_exact_mut(height * width) {
                flip_rows(plane, height, width);
            }
        }
    }
    if kinds.contains(&Augmentation::Brightness) {
        let gain = 1.0 + random.random_range(-CONTRAST..=CONTRAST);
        let offset = random.random_range(-BRIGHTNESS..=BRIGHTNESS);
        change_levels(tile, gain, offset);
    }
}

fn flip_rows(plane: &mut [u8], height: usize, width: usize) {
    let (top, bottom) = plane.split_at_mut(height.div_ceil(2) * width);
    for (upper, lower) in top
        .chunks_exact_mut(width)
        .zip(bottom.rchunks_exact_mut(width))
    {
        upper.swap_with_slice(lower);
    }
}

fn change_levels(tile: &mut [u8], gain: f32, offset: f32) {
    let sum: u64 = tile.iter().map(|&level| u64::from(level)).sum();
    let mean = sum as f32 / tile.len().max(1) as f32;
    let mut levels = [0u8; 256];
    for (level, changed) in levels.iter_mut().enumerate() {
        // A float cast saturates at 0 and 255.
        *changed = ((level as f32 - mean) * gain + mean + offset).round() as u8;
    }
    for level in tile {
        *level = levels[usize::from(*level)];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_pcg::Pcg64;

    #[test]
    fn flips_give_the_four_mirror_images() {
        let tile = [1, 2, 3, 4, 5, 6, 7, 8, 9];
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..40 {
            let mut flipped = tile;
            apply(
                &[Augmentation::Flips],
                &mut flipped,
                [3, 3],
                &mut Pcg64::seed_from_u64(seed),
            );
            seen.insert(flipped);
        }
        let expected = [
            [1, 2, 3, 4, 5, 6, 7, 8, 9],
            [3, 2, 1, 6, 5, 4, 9, 8, 7],
            [7, 8, 9, 4, 5, 6, 1, 2, 3],
            [9, 8, 7, 6, 5, 4, 3, 2, 1],
        ];
        assert_eq!(seen, expected.into_iter().collect());
    }

    #[test]
    fn contrast_keeps_the_mean_and_saturates() {
        let mut tile = [0, 100, 200, 100];
        change_levels(&mut tile, 1.2, 0.0);
        assert_eq!(tile, [0, 100, 220, 100]);
        change_levels(&mut tile, 1.0, 60.0);
        assert_eq!(tile, [60, 160, 255, 160]);
    }

    #[test]
    fn nothing_changes_by_default() {
        let mut tile = [1, 2, 3, 4];
        apply(&[], &mut tile, [2, 2], &mut Pcg64::seed_from_u64(1));
        assert_eq!(tile, [1, 2, 3, 4]);
    }
}
