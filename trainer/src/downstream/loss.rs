//! Weighted cross-entropy in PyTorch's sense.

use burn::tensor::{Device, Int, Tensor, TensorData, activation};
use serde::{Deserialize, Serialize};

/// What the weighted losses of a batch are divided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Reduction {
    /// The sum of their weights, as in PyTorch's `CrossEntropyLoss(weight)`.
    WeightedMean,
    /// Their number.
    BatchMean,
}

impl Reduction {
    fn divisor(self, sum_of_weights: f64, samples: usize) -> f64 {
        match self {
            Self::WeightedMean => sum_of_weights,
            Self::BatchMean => samples as f64,
        }
    }
}

/// Inverse-frequency weights `w_c = N / (k n_c)`, scaled to a mean of 1.
///
/// Classes without a tile get the weight 0: they cannot occur in a batch.
pub fn inverse_frequency(labels: &[usize], classes: usize) -> Vec<f32> {
    let mut counts = vec![0usize; classes];
    for &label in labels {
        counts[label] += 1;
    }
    let weight = |&count: &usize| match count {
        0 => 0.0,
        _ => labels.len() as f64 / (classes as f64 * count as f64),
    };
    let raw: Vec<f64> = counts.iter().map(weight).collect();
    let mean = raw.iter().sum::<f64>() / classes as f64;
    raw.iter().map(|weight| (weight / mean) as f32).collect()
}

/// The share of each sample in the loss of its batch: its class weight over
/// what the reduction divides by.
pub fn shares(labels: &[usize], class_weights: &[f32], reduction: Reduction) -> Vec<f32> {
    let weight = |&label: &usize| f64::from(class_weights[label]);
    let divisor = reduction.divisor(labels.iter().map(weight).sum(), labels.len());
    labels
        .iter()
        .map(|label| (weight(label) / divisor) as f32)
        .collect()
}

/// `-Σ share · log softmax(logits)[label]`; `logits` is `[n, classes]`.
///
/// Summed over the shards of a batch, with the shares of the whole batch,
/// this is the loss of the batch.
pub fn cross_entropy(
    logits: Tensor<2>,
    labels: &[usize],
    shares: &[f32],
    device: &Device,
) -> Tensor<1> {
    let n = labels.len();
    let labels: Vec<i64> = labels.iter().map(|&label| label as i64).collect();
    let labels: Tensor<2, Int> = Tensor::from_data(TensorData::new(labels, [n, 1]), device);
    let shares: Tensor<2> = Tensor::from_data(TensorData::new(shares.to_vec(), [n, 1]), device);
    let log_probabilities = activation::log_softmax(logits, 1).gather(1, labels);
    (log_probabilities * shares).sum().neg()
}

/// The same loss of logits in memory, `[labels.len(), classes]`, taken as
/// one batch; 0 when the labels have no weight.
pub fn of_logits(
    logits: &[f32],
    labels: &[usize],
    class_weights: &[f32],
    reduction: Reduction,
) -> f64 {
    let mut sum = 0.0;
    let mut weights = 0.0;
    for (row, &label) in logits.chunks_exact(class_weights.len()).zip(labels) {
        let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let exponents = row.iter().map(|&logit| f64::from(logit - largest).exp());
        let log_probability = f64::from(row[label] - largest) - exponents.sum::<f64>().ln();
        sum -= f64::from(class_weights[label]) * log_probability;
        weights += f64::from(class_weights[label]);
    }
    if weights > 0.0 {
        sum / reduction.divisor(weights, labels.len())
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rare_classes_weigh_more_and_the_mean_is_one() {
        let labels = [0, 0, 0, 0, 0, 0, 1, 1, 2];
        let weights = inverse_frequency(&labels, 4);
        assert!((weights.iter().sum::<f32>() / 4.0 - 1.0).abs() < 1e-6);
        assert!((weights[1] / weights[0] - 3.0).abs() < 1e-6);
        assert!((weights[2] / weights[0] - 6.0).abs() < 1e-6);
        assert_eq!(weights[3], 0.0);
    }

    #[test]
    fn the_loss_divides_by_the_weights_or_by_the_number_of_the_batch() {
        let device = Device::flex();
        let values = [0.0, 0.0, 0.0, 1.0, 0.0, 0.0];
        let labels = [2, 0];
        let weights = [1.0, 1.0, 2.0];
        let e = std::f32::consts::E;
        let sum = 2.0 * 3f32.ln() - (e / (e + 2.0)).ln();
        for (reduction, divisor) in [(Reduction::WeightedMean, 3.0), (Reduction::BatchMean, 2.0)] {
            let logits = Tensor::from_data(TensorData::new(values.to_vec(), [2, 3]), &device);
            let in_memory = of_logits(&values, &labels, &weights, reduction);
            let shares = shares(&labels, &weights, reduction);
            let loss: f32 = cross_entropy(logits, &labels, &shares, &device).into_scalar();
            assert!((loss - sum / divisor).abs() < 1e-6, "{loss} {reduction:?}");
            assert!((in_memory - f64::from(sum / divisor)).abs() < 1e-6);
        }
    }
}
