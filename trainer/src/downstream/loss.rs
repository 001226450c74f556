//! Weighted cross-entropy in PyTorch's sense.

use burn::tensor::{Device, Int, Tensor, TensorData, activation};

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

/// The share of each sample in the mean of its batch: its class weight over
/// the sum of those of the batch, as in PyTorch's `CrossEntropyLoss`.
pub fn shares(labels: &[usize], class_weights: &[f32]) -> Vec<f32> {
    let weight = |&label: &usize| f64::from(class_weights[label]);
    let sum: f64 = labels.iter().map(weight).sum();
    labels
        .iter()
        .map(|label| (weight(label) / sum) as f32)
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
pub fn of_logits(logits: &[f32], labels: &[usize], class_weights: &[f32]) -> f64 {
    let mut sum = 0.0;
    let mut weights = 0.0;
    for (row, &label) in logits.chunks_exact(class_weights.len()).zip(labels) {
        let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let exponents = row.iter().map(|&logit| f64::from(logit - largest).exp());
        let log_probability = f64::from(row[label] - largest) - exponents.sum::<f64>().ln();
        sum -= f64::from(class_weights[label]) * log_probability;
        weights += f64::from(class_weights[label]);
    }
    if weights > 0.0 { sum / weights } else { 0.0 }
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
    fn the_loss_divides_by_the_sum_of_weights_in_the_batch() {
        let device = Device::flex();
        let logits = Tensor::from_data(
            TensorData::new(vec![0f32, 0.0, 0.0, 1.0, 0.0, 0.0], [2, 3]),
            &device,
        );
        let labels = [2, 0];
        let weights = [1.0, 1.0, 2.0];
        let in_memory = of_logits(&[0.0, 0.0, 0.0, 1.0, 0.0, 0.0], &labels, &weights);
        let shares = shares(&labels, &weights);
        let loss: f32 = cross_entropy(logits, &labels, &shares, &device).into_scalar();
        let e = std::f32::consts::E;
        let expected = (2.0 * 3f32.ln() - (e / (e + 2.0)).ln()) / 3.0;
        assert!((loss - expected).abs() < 1e-6, "{loss} {expected}");
        assert!((in_memory - f64::from(expected)).abs() < 1e-6);
    }
}
