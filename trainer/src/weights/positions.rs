//! Position embeddings for another number of patches.
//!
//! The official programs resample them in three ways, all bicubic and all
//! different; each file is resampled as its own program would.

use millsight_export::weights::NamedArray;

/// Whose resampling is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Convention {
    /// timm's `resample_abs_pos_embed`: antialiased, Pillow's kernel
    /// (a = -0.5).
    Timm,
    /// MAE's `interpolate_pos_embed`: PyTorch's bicubic (a = -0.75) between
    /// the two sizes, without antialiasing. Hugging Face's `Dinov2Model` does
    /// the same.
    Mae,
    /// DINO's and DINOv2's `interpolate_pos_encoding`: PyTorch's bicubic with
    /// the scale factor `(patches + 0.1) / original`, which moves the sampling
    /// points.
    Dino,
}

/// Resamples the patch positions of `[1, 1 + rows * columns, width]` from one
/// grid (rows, columns) of patches to another; the class token's position is
/// kept.
///
/// Sources: timm `layers/pos_embed.py`, facebookresearch/mae
/// `util/pos_embed.py`, facebookresearch/dino `vision_transformer.py`,
/// facebookresearch/dinov2 `dinov2/models/vision_transformer.py`.
///
/// # Panics
/// When the array is not of that shape; the caller has checked it.
pub fn resample(
    positions: &NamedArray,
    from: [usize; 2],
    to: [usize; 2],
    convention: Convention,
) -> NamedArray {
    let width = positions.shape[2];
    assert_eq!(positions.shape, [1, 1 + from[0] * from[1], width]);
    if from == to {
        return positions.clone();
    }
    let (class, patches) = positions.data.split_at(width);
    let taps = |axis: usize| taps(from[axis], to[axis], convention);
    // Columns first, then rows; the two passes are independent.
    let along = mix(patches, [from[0], from[1], width], &taps(1));
    let mixed = mix(&along, [1, from[0], to[1] * width], &taps(0));
    NamedArray {
        shape: vec![1, 1 + to[0] * to[1], width],
        data: class.iter().copied().chain(mixed).collect(),
    }
}

/// The same resampling of the patch positions as one matrix
/// `[to rows * columns, from rows * columns]`, row-major, for positions that
/// are still being learnt.
pub fn matrix(from: [usize; 2], to: [usize; 2], convention: Convention) -> Vec<f32> {
    let sources = from[0] * from[1];
    let [rows, columns] = [0, 1].map(|axis| taps(from[axis], to[axis], convention));
    let mut matrix = vec![0.0; to[0] * to[1] * sources];
    let targets = rows
        .iter()
        .flat_map(|row| columns.iter().map(move |column| (row, column)));
    for (target, (row, column)) in matrix.chunks_exact_mut(sources).zip(targets) {
        for (source_row, row_weight) in row {
            for (source_column, column_weight) in column {
                // Beyond the border several taps meet in one source.
                target[source_row * from[1] + source_column] += (row_weight * column_weight) as f32;
            }
        }
    }
    matrix
}

/// The weighted sources of one target.
type Taps = Vec<(usize, f64)>;

/// Mixes the middle dimension of `[outer, middle, inner]`.
fn mix(values: &[f32], [outer, middle, inner]: [usize; 3], taps: &[Taps]) -> Vec<f32> {
    let mut mixed = Vec::with_capacity(outer * taps.len() * inner);
    for slice in values.chunks_exact(middle * inner) {
        for taps in taps {
            for channel in 0..inner {
                let sum: f64 = taps
                    .iter()
                    .map(|&(source, weight)| f64::from(slice[source * inner + channel]) * weight)
                    .sum();
                mixed.push(sum as f32);
            }
        }
    }
    mixed
}

fn taps(from: usize, to: usize, convention: Convention) -> Vec<Taps> {
    let ratio = from as f64 / to as f64;
    match convention {
        Convention::Timm => (0..to).map(|at| antialiased(at, from, ratio)).collect(),
        Convention::Mae => (0..to).map(|at| clamped(at, from, ratio)).collect(),
        Convention::Dino => {
            let scale = from as f64 / (to as f64 + 0.1);
            (0..to).map(|at| clamped(at, from, scale)).collect()
        }
    }
}

/// PyTorch's `_upsample_bicubic2d_aa`: the kernel is as wide as the step
/// between targets, cut at the border and normalised.
fn antialiased(at: usize, from: usize, scale: f64) -> Taps {
    let stretch = scale.max(1.0);
    let centre = scale * (at as f64 + 0.5);
    let first = (centre - 2.0 * stretch + 0.5).max(0.0) as usize;
    let end = ((centre + 2.0 * stretch + 0.5) as usize).min(from);
    let weight = |source: usize| cubic((source as f64 - centre + 0.5) / stretch, -0.5);
    let total: f64 = (first..end).map(weight).sum();
    (first..end)
        .map(|source| (source, weight(source) / total))
        .collect()
}

/// PyTorch's `upsample_bicubic2d` without aligned corners: four taps, those
/// beyond the border repeat it.
fn clamped(at: usize, from: usize, scale: f64) -> Taps {
    let centre = scale * (at as f64 + 0.5) - 0.5;
    let base = centre.floor();
    (-1..=2)
        .map(|tap| {
            let source = base + f64::from(tap);
            let weight = cubic(centre - source, -0.75);
            (source.clamp(0.0, (from - 1) as f64) as usize, weight)
        })
        .collect()
}

/// Keys' cubic convolution kernel (IEEE Trans. ASSP 29(6), 1981, equation 15
/// for a = -0.5).
fn cubic(distance: f64, a: f64) -> f64 {
    let x = distance.abs();
    if x <= 1.0 {
        ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp(rows: usize, columns: usize) -> NamedArray {
        let data = (0..1 + rows * columns).map(|patch| patch as f32).collect();
        NamedArray {
            shape: vec![1, 1 + rows * columns, 1],
            data,
        }
    }

    #[test]
    fn the_same_grid_changes_nothing() {
        for convention in [Convention::Timm, Convention::Mae, Convention::Dino] {
            let positions = ramp(3, 5);
            assert_eq!(resample(&positions, [3, 5], [3, 5], convention), positions);
        }
    }

    #[test]
    fn constants_stay_constant_and_the_class_token_is_kept() {
        for convention in [Convention::Timm, Convention::Mae, Convention::Dino] {
            let mut positions = ramp(7, 7);
            positions.data[1..].fill(0.25);
            let resampled = resample(&positions, [7, 7], [14, 5], convention);
            assert_eq!(resampled.shape, [1, 71, 1]);
            assert_eq!(resampled.data[0], 0.0);
            assert!(
                resampled.data[1..]
                    .iter()
                    .all(|value| (value - 0.25).abs() < 1e-6)
            );
        }
    }

    #[test]
    fn the_matrix_resamples_as_well() {
        for convention in [Convention::Timm, Convention::Mae, Convention::Dino] {
            let mut positions = ramp(4, 6);
            for (index, value) in positions.data.iter_mut().enumerate() {
                *value = (index as f32 * 1.7).sin();
            }
            for to in [[2, 3], [5, 4], [8, 6]] {
                let expected = resample(&positions, [4, 6], to, convention);
                let matrix = matrix([4, 6], to, convention);
                for (row, expected) in matrix.chunks_exact(24).zip(&expected.data[1..]) {
                    let products = row.iter().zip(&positions.data[1..]).map(|(a, b)| a * b);
                    let got: f32 = products.sum();
                    assert!((got - expected).abs() < 1e-6, "{convention:?} {to:?}");
                }
            }
        }
    }
}
