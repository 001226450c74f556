//! Parts of a tile, resized.

use millsight_export::preprocess::{ImageView, Kernel, Resizer};
use rand::{Rng, RngExt};

use super::super::DataError;
use super::Owned;

/// How often a random crop is drawn before its fallback is taken.
const TRIES: usize = 10;

/// A part of a tile, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) top: usize,
    pub(super) left: usize,
    pub(super) height: usize,
    pub(super) width: usize,
}

impl Window {
    pub(super) fn whole([height, width]: [usize; 2]) -> Self {
        Self {
            top: 0,
            left: 0,
            height,
            width,
        }
    }
}

/// `RandomResizedCrop.get_params` of torchvision: area and logarithm of the
/// aspect ratio are drawn evenly until the part fits; after ten vain tries it
/// is the largest central part of an aspect ratio within bounds.
pub(super) fn random(
    [height, width]: [usize; 2],
    area: (f64, f64),
    aspect: (f64, f64),
    random: &mut impl Rng,
) -> Window {
    for _ in 0..TRIES {
        let drawn = random.random_range(area.0..=area.1) * (height * width) as f64;
        let ratio = random.random_range(aspect.0.ln()..=aspect.1.ln()).exp();
        let part_width = (drawn * ratio).sqrt().round_ties_even() as usize;
        let part_height = (drawn / ratio).sqrt().round_ties_even() as usize;
        if (1..=width).contains(&part_width) && (1..=height).contains(&part_height) {
            return Window {
                top: random.random_range(0..=height - part_height),
                left: random.random_range(0..=width - part_width),
                height: part_height,
                width: part_width,
            };
        }
    }
    let whole = width as f64 / height as f64;
    let side = |length: f64| (length.round_ties_even() as usize).max(1);
    let (part_height, part_width) = if whole < aspect.0 {
        (side(width as f64 / aspect.0).min(height), width)
    } else if whole > aspect.1 {
        (height, side(height as f64 * aspect.1).min(width))
    } else {
        (height, width)
    };
    Window {
        top: (height - part_height) / 2,
        left: (width - part_width) / 2,
        height: part_height,
        width: part_width,
    }
}

/// A part with the given share of each side, at a random position.
pub(super) fn fixed([height, width]: [usize; 2], share: f64, random: &mut impl Rng) -> Window {
    let side = |length: usize| ((length as f64 * share).round() as usize).clamp(1, length);
    let (part_height, part_width) = (side(height), side(width));
    Window {
        top: random.random_range(0..=height - part_height),
        left: random.random_range(0..=width - part_width),
        height: part_height,
        width: part_width,
    }
}

/// A part of a tile, resized to `target` (height and width) where it has
/// another size.
pub(super) fn resized(
    tile: &Owned,
    window: Window,
    target: [usize; 2],
    kernel: Kernel,
) -> Result<Owned, DataError> {
    let no_tile = |_| DataError::Levels {
        channels: tile.channels,
        size: target,
        got: 0,
    };
    let [height, width] = target;
    if height == 0 || width == 0 {
        return Err(no_tile(()));
    }
    let stride = tile.size[1];
    let mut levels = vec![0; tile.channels * height * width];
    let mut resizer = Resizer::new(width, height, kernel);
    for (plane, output) in tile
        .levels
        .chunks_exact(tile.plane())
        .zip(levels.chunks_exact_mut(height * width))
    {
        let pixels = &plane[window.top * stride + window.left..];
        let part = ImageView::new(window.width, window.height, 1, stride, pixels)
            .map_err(|_| no_tile(()))?;
        resizer.resize(part, 0, output);
    }
    Ok(Owned {
        levels,
        channels: tile.channels,
        size: target,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::data::augment::Change;
    use rand::SeedableRng;
    use rand_pcg::Pcg64;

    #[test]
    fn random_parts_lie_in_the_tile_and_have_the_shares_that_were_asked_for() {
        let mut source = Pcg64::seed_from_u64(1);
        let (mut areas, mut ratios, mut tops) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..2000 {
            let part = random([100, 80], (0.2, 0.6), Change::ASPECT, &mut source);
            assert!(part.top + part.height <= 100 && part.left + part.width <= 80);
            areas.push((part.height * part.width) as f64 / 8000.0);
            ratios.push(part.width as f64 / part.height as f64);
            tops.push(part.top as f64 / (100.0 - part.height as f64).max(1.0));
        }
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        assert!(areas.iter().all(|area| (0.19..=0.62).contains(area)));
        assert!((mean(&areas) - 0.4).abs() < 0.01, "{}", mean(&areas));
        assert!(ratios.iter().all(|ratio| (0.72..=1.39).contains(ratio)));
        assert!((mean(&tops) - 0.5).abs() < 0.03, "{}", mean(&tops));
    }

    /// The numbers that torchvision's fallback gives.
    #[test]
    fn a_tile_too_narrow_for_the_ratio_gives_its_centre() {
        let mut source = Pcg64::seed_from_u64(1);
        let mut part = |size| random(size, (1.0, 1.0), Change::ASPECT, &mut source);
        let window = |top, left, height, width| Window {
            top,
            left,
            height,
            width,
        };
        assert_eq!(part([200, 30]), window(80, 0, 40, 30));
        assert_eq!(part([30, 200]), window(0, 80, 30, 40));
    }

    #[test]
    fn fixed_parts_have_one_size_and_many_positions() {
        let mut source = Pcg64::seed_from_u64(4);
        let parts: Vec<Window> = (0..200)
            .map(|_| fixed([40, 20], 0.75, &mut source))
            .collect();
        assert!(
            parts
                .iter()
                .all(|part| (part.height, part.width) == (30, 15))
        );
        let positions: std::collections::BTreeSet<_> =
            parts.iter().map(|part| (part.top, part.left)).collect();
        assert!(positions.len() > 40, "{}", positions.len());
        assert_eq!(fixed([40, 20], 1.0, &mut source), Window::whole([40, 20]));
    }

    #[test]
    fn a_part_of_the_views_size_keeps_its_levels() {
        let tile = Owned {
            levels: (0..2 * 3 * 3 * 3 * 2)
                .map(|level| level as u8)
                .take(3 * 12)
                .collect(),
            channels: 3,
            size: [4, 3],
        };
        let window = Window {
            top: 1,
            left: 1,
            height: 2,
            width: 2,
        };
        let part = resized(&tile, window, [2, 2], Kernel::Bicubic).unwrap();
        assert_eq!(part.levels, [4, 5, 7, 8, 16, 17, 19, 20, 28, 29, 31, 32]);
        assert!(resized(&tile, window, [0, 2], Kernel::Bicubic).is_err());
    }
}
