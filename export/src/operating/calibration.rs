//! Temperature scaling and the expected calibration error (Guo et al., On
//! Calibration of Modern Neural Networks, ICML 2017).

use super::Judged;
use crate::card::Calibration;
use crate::metrics::most_probable;
use crate::verdict::softmax;

/// Bins of the calibration error, as in the paper.
const BINS: usize = 15;

/// The lowest and the highest temperature that is believed.
const TEMPERATURES: [f64; 2] = [0.05, 20.0];

/// The temperature that suits tiles best, with the calibration error before and
/// after. 1 where the tiles do not tell; see [`temperature`].
pub fn fit(tiles: Judged<'_>) -> Calibration {
    let Judged { logits, labels, .. } = tiles;
    let classes = tiles.classes.len();
    let temperature = temperature(logits, labels, classes).unwrap_or(1.0);
    Calibration {
        temperature,
        ece_before: expected_error(logits, labels, classes, 1.0),
        ece_after: expected_error(logits, labels, classes, temperature),
        tiles: labels.len(),
        split: tiles.split.to_owned(),
    }
}

/// The temperature T at which the mean of `-log softmax(logits / T)[label]` is
/// least. `logits` are `[labels.len(), classes]`.
///
/// In 1 / T that mean is convex: its slope, the mean of `Σ_j p_j z_j -
/// z_label`, only rises, and is halved in on. Where it has no zero between
/// temperatures of 0.05 and 20 the tiles do not tell, and there is `None`: when
/// every tile is right, the colder the better.
pub fn temperature(logits: &[f32], labels: &[usize], classes: usize) -> Option<f32> {
    let slope = |inverse: f64| -> f64 {
        let rows = logits.chunks_exact(classes).zip(labels);
        rows.map(|(row, &label)| {
            let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let (mut sum, mut weighted) = (0.0, 0.0);
            for &logit in row {
                let weight = (f64::from(logit - largest) * inverse).exp();
                sum += weight;
                weighted += weight * f64::from(logit);
            }
            weighted / sum - f64::from(row[label])
        })
        .sum()
    };
    let [mut cold, mut warm] = TEMPERATURES;
    if !(slope(1.0 / cold) > 0.0 && slope(1.0 / warm) < 0.0) {
        return None;
    }
    // Each step halves the ratio's logarithm: 60 leave less than a double has.
    for _ in 0..60 {
        let middle = (cold * warm).sqrt();
        if slope(1.0 / middle) > 0.0 {
            cold = middle;
        } else {
            warm = middle;
        }
    }
    Some((cold * warm).sqrt() as f32)
}

/// The expected calibration error of `softmax(logits / temperature)`, 0 to 1:
/// over bins of the largest probability, `(m - 1) / 15 < p <= m / 15`, the mean
/// distance of the share that is right from the mean probability, weighted by
/// the tiles in each bin.
pub fn expected_error(logits: &[f32], labels: &[usize], classes: usize, temperature: f32) -> f64 {
    // Of each bin how many are right less the sum of their probabilities.
    let mut gaps = [0.0f64; BINS];
    for (row, &label) in logits.chunks_exact(classes).zip(labels) {
        let mut probabilities = row.to_vec();
        softmax(&mut probabilities, temperature);
        let best = most_probable(&probabilities, classes)[0];
        let probability = f64::from(probabilities[best]);
        let bin = (probability * BINS as f64).ceil() as usize;
        let right = f64::from(u8::from(best == label));
        gaps[bin.clamp(1, BINS) - 1] += right - probability;
    }
    gaps.iter().map(|gap| gap.abs()).sum::<f64>() / labels.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Four tiles of five say class 0 with a logit of 4 and are right.
    fn overconfident() -> (Vec<f32>, Vec<usize>) {
        let logits = [4.0, 0.0].repeat(100);
        let labels = (0..100).map(|tile| usize::from(tile % 5 == 0)).collect();
        (logits, labels)
    }

    #[test]
    fn the_temperature_makes_probabilities_true() {
        let (logits, labels) = overconfident();
        let temperature = temperature(&logits, &labels, 2).unwrap_or(f32::NAN);
        // sigmoid(4 / T) = 0.8 where T = 4 / ln 4.
        assert!(
            (temperature - 4.0 / 4f32.ln()).abs() < 1e-4,
            "{temperature}"
        );
        let before = expected_error(&logits, &labels, 2, 1.0);
        let sigmoid = 1.0 / (1.0 + (-4f64).exp());
        assert!((before - (sigmoid - 0.8)).abs() < 1e-6, "{before}");
        assert!(expected_error(&logits, &labels, 2, temperature) < 1e-6);
    }

    #[test]
    fn tiles_that_are_all_right_do_not_tell() {
        assert_eq!(temperature(&[4.0, 0.0, 0.0, 1.0], &[0, 1], 2), None);
        assert_eq!(temperature(&[4.0, 0.0, 0.0, 1.0], &[1, 0], 2), None);
        assert_eq!(temperature(&[], &[], 2), None);
    }

    #[test]
    fn errors_of_a_bin_cancel_and_those_of_different_bins_add() {
        // Two tiles at probability 0.6: one right, one wrong; ECE 0.1. Two at
        // 0.9: both right; ECE 0.1.
        let odds = |probability: f32| (probability / (1.0 - probability)).ln();
        let logits = [
            odds(0.6),
            0.0,
            odds(0.6),
            0.0,
            odds(0.9),
            0.0,
            odds(0.9),
            0.0,
        ];
        let error = expected_error(&logits, &[0, 1, 0, 0], 2, 1.0);
        assert!((error - 0.1).abs() < 1e-6, "{error}");
    }
}
