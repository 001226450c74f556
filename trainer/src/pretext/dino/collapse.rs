//! Signs of collapse: a network that gives every image the same output has a
//! low loss and has learnt nothing.

use crate::model::ModelError;
use crate::model::parameters;
use burn::tensor::Tensor;

/// What is looked at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Signs {
    /// Tiles that were looked at.
    pub tiles: usize,
    /// Mean over the tiles of the entropy of the teacher's distribution, as a
    /// share of the largest possible, the logarithm of the number of outputs:
    /// 0 to 1.
    pub entropy: f64,
    /// The same of the mean of these distributions; near 0 when all tiles
    /// choose the same output.
    pub entropy_of_mean: f64,
    /// Mean over the dimensions of the standard deviation of the features,
    /// which have the length 1, times the root of their width: 1 when they
    /// point anywhere, 0 when all point the same way (Chen and He, "Exploring
    /// Simple Siamese Representation Learning", 2021).
    pub feature_deviation: f64,
}

/// A way to collapse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Collapse {
    /// One output wins for every tile.
    OneOutput,
    /// All outputs are equally probable for every tile.
    Uniform,
    /// All features are the same.
    OneFeature,
}

/// Entropy of the mean distribution below which one output wins: fewer than
/// two of some thousand outputs are in use.
const LEAST_ENTROPY_OF_MEAN: f64 = 0.05;
/// Entropy above which the distributions are uniform.
const LARGEST_ENTROPY: f64 = 0.99;
/// Deviation below which features are the same.
const LEAST_DEVIATION: f64 = 0.01;

impl Signs {
    /// Looks at the teacher's distributions `[n, outputs]` and at features of
    /// length 1, `[n, width]` row-major.
    ///
    /// # Errors
    /// When the device does not give its numbers.
    pub fn of(
        distributions: Tensor<2>,
        features: &[f32],
        width: usize,
    ) -> Result<Self, ModelError> {
        let [tiles, outputs] = distributions.dims();
        let largest = (outputs as f64).ln();
        let share = |distributions: Tensor<2>| -> Result<f64, ModelError> {
            // The limit of p ln p at 0 is 0.
            let logarithms = distributions.clone().clamp_min(f32::MIN_POSITIVE).log();
            let entropies = -(distributions * logarithms).sum_dim(1).mean();
            let mean = parameters::to_vec(entropies, "the teacher's entropy")?;
            Ok(f64::from(mean[0]) / largest)
        };
        Ok(Self {
            tiles,
            entropy: share(distributions.clone())?,
            entropy_of_mean: share(distributions.mean_dim(0))?,
            feature_deviation: deviation(features, width) * (width as f64).sqrt(),
        })
    }

    /// What they are signs of; one tile alone is like all others.
    pub fn collapse(&self) -> Option<Collapse> {
        if self.tiles < 2 {
            None
        } else if self.entropy_of_mean < LEAST_ENTROPY_OF_MEAN {
            Some(Collapse::OneOutput)
        } else if self.entropy > LARGEST_ENTROPY {
            Some(Collapse::Uniform)
        } else if self.feature_deviation < LEAST_DEVIATION {
            Some(Collapse::OneFeature)
        } else {
            None
        }
    }
}

/// Mean over the dimensions of the standard deviation.
fn deviation(features: &[f32], width: usize) -> f64 {
    let rows = (features.len() / width).max(1) as f64;
    let of = |dimension: usize| {
        let values = features[dimension..].iter().step_by(width);
        let (sum, squares) = values.fold((0.0, 0.0), |(sum, squares), &value| {
            let value = f64::from(value);
            (sum + value, squares + value * value)
        });
        let mean = sum / rows;
        (squares / rows - mean * mean).max(0.0).sqrt()
    };
    (0..width).map(of).sum::<f64>() / width as f64
}

