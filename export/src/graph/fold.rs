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
