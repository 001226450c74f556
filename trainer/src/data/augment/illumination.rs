//! Lamps that drift, over-expose or leave an edge dark.
//!
//! Every pixel is multiplied by a gain that varies smoothly over the tile, so
//! that clean steel is seen under the light that most easily makes it look like
//! a defect:
//!
//! * always a drift, a polynomial of second order in the logarithm of the gain;
//! * in one tile of four a lamp that is too bright: a Gaussian about a random
//!   place, in which the tile saturates where the strength allows it;
//! * in one tile of four an edge that falls into darkness.

use rand::{Rng, RngExt};

use super::{Owned, level};

/// Share of the tiles with a lamp that is too bright, and of those with a dark
/// edge.
const SPECIAL: f64 = 0.25;

/// What was drawn for one tile. Places are measured from -1 to 1 from one edge
/// of the tile to the other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Light {
    /// Of x, y, x², y² and xy in the logarithm of the gain.
    drift: [f64; 5],
    lamp: Option<Lamp>,
    edge: Option<Edge>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Lamp {
    /// x and y of its centre.
    centre: [f64; 2],
    /// Standard deviation along x and y.
    width: [f64; 2],
    /// The tile's mean is brought to white, at the centre, times this share of
    /// the way in the logarithm; above 1 beyond it.
    share: f64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Edge {
    /// 0 left, 1 right, 2 top, 3 bottom.
    side: usize,
    /// How far it reaches in.
    reach: f64,
    /// What is taken from the gain at the edge itself, 0 to 1.
    loss: f64,
}

impl Light {
    /// Light of a strength of 0 (even) to 1.
    pub(super) fn draw(strength: f64, random: &mut impl Rng) -> Self {
        let raw: [f64; 5] = std::array::from_fn(|_| random.random_range(-1.0..=1.0));
        // The polynomial is nowhere larger than the sum of its coefficients.
        let sum: f64 = raw.iter().map(|value| value.abs()).sum();
        let size = strength * random.random::<f64>() / sum.max(f64::MIN_POSITIVE);
        let drift = raw.map(|value| value * size);
        let lamp = (random.random::<f64>() < SPECIAL).then(|| Lamp {
            centre: std::array::from_fn(|_| random.random_range(-1.2..=1.2)),
            width: std::array::from_fn(|_| random.random_range(0.3..=1.2)),
            share: strength * random.random_range(1.0..=2.0),
        });
        let edge = (random.random::<f64>() < SPECIAL).then(|| Edge {
            side: random.random_range(0..4),
            reach: random.random_range(0.1..=1.0),
            loss: strength * random.random_range(0.5..=1.0),
        });
        Self { drift, lamp, edge }
    }

    pub(super) fn fall_on(self, tile: &mut Owned) {
        let [height, width] = tile.size;
        let plane = tile.plane();
        let sum: u64 = tile.levels.iter().map(|&level| u64::from(level)).sum();
        let mean = sum as f64 / tile.levels.len() as f64;
        // Of a black tile there is nothing to be made.
        let to_white = (255.0 / mean.max(1.0)).ln();
        let place = |index: usize, length: usize| (2 * index + 1) as f64 / length as f64 - 1.0;
        for y in 0..height {
            for x in 0..width {
                let gain = self.gain([place(x, width), place(y, height)], to_white);
                for value in tile.levels[y * width + x..].iter_mut().step_by(plane) {
                    *value = level(f64::from(*value) * gain);
                }
            }
        }
    }

    fn gain(&self, [x, y]: [f64; 2], to_white: f64) -> f64 {
        let powers = [x, y, x * x, y * y, x * y];
        let mut exponent: f64 = self.drift.iter().zip(powers).map(|(a, b)| a * b).sum();
        if let Some(lamp) = self.lamp {
            let distance =
                |at: f64, axis: usize| ((at - lamp.centre[axis]) / lamp.width[axis]).powi(2);
            exponent += lamp.share * to_white * (-0.5 * (distance(x, 0) + distance(y, 1))).exp();
        }
        let kept = self.edge.map_or(1.0, |edge| {
            let from_edge = [1.0 + x, 1.0 - x, 1.0 + y, 1.0 - y][edge.side];
            let inward = (from_edge / edge.reach).min(1.0);
            // A smooth step: flat at the edge and where it ends.
            1.0 - edge.loss * (1.0 - inward * inward * (3.0 - 2.0 * inward))
        });
        exponent.exp() * kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_pcg::Pcg64;

    fn even(level: u8) -> Owned {
        Owned {
            levels: vec![level; 3 * 64 * 64],
            channels: 3,
            size: [64, 64],
        }
    }

    fn lit(light: Light) -> Vec<u8> {
        let mut tile = even(100);
        light.fall_on(&mut tile);
        let planes: Vec<&[u8]> = tile.levels.chunks_exact(64 * 64).collect();
        // All channels see the same light.
        assert!(planes.iter().all(|plane| *plane == planes[0]));
        planes[0].to_vec()
    }

    #[test]
    fn a_drift_stays_within_its_strength_and_has_no_steps() {
        let mut random = Pcg64::seed_from_u64(5);
        let mut widest = 0f64;
        for _ in 0..200 {
            let light = Light {
                lamp: None,
                edge: None,
                ..Light::draw(0.5, &mut random)
            };
            let levels = lit(light);
            for pair in levels.chunks_exact(64).flat_map(|row| row.windows(2)) {
                assert!(pair[0].abs_diff(pair[1]) < 8);
            }
            for level in levels {
                let change = (f64::from(level) / 100.0).ln();
                assert!(change.abs() < 0.51, "{change}");
                widest = widest.max(change.abs());
            }
        }
        assert!(widest > 0.3, "{widest}");
    }

    #[test]
    fn a_lamp_saturates_and_an_edge_falls_into_darkness() {
        let dark = Light {
            drift: [0.0; 5],
            lamp: None,
            edge: None,
        };
        assert_eq!(lit(dark), [100; 64 * 64]);
        let lamp = Lamp {
            centre: [-0.5, 0.0],
            width: [0.3, 0.6],
            share: 1.5,
        };
        let levels = lit(Light {
            lamp: Some(lamp),
            ..dark
        });
        assert_eq!(levels[32 * 64 + 15], 255);
        assert_eq!(levels[32 * 64 + 63], 100);
        for side in 0..4 {
            let edge = Edge {
                side,
                reach: 0.5,
                loss: 0.9,
            };
            let levels = lit(Light {
                edge: Some(edge),
                ..dark
            });
            let borders = [32 * 64, 32 * 64 + 63, 32, 63 * 64 + 32].map(|place| levels[place]);
            for (border, level) in borders.into_iter().enumerate() {
                assert!(if border == side {
                    level < 15
                } else {
                    level == 100
                });
            }
        }
    }

    #[test]
    fn both_happen_in_a_quarter_of_the_tiles_and_nothing_at_strength_0() {
        let mut random = Pcg64::seed_from_u64(6);
        let drawn: Vec<Light> = (0..1000).map(|_| Light::draw(1.0, &mut random)).collect();
        let lamps = drawn.iter().filter(|light| light.lamp.is_some()).count();
        let edges = drawn.iter().filter(|light| light.edge.is_some()).count();
        assert!((200..300).contains(&lamps) && (200..300).contains(&edges));
        let saturated = drawn
            .iter()
            .filter(|light| lit(**light).contains(&255))
            .count();
        assert!(saturated > 80, "{saturated}");
        for _ in 0..50 {
            assert_eq!(lit(Light::draw(0.0, &mut random)), [100; 64 * 64]);
        }
    }
}
