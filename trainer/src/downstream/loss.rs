//! Weighted cross-entropy in PyTorch's sense, and the focal loss.
//!
//! With the probability p of the true class, the focal loss is
//! `-(1 - p)^gamma log p` (Lin et al., 2017, equation 5), by which tiles that are
//! already right count less. A gamma of 0 is the cross-entropy.

use burn::tensor::{DType, Device, Int, Tensor, TensorData, activation};
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

/// Below this, what the true class lacks of a probability of 1 counts as this:
/// the derivative of a power below 1 has no bound at 0.
const LEAST_MISS: f32 = 1e-6;

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

/// `-Σ share · (1 - p)^gamma · log p` with `p = softmax(logits)[label]`;
/// `logits` is `[n, classes]`, and `focal_gamma` at least 0.
///
/// Summed over the shards of a batch, with the shares of the whole batch,
/// this is the loss of the batch.
pub fn cross_entropy(
    logits: Tensor<2>,
    labels: &[usize],
    shares: &[f32],
    focal_gamma: f64,
    device: &Device,
) -> Tensor<1> {
    let n = labels.len();
    let labels: Vec<i64> = labels.iter().map(|&label| label as i64).collect();
    let labels: Tensor<2, Int> = Tensor::from_data(TensorData::new(labels, [n, 1]), device);
    let shares: Tensor<2> = Tensor::from_data(TensorData::new(shares.to_vec(), [n, 1]), device);
    let log_probabilities = activation::log_softmax(logits.cast(DType::F32), 1).gather(1, labels);
    let losses = match focal_gamma {
        0.0 => log_probabilities,
        gamma => {
            let missed = log_probabilities.clone().exp().neg().add_scalar(1.0);
            missed.clamp_min(LEAST_MISS).powf_scalar(gamma) * log_probabilities
        }
    };
    (losses * shares).sum().neg()
}

/// The same loss of logits in memory, `[labels.len(), classes]`, taken as
/// one batch; 0 when the labels have no weight.
pub fn of_logits(
    logits: &[f32],
    labels: &[usize],
    class_weights: &[f32],
    reduction: Reduction,
    focal_gamma: f64,
) -> f64 {
    let mut sum = 0.0;
    let mut weights = 0.0;
    for (row, &label) in logits.chunks_exact(class_weights.len()).zip(labels) {
        let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let exponents = row.iter().map(|&logit| f64::from(logit - largest).exp());
        let log_probability = f64::from(row[label] - largest) - exponents.sum::<f64>().ln();
        // The power of 0 is 1 whatever is missed.
        let focus = (-log_probability.exp_m1()).powf(focal_gamma);
        sum -= f64::from(class_weights[label]) * focus * log_probability;
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
    #![allow(clippy::unwrap_used)]

    use super::*;

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
            let in_memory = of_logits(&values, &labels, &weights, reduction, 0.0);
            let shares = shares(&labels, &weights, reduction);
            let loss: f32 = cross_entropy(logits, &labels, &shares, 0.0, &device).into_scalar();
            assert!((loss - sum / divisor).abs() < 1e-6, "{loss} {reduction:?}");
            assert!((in_memory - f64::from(sum / divisor)).abs() < 1e-6);
        }
    }

    const LOGITS: [f32; 9] = [1.5, -0.3, 0.2, -2.0, 0.4, 0.1, 0.3, 3.0, -1.0];
    const LABELS: [usize; 3] = [0, 2, 1];
    const WEIGHTS: [f32; 3] = [1.0, 0.5, 1.5];

    /// Loss of [`LOGITS`], and its gradient by them.
    fn focal(gamma: f64) -> (f64, Vec<f32>) {
        gradient(&LOGITS, &LABELS, &WEIGHTS, gamma)
    }

    fn gradient(logits: &[f32], labels: &[usize], weights: &[f32], gamma: f64) -> (f64, Vec<f32>) {
        let device = Device::flex().autodiff();
        let data = TensorData::new(logits.to_vec(), [labels.len(), weights.len()]);
        let logits: Tensor<2> = Tensor::from_data(data, &device).require_grad();
        let shares = shares(labels, weights, Reduction::WeightedMean);
        let loss = cross_entropy(logits.clone(), labels, &shares, gamma, &device);
        let gradients = loss.backward();
        let gradient = logits.grad(&gradients).unwrap().into_data();
        let loss: f32 = loss.into_scalar();
        (f64::from(loss), gradient.try_to_vec().unwrap())
    }

    #[test]
    fn the_focal_loss_is_that_of_its_definition() {
        let mut expected = (0.0, 0.0);
        for (row, label) in LOGITS.chunks(3).zip(LABELS) {
            let sum: f64 = row.iter().map(|&logit| f64::from(logit).exp()).sum();
            let p = f64::from(row[label]).exp() / sum;
            let weight = f64::from(WEIGHTS[label]);
            expected.0 -= weight * (1.0 - p).powi(2) * p.ln();
            expected.1 += weight;
        }
        let expected = expected.0 / expected.1;
        assert!((focal(2.0).0 - expected).abs() < 1e-6);
        assert!(
            (of_logits(&LOGITS, &LABELS, &WEIGHTS, Reduction::WeightedMean, 2.0) - expected).abs()
                < 1e-6
        );
        assert!(focal(2.0).0 < focal(0.5).0 && focal(0.5).0 < focal(0.0).0);
    }

    #[test]
    fn gradients_equal_finite_differences() {
        for gamma in [0.0, 0.5, 1.0, 2.0, 3.5] {
            let (_, gradient) = focal(gamma);
            for (place, gradient) in gradient.into_iter().enumerate() {
                let step = 1e-2f32;
                let at = |change: f32| {
                    let mut logits = LOGITS;
                    logits[place] += change;
                    of_logits(&logits, &LABELS, &WEIGHTS, Reduction::WeightedMean, gamma)
                };
                let difference = (at(step) - at(-step)) / f64::from(2.0 * step);
                assert!(
                    (f64::from(gradient) - difference).abs() < 2e-5,
                    "gamma {gamma}, logit {place}: {gradient} {difference}"
                );
            }
        }
    }

    /// A probability of exactly 1 or 0 in 32 bits.
    #[test]
    fn the_focal_loss_stays_finite_for_tiles_that_are_surely_right_or_wrong() {
        for gamma in [0.3, 1.0, 2.0] {
            let (loss, gradient) =
                gradient(&[90.0, -90.0, 90.0, -90.0], &[0, 1], &[1.0, 1.0], gamma);
            assert!((loss - 90.0).abs() < 1e-3, "{loss}");
            assert!(gradient.iter().all(|value| value.is_finite()));
            assert!((gradient[3] + 0.5).abs() < 1e-5, "{gradient:?}");
            assert!(gradient[0].abs() < 1e-5, "{gradient:?}");
        }
    }
}
