//! Noise of the camera.

use rand::{Rng, RngExt};
use rand_distr::StandardNormal;

use super::{Owned, level};

/// Adds normal noise of a standard deviation in levels to each pixel and
/// channel.
pub(super) fn add(tile: &mut Owned, deviation: f64, random: &mut impl Rng) {
    for value in &mut tile.levels {
        let noise: f64 = random.sample(StandardNormal);
        *value = level(f64::from(*value) + deviation * noise);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_pcg::Pcg64;

    #[test]
    fn noise_has_the_deviation_that_was_asked_for_and_saturates() {
        let even = |level| Owned {
            levels: vec![level; 100 * 100],
            channels: 1,
            size: [100, 100],
        };
        let mut tile = even(128);
        add(&mut tile, 8.0, &mut Pcg64::seed_from_u64(3));
        let count = tile.levels.len() as f64;
        let mean = tile
            .levels
            .iter()
            .map(|&level| f64::from(level))
            .sum::<f64>()
            / count;
        let squares = tile
            .levels
            .iter()
            .map(|&level| (f64::from(level) - mean).powi(2));
        let deviation = (squares.sum::<f64>() / count).sqrt();
        assert!((mean - 128.0).abs() < 0.3, "{mean}");
        assert!((deviation - 8.0).abs() < 0.2, "{deviation}");
        for edge in [0, 255] {
            let mut tile = even(edge);
            add(&mut tile, 8.0, &mut Pcg64::seed_from_u64(3));
            let same = tile.levels.iter().filter(|&&level| level == edge).count();
            assert!((4500..6000).contains(&same), "{same}");
            assert!(tile.levels.iter().all(|level| level.abs_diff(edge) < 60));
        }
        let mut tile = even(128);
        add(&mut tile, 0.0, &mut Pcg64::seed_from_u64(3));
        assert_eq!(tile, even(128));
    }
}
