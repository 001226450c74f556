//! Folding the preparation of a grey tile into the first convolution.

/// Folds `grey -> RGB -> /255 -> (x − mean) / std` into a convolution:
/// `w'[o] = Σ_c w[o,c] / (255 std_c)` and
/// `b'[o] = b[o] − Σ_c mean_c / std_c Σ_xy w[o,c,x,y]`, summed in `f64`.
pub(super) fn fold_grey(
    weight: &[f32],
    bias: &[f32],
    mean: [f32; 3],
    std: [f32; 3],
) -> (Vec<f32>, Vec<f32>) {
    let per_output = weight.len() / bias.len();
    let area = per_output / 3;
    let mut folded = Vec::with_capacity(bias.len() * area);
    let mut offset = Vec::with_capacity(bias.len());
    for (kernel, &bias) in weight.chunks_exact(per_output).zip(bias) {
        let mut sum = f64::from(bias);
        for (channel, plane) in kernel.chunks_exact(area).enumerate() {
            let shift = f64::from(mean[channel]) / f64::from(std[channel]);
            sum -= shift * plane.iter().map(|&weight| f64::from(weight)).sum::<f64>();
        }
        offset.push(sum as f32);
        folded.extend((0..area).map(|pixel| {
            let sum: f64 = (0..3)
                .map(|channel| {
                    f64::from(kernel[channel * area + pixel]) / (255.0 * f64::from(std[channel]))
                })
                .sum();
            sum as f32
        }));
    }
    (folded, offset)
}

/// Filters of grey levels, `[outputs, 1, side, side]`, as filters of normalised images
/// of three equal channels: the inverse of [`fold_grey`], each channel's part of the sum
/// being a third.
pub(super) fn unfold_grey(
    folded: &[f32],
    offset: &[f32],
    mean: [f32; 3],
    std: [f32; 3],
) -> (Vec<f32>, Vec<f32>) {
    let area = folded.len() / offset.len();
    let mut weight = Vec::with_capacity(3 * folded.len());
    let mut bias = Vec::with_capacity(offset.len());
    for (plane, &offset) in folded.chunks_exact(area).zip(offset) {
        let sum: f64 = plane.iter().map(|&weight| f64::from(weight)).sum();
        let mut whole = f64::from(offset);
        for channel in 0..3 {
            // Of each level a third of 255 standard deviations.
            whole += f64::from(mean[channel]) * 255.0 / 3.0 * sum;
            let factor = 255.0 * f64::from(std[channel]) / 3.0;
            weight.extend(
                plane
                    .iter()
                    .map(|&weight| (f64::from(weight) * factor) as f32),
            );
        }
        bias.push(whole as f32);
    }
    (weight, bias)
}
