//! Seeded random numbers: one independent stream for each thing that is drawn.

use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};
use rand_pcg::Pcg64Mcg;

/// Mixes a seed and a path of indices into one 64-bit number.
///
/// The finaliser is that of SplitMix64 (Steele, Lea, Flood: "Fast splittable
/// pseudorandom number generators", OOPSLA 2014).
pub(super) fn mix(seed: u64, path: &[u64]) -> u64 {
    let mut state = finalise(seed ^ 0x9E37_79B9_7F4A_7C15);
    for &step in path {
        state = finalise(
            state
                .rotate_left(23)
                .wrapping_add(step)
                .wrapping_add(0x9E37_79B9_7F4A_7C15),
        );
    }
    state
}

fn finalise(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

/// A stream of random numbers that depends on nothing but its seed and path.
pub(super) struct Dice(Pcg64Mcg);

impl Dice {
    pub(super) fn new(seed: u64, path: &[u64]) -> Self {
        let low = u128::from(mix(seed, path));
        let high = u128::from(mix(!seed, path));
        Self(Pcg64Mcg::new(high << 64 | low))
    }

    /// Uniform in [0, 1).
    pub(super) fn unit(&mut self) -> f32 {
        self.0.random::<f32>()
    }

    /// Uniform in [low, high).
    pub(super) fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }

    /// Log-uniform in [low, high): equal odds for equal ratios.
    pub(super) fn ratio_between(&mut self, low: f32, high: f32) -> f32 {
        low * (high / low).powf(self.unit())
    }

    /// Normal with mean 0 and standard deviation 1.
    pub(super) fn normal(&mut self) -> f32 {
        StandardNormal.sample(&mut self.0)
    }

    /// Exponential with mean 1.
    pub(super) fn exponential(&mut self) -> f32 {
        -(1.0 - self.unit()).max(f32::MIN_POSITIVE).ln()
    }

    pub(super) fn chance(&mut self, probability: f32) -> bool {
        self.unit() < probability
    }

    /// Uniform in 0..count; `count` must not be 0.
    pub(super) fn index(&mut self, count: usize) -> usize {
        self.0.random_range(0..count)
    }

    /// +1 or −1.
    pub(super) fn sign(&mut self) -> f32 {
        if self.chance(0.5) { 1.0 } else { -1.0 }
    }

    pub(super) fn angle(&mut self) -> f32 {
        self.between(0.0, std::f32::consts::TAU)
    }

    pub(super) fn seed(&mut self) -> u64 {
        self.0.random::<u64>()
    }
}