impl Collapse {
    /// What was seen and what helps.
    pub fn warning(self, signs: &Signs) -> String {
        match self {
            Self::OneOutput => format!(
                "the features collapse: one output wins for every tile (the entropy of the \
                 teacher's mean distribution is {:.1} % of its largest value); a lower \
                 --centre-momentum lets the centre follow faster, a higher --teacher-temperature \
                 sharpens less",
                100.0 * signs.entropy_of_mean
            ),
            Self::Uniform => format!(
                "the features collapse: every output is equally probable for every tile (the \
                 teacher's entropy is {:.2} % of its largest value); a lower \
                 --teacher-temperature sharpens more, a higher --centre-momentum centres less; \
                 batches below 32 train badly",
                100.0 * signs.entropy
            ),
            Self::OneFeature => format!(
                "the features collapse: they are the same for every tile (their deviation is \
                 {:.4} of that of features that point anywhere); try a lower \
                 --teacher-temperature, a lower --learning-rate, or --init with pretrained \
                 weights",
                signs.feature_deviation
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;
    use burn::tensor::{Device, TensorData};

    const TILES: usize = 64;
    const OUTPUTS: usize = 512;
    const WIDTH: usize = 24;

    /// Distributions that give 9/10 to one output, as `choice` says, and share
    /// the rest.
    fn sharp(choice: impl Fn(usize) -> usize) -> Tensor<2> {
        let rest = 0.1 / (OUTPUTS - 1) as f32;
        let mut data = vec![rest; TILES * OUTPUTS];
        for tile in 0..TILES {
            data[tile * OUTPUTS + choice(tile)] = 0.9;
        }
        Tensor::from_data(TensorData::new(data, [TILES, OUTPUTS]), &Device::flex())
    }

    /// Features of length 1 that point anywhere, or nearly the same way.
    fn features(spread: f32) -> Vec<f32> {
        let mut state = 1u32;
        let mut random = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        };
        let mut features: Vec<f32> = (0..TILES * WIDTH)
            .map(|index| {
                if spread < 1.0 && index % WIDTH == 0 {
                    1.0
                } else {
                    spread * random()
                }
            })
            .collect();
        crate::evaluate::knn::normalise(&mut features, WIDTH);
        features
    }

    fn signs(distributions: Tensor<2>, spread: f32) -> Signs {
        Signs::of(distributions, &features(spread), WIDTH).unwrap()
    }

    #[test]
    fn healthy_features_raise_no_alarm() {
        let signs = signs(sharp(|tile| tile * 7 % OUTPUTS), 1.0);
        assert!((0.1..0.3).contains(&signs.entropy), "{signs:?}");
        assert!(signs.entropy_of_mean > 0.6, "{signs:?}");
        assert!((0.9..1.1).contains(&signs.feature_deviation), "{signs:?}");
        assert_eq!(signs.collapse(), None);
    }

    #[test]
    fn an_output_that_wins_for_every_tile_is_a_collapse() {
        let mut winner = vec![0.0; TILES * OUTPUTS];
        winner.iter_mut().step_by(OUTPUTS).for_each(|p| *p = 1.0);
        let data = TensorData::new(winner, [TILES, OUTPUTS]);
        let signs = signs(Tensor::from_data(data, &Device::flex()), 1.0);
        assert_eq!(signs.entropy_of_mean, 0.0);
        assert_eq!(signs.collapse(), Some(Collapse::OneOutput));
        let text = Collapse::OneOutput.warning(&signs);
        assert!(text.contains("one output wins"), "{text}");
        assert!(text.contains("0.0 %"), "{text}");
    }

    #[test]
    fn one_tile_alone_is_no_collapse() {
        let mut winner = vec![0.0; OUTPUTS];
        winner[3] = 1.0;
        let data = TensorData::new(winner, [1, OUTPUTS]);
        let one = Tensor::from_data(data, &Device::flex());
        let signs = Signs::of(one, &features(1.0)[..WIDTH], WIDTH).unwrap();
        assert_eq!((signs.entropy_of_mean, signs.feature_deviation), (0.0, 0.0));
        assert_eq!(signs.collapse(), None);
    }

    #[test]
    fn outputs_without_preference_are_a_collapse() {
        let uniform = Tensor::full([TILES, OUTPUTS], 1.0 / OUTPUTS as f32, &Device::flex());
        let signs = signs(uniform, 1.0);
        assert!((signs.entropy - 1.0).abs() < 1e-5, "{signs:?}");
        assert_eq!(signs.collapse(), Some(Collapse::Uniform));
        let text = Collapse::Uniform.warning(&signs);
        assert!(text.contains("lower --teacher-temperature"), "{text}");
    }

    #[test]
    fn features_that_are_all_the_same_are_a_collapse() {
        let signs = signs(sharp(|tile| tile * 7 % OUTPUTS), 1e-4);
        assert!(signs.feature_deviation < 1e-3, "{signs:?}");
        assert_eq!(signs.collapse(), Some(Collapse::OneFeature));
        let text = Collapse::OneFeature.warning(&signs);
        assert!(text.contains("same for every tile"), "{text}");
    }
}
