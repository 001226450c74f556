//! A batch normalisation without parameters before the linear layer, as in
//! MAE's linear probing: `BatchNorm1d(width, affine=False, eps=1e-6)` in
//! facebookresearch/mae `main_linprobe.py`.
//!
//! The features under it are frozen, so that nothing flows back through it and
//! it is computed outside of autodiff. In the finished network it is folded
//! into the layer.

use millsight_export::weights::NamedArrays;

use crate::model::ModelError;

/// Added to the variance.
const EPSILON: f64 = 1e-6;

/// PyTorch's default share of the newest batch in the running statistics.
const MOMENTUM: f64 = 0.1;

/// Running statistics of each feature.
#[derive(Debug, Clone, PartialEq)]
pub struct BatchNorm {
    mean: Vec<f32>,
    variance: Vec<f32>,
}

impl BatchNorm {
    /// Mean 0 and variance 1 for so many features.
    pub fn new(width: usize) -> Self {
        Self {
            mean: vec![0.0; width],
            variance: vec![1.0; width],
        }
    }

    /// Normalises a batch `[n, width]` by its own statistics, and takes them
    /// into the running ones. A batch of one has none, and is normalised by
    /// the running ones.
    pub fn normalise(&mut self, batch: &mut [f32]) {
        let width = self.mean.len();
        let count = batch.len() / width;
        for feature in 0..width {
            let values = batch.iter().skip(feature).step_by(width);
            let (mut mean, mut variance) = (
                f64::from(self.mean[feature]),
                f64::from(self.variance[feature]),
            );
            if count > 1 {
                mean = values.clone().map(|&x| f64::from(x)).sum::<f64>() / count as f64;
                let squares = values.map(|&x| (f64::from(x) - mean).powi(2));
                let squares = squares.sum::<f64>();
                variance = squares / count as f64;
                // The running variance is the unbiased one.
                let unbiased = squares / (count - 1) as f64;
                let step = |old: f32, new: f64| {
                    (f64::from(old) * (1.0 - MOMENTUM) + new * MOMENTUM) as f32
                };
                self.mean[feature] = step(self.mean[feature], mean);
                self.variance[feature] = step(self.variance[feature], unbiased);
            }
            let scale = (variance + EPSILON).sqrt().recip();
            for value in batch.iter_mut().skip(feature).step_by(width) {
                *value = ((f64::from(*value) - mean) * scale) as f32;
            }
        }
    }

    /// The layer that gives for features what the layer with this weight
    /// (`[outputs, width]`) and bias gives for normalised ones.
    pub fn folded(&self, weight: &[f32], bias: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let width = self.mean.len();
        let scale: Vec<f64> = self
            .variance
            .iter()
            .map(|&variance| (f64::from(variance) + EPSILON).sqrt().recip())
            .collect();
        let mut folded_weight = Vec::with_capacity(weight.len());
        let mut folded_bias = Vec::with_capacity(bias.len());
        for (row, &bias) in weight.chunks_exact(width).zip(bias) {
            let mut shifted = f64::from(bias);
            for ((&weight, scale), &mean) in row.iter().zip(&scale).zip(&self.mean) {
                let scaled = f64::from(weight) * scale;
                shifted -= scaled * f64::from(mean);
                folded_weight.push(scaled as f32);
            }
            folded_bias.push(shifted as f32);
        }
        (folded_weight, folded_bias)
    }

    /// Adds `running_mean` and `running_var` to a checkpoint.
    ///
    /// # Errors
    /// Never in practice: the arrays are whole.
    pub fn save(&self, arrays: &mut NamedArrays) -> Result<(), ModelError> {
        let width = self.mean.len();
        arrays.insert("running_mean", [width], self.mean.clone())?;
        arrays.insert("running_var", [width], self.variance.clone())?;
        Ok(())
    }

    /// Takes what [`BatchNorm::save`] gave.
    ///
    /// # Errors
    /// When one is missing or of another size.
    pub fn load(&mut self, arrays: &NamedArrays) -> Result<(), ModelError> {
        let statistics = |name: &str| {
            let array = arrays.require(name)?;
            if array.shape != [self.mean.len()] {
                return Err(ModelError::Shape {
                    name: name.into(),
                    got: array.shape.clone(),
                    expected: vec![self.mean.len()],
                });
            }
            Ok(array.data.clone())
        };
        (self.mean, self.variance) = (statistics("running_mean")?, statistics("running_var")?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn batches_are_normalised_as_by_pytorch() {
        // torch.nn.BatchNorm1d(2, affine=False, eps=1e-6) in training mode.
        let mut norm = BatchNorm::new(2);
        let mut batch = [1.0, 10.0, 2.0, 30.0, 6.0, 20.0];
        norm.normalise(&mut batch);
        let expected = [-0.9258, -1.2247, -0.4629, 1.2247, 1.3887, 0.0];
        for (got, expected) in batch.iter().zip(expected) {
            assert!((got - expected).abs() < 1e-4, "{got} {expected}");
        }
        // 0.9 * 0 + 0.1 * 3, and 0.9 * 1 + 0.1 * 7, the unbiased variance.
        assert!((norm.mean[0] - 0.3).abs() < 1e-6 && (norm.variance[0] - 1.6).abs() < 1e-6);
        let before = norm.clone();
        let mut one = [0.3, 2.0];
        norm.normalise(&mut one);
        assert_eq!(norm, before);
        assert!(one[0].abs() < 1e-6 && one[1].abs() < 1e-6, "{one:?}");
    }

    #[test]
    fn a_folded_layer_gives_the_same() {
        let norm = BatchNorm {
            mean: vec![1.0, -2.0],
            variance: vec![4.0, 0.25],
        };
        let (weight, bias) = norm.folded(&[1.0, 2.0, -3.0, 0.5], &[0.1, 0.2]);
        let features = [3.0, -1.0];
        let output = |row: usize| {
            weight[2 * row] * features[0] + weight[2 * row + 1] * features[1] + bias[row]
        };
        // Normalised: (3 - 1) / 2 = 1 and (-1 + 2) / 0.5 = 2.
        assert!((output(0) - (1.0 + 4.0 + 0.1)).abs() < 1e-4);
        assert!((output(1) - (-3.0 + 1.0 + 0.2)).abs() < 1e-4);
    }

    #[test]
    fn a_checkpoint_keeps_the_statistics() {
        let mut norm = BatchNorm::new(2);
        norm.normalise(&mut [1.0, 10.0, 2.0, 30.0]);
        let mut arrays = NamedArrays::new();
        norm.save(&mut arrays).unwrap();
        let mut other = BatchNorm::new(2);
        other.load(&arrays).unwrap();
        assert_eq!(other, norm);
        assert!(BatchNorm::new(3).load(&arrays).is_err());
    }
}
