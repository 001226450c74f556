//! LayerNorm (Ba et al., 2016) over the last dimension.

use multiversion::multiversion;

use super::lanes::sum;

/// Mean and reciprocal deviation of each row.
#[multiversion(targets = "simd")]
pub(super) fn statistics(x: &[f32], width: usize, epsilon: f32, out: &mut [[f32; 2]]) {
    for (row, out) in x.chunks_exact(width).zip(out) {
        let mean = sum(row, row, |x, _| x) / width as f32;
        let variance = sum(row, row, |x, _| (x - mean) * (x - mean)) / width as f32;
        *out = [mean, 1.0 / (variance + epsilon).sqrt()];
    }
}

/// `out = (x - mean) / deviation · weight + bias`.
#[multiversion(targets = "simd")]
pub(super) fn apply(
    x: &[f32],
    statistics: &[[f32; 2]],
    weight: &[f32],
    bias: &[f32],
    out: &mut [f32],
) {
    let width = weight.len();
    for ((row, [mean, scale]), out) in x
        .chunks_exact(width)
        .zip(statistics)
        .zip(out.chunks_exact_mut(width))
    {
        for (((x, out), weight), bias) in row.iter().zip(out).zip(weight).zip(bias) {
            *out = (x - mean) * scale * weight + bias;
        }
    }
}

/// Adds to `x_gradient` what comes through the norm, and to `weight_gradient`
/// and `bias_gradient` theirs; `gradient` is that at the output, and is
/// overwritten.
#[multiversion(targets = "simd")]
pub(super) fn backward(
    x: &[f32],
    statistics: &[[f32; 2]],
    weight: &[f32],
    gradient: &mut [f32],
    x_gradient: &mut [f32],
    weight_gradient: &mut [f32],
    bias_gradient: &mut [f32],
) {
    let width = weight.len();
    let count = width as f32;
    for (((row, [mean, scale]), gradient), x_gradient) in x
        .chunks_exact(width)
        .zip(statistics)
        .zip(gradient.chunks_exact_mut(width))
        .zip(x_gradient.chunks_exact_mut(width))
    {
        for ((((x, gradient), weight), weight_gradient), bias_gradient) in row
            .iter()
            .zip(gradient.iter_mut())
            .zip(weight)
            .zip(weight_gradient.iter_mut())
            .zip(bias_gradient.iter_mut())
        {
            *weight_gradient += *gradient * ((x - mean) * scale);
            *bias_gradient += *gradient;
            *gradient *= weight;
        }
        let common = sum(gradient, gradient, |g, _| g) / count;
        let along = sum(gradient, row, |g, x| g * ((x - mean) * scale)) / count;
        for ((x, gradient), x_gradient) in row.iter().zip(gradient).zip(x_gradient) {
            *x_gradient += scale * (*gradient - common - (x - mean) * scale * along);
        }
    }
}
