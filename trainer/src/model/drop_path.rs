//! Stochastic depth (Huang et al., "Deep Networks with Stochastic Depth",
//! 2016): what a block would add is left out for some of the images.

use burn::tensor::{Device, Tensor, TensorData};
use rand::RngExt;

use crate::data::order::{Stream, generator};

/// How often each block's two branches are dropped.
#[derive(Debug, Clone, PartialEq)]
pub struct DropPath {
    /// For each block a probability, 0 to below 1.
    rates: Vec<f32>,
}

/// Factors of the branches in one forward pass: for each block that may be
/// dropped those of its attention and of its MLP, `[n, 1, 1]` each.
#[derive(Debug, Clone)]
pub struct Factors(Vec<Option<[Tensor<3>; 2]>>);

impl DropPath {
    /// Rates that rise linearly from 0 in the first block to `rate` in the
    /// last one, as in timm and DINO; `None` when nothing is ever dropped.
    pub fn new(rate: f64, depth: usize) -> Option<Self> {
        let last = depth.saturating_sub(1).max(1) as f64;
        let rates: Vec<f32> = (0..depth)
            .map(|block| (rate * block as f64 / last) as f32)
            .collect();
        rates
            .iter()
            .any(|rate| *rate > 0.0)
            .then_some(Self { rates })
    }

    /// The rate of each block.
    pub fn rates(&self) -> &[f32] {
        &self.rates
    }

    /// Numbers that decide over one image: two for each block that may be
    /// dropped.
    pub fn draws(&self) -> usize {
        2 * self.rates.iter().filter(|rate| **rate > 0.0).count()
    }

    /// Draws for `views` forward passes of one image, of length
    /// [`DropPath::draws`] each. They follow from the seed, the epoch and the
    /// image's `position` in it, and not from who computes them.
    pub fn draw(&self, views: usize, seed: u64, epoch: usize, position: usize) -> Vec<Vec<f32>> {
        let number = (epoch as u64) << 32 | position as u64;
        let mut random = generator(seed, Stream::DropPath, number);
        let mut view = || (0..self.draws()).map(|_| random.random()).collect();
        (0..views).map(|_| view()).collect()
    }

    /// Factors from uniform numbers in 0 to 1, for each image
    /// [`DropPath::draws`] in the order of the blocks, attention before MLP:
    /// a branch stays when `1 - rate + u` is at least 1, and is then divided
    /// by `1 - rate`.
    pub fn factors(&self, uniforms: &[&[f32]], device: &Device) -> Factors {
        let mut next = 0;
        let mut branch = |rate: f32| {
            let stays = 1.0 - rate;
            let factor = |uniforms: &&[f32]| (stays + uniforms[next]).floor() / stays;
            let factors: Vec<f32> = uniforms.iter().map(factor).collect();
            next += 1;
            Tensor::from_data(TensorData::new(factors, [uniforms.len(), 1, 1]), device)
        };
        let block = |rate: &f32| (*rate > 0.0).then(|| [branch(*rate), branch(*rate)]);
        Factors(self.rates.iter().map(block).collect())
    }
}

impl Factors {
    /// Those of one block, counted from 0.
    pub fn block(&self, number: usize) -> Option<&[Tensor<3>; 2]> {
        self.0.get(number).and_then(Option::as_ref)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;
    use crate::model::parameters::to_vec;

    #[test]
    fn rates_rise_and_the_first_block_stays() {
        let drop_path = DropPath::new(0.3, 4).unwrap();
        assert_eq!(drop_path.rates(), [0.0, 0.1, 0.2, 0.3]);
        assert_eq!(drop_path.draws(), 6);
        assert_eq!(DropPath::new(0.0, 4), None);
        assert_eq!(DropPath::new(0.3, 1), None);
    }

    #[test]
    fn the_mean_of_the_factors_is_one() {
        let drop_path = DropPath::new(0.4, 2).unwrap();
        let draws: Vec<Vec<f32>> = (0..4000)
            .flat_map(|position| drop_path.draw(2, 7, 3, position))
            .collect();
        let draws: Vec<&[f32]> = draws.iter().map(Vec::as_slice).collect();
        let factors = drop_path.factors(&draws, &Device::flex());
        assert!(factors.block(0).is_none());
        for branch in factors.block(1).unwrap() {
            let factors = to_vec(branch.clone(), "factors").unwrap();
            let kept = factors.iter().filter(|factor| **factor > 0.0).count();
            assert!((4600..5000).contains(&kept), "{kept}");
            let stays = 1.0 - 0.4f32;
            assert!(factors.iter().all(|f| *f == 0.0 || *f == 1.0 / stays));
        }
    }

    #[test]
    fn draws_follow_from_seed_epoch_and_position() {
        let drop_path = DropPath::new(0.1, 12).unwrap();
        let draws = drop_path.draw(3, 1, 2, 5);
        assert_eq!(draws, drop_path.draw(3, 1, 2, 5));
        assert_ne!(draws[0], draws[1]);
        for other in [
            drop_path.draw(3, 2, 2, 5),
            drop_path.draw(3, 1, 3, 5),
            drop_path.draw(3, 1, 2, 6),
        ] {
            assert_ne!(draws, other);
        }
    }
}
