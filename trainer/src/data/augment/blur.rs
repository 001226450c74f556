//! A Gaussian.

use super::{Owned, level};

/// Blurs each channel by a Gaussian of the standard deviation `sigma` in
/// pixels, cut off at three of them. Beyond the tile its border is repeated.
pub(super) fn gaussian(tile: &mut Owned, sigma: f64) {
    let weights = weights(sigma);
    let [height, width] = tile.size;
    let mut rows = vec![0f32; height * width];
    for plane in tile.levels.chunks_exact_mut(height * width) {
        for (row, blurred) in plane.chunks_exact(width).zip(rows.chunks_exact_mut(width)) {
            for (x, value) in blurred.iter_mut().enumerate() {
                *value = around(x, width, &weights, |x| f32::from(row[x]));
            }
        }
        for (place, value) in plane.iter_mut().enumerate() {
            let (y, x) = (place / width, place % width);
            let blurred = around(y, height, &weights, |y| rows[y * width + x]);
            *value = level(f64::from(blurred));
        }
    }
}

/// Weights of a pixel and of its neighbours at growing distance; all of them,
/// with those on the other side, sum to 1.
fn weights(sigma: f64) -> Vec<f32> {
    if sigma <= 0.0 {
        return vec![1.0];
    }
    let reach = (3.0 * sigma).ceil() as i32;
    let raw: Vec<f64> = (0..=reach)
        .map(|distance| (-0.5 * (f64::from(distance) / sigma).powi(2)).exp())
        .collect();
    let sum = 2.0 * raw.iter().sum::<f64>() - 1.0;
    raw.into_iter()
        .map(|weight| (weight / sum) as f32)
        .collect()
}

fn around(centre: usize, length: usize, weights: &[f32], value: impl Fn(usize) -> f32) -> f32 {
    let neighbours = weights.iter().enumerate().skip(1);
    let sides = neighbours.map(|(distance, weight)| {
        let before = value(centre.saturating_sub(distance));
        let after = value((centre + distance).min(length - 1));
        weight * (before + after)
    });
    weights[0] * value(centre) + sides.sum::<f32>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point() -> Owned {
        let mut levels = vec![0; 31 * 31];
        levels[15 * 31 + 15] = 255;
        Owned {
            levels,
            channels: 1,
            size: [31, 31],
        }
    }

    #[test]
    fn a_point_becomes_a_gaussian_of_the_width_that_was_asked_for() {
        let mut tile = point();
        gaussian(&mut tile, 1.5);
        // 255 over 2 pi sigma squared, and e^(-1/2) of it one sigma away.
        let peak = 255.0 / (2.0 * std::f64::consts::PI * 2.25);
        assert!((f64::from(tile.levels[15 * 31 + 15]) - peak).abs() < 1.0);
        let away = peak * (-0.5 * (3.0f64 / 1.5).powi(2)).exp();
        assert!((f64::from(tile.levels[15 * 31 + 18]) - away).abs() < 1.0);
        assert_eq!(tile.levels[15 * 31 + 18], tile.levels[12 * 31 + 15]);
    }

    #[test]
    fn even_light_stays_and_no_width_changes_nothing() {
        let even = Owned {
            levels: vec![77; 3 * 5 * 4],
            channels: 3,
            size: [5, 4],
        };
        let mut tile = even.clone();
        gaussian(&mut tile, 9.0);
        assert_eq!(tile, even);
        for sigma in [0.0, 1e-6] {
            let mut tile = point();
            gaussian(&mut tile, sigma);
            assert_eq!(tile, point());
        }
    }
}
