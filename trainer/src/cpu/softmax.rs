//! Softmax over the rows of a matrix.

use multiversion::multiversion;

use super::lanes::{exp, largest, sum};

/// Each row of `rows`, which are `stride` apart, becomes the softmax of its
/// first `length` elements; what follows them in a row is left alone.
#[multiversion(targets = "simd")]
pub(super) fn forward(rows: &mut [f32], length: usize, stride: usize) {
    for row in rows.chunks_mut(stride) {
        let row = &mut row[..length];
        let top = largest(row);
        for value in row.iter_mut() {
            *value = exp(*value - top);
        }
        let factor = 1.0 / sum(row, row, |value, _| value);
        for value in row {
            *value *= factor;
        }
    }
}

/// The gradient at the softmax becomes that at its input:
/// `p (g - Σ p g)`; `probabilities` is what [`forward`] gave.
#[multiversion(targets = "simd")]
pub(super) fn backward(probabilities: &[f32], gradients: &mut [f32], length: usize, stride: usize) {
    for (probabilities, gradients) in probabilities
        .chunks(stride)
        .zip(gradients.chunks_mut(stride))
    {
        let (probabilities, gradients) = (&probabilities[..length], &mut gradients[..length]);
        let mean = sum(probabilities, gradients, |p, g| p * g);
        for (p, g) in probabilities.iter().zip(gradients) {
            *g = p * (*g - mean);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_become_probabilities() {
        let mut rows: Vec<f32> = (0..3 * 24).map(|value| (value * 7 % 13) as f32).collect();
        rows[0] = 300.0;
        rows[24] = -300.0;
        let before = rows.clone();
        forward(&mut rows, 19, 24);
        for (row, before) in rows.chunks(24).zip(before.chunks(24)) {
            let exponents: Vec<f64> = before[..19]
                .iter()
                .map(|&value| (f64::from(value) - 300.0).exp())
                .collect();
            let total: f64 = exponents.iter().sum();
            for (value, exponent) in row.iter().zip(exponents) {
                assert!((f64::from(*value) - exponent / total).abs() < 3e-7);
            }
            assert_eq!(row[19..], before[19..]);
        }
    }
}
