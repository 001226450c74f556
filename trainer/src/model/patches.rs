//! Images <-> the pixels of their patches.

use burn::tensor::Tensor;

/// Cuts images `[n, channels, height, width]` into square patches, row by row:
/// `[n, patches, channels * patch * patch]`, the pixels of a patch in the
/// order of a convolution's kernel (channel, row, column).
///
/// # Panics
/// When the patches do not divide the images.
pub fn cut(images: Tensor<4>, patch: usize) -> Tensor<3> {
    let [n, channels, height, width] = images.dims();
    let (rows, columns) = (height / patch, width / patch);
    images
        .reshape([n, channels, rows, patch, columns, patch])
        .permute([0, 2, 4, 1, 3, 5])
        .reshape([n, rows * columns, channels * patch * patch])
}

/// Pixels of patches `[patches, 3 * patch * patch]` from the order of [`cut`]
/// (channel, row, column) to that of `patchify` in facebookresearch/mae
/// `models_mae.py`: row, column, channel.
pub fn channels_last(pixels: Tensor<2>) -> Tensor<2> {
    let [patches, length] = pixels.dims();
    pixels
        .reshape([patches, 3, length / 3])
        .swap_dims(1, 2)
        .reshape([patches, length])
}

/// Puts the patches of one image together: `[patches, 3 * patch * patch]`,
/// each as [`channels_last`] gives it, `columns` in a row -> the pixels
/// `[height, width, 3]`, flat.
pub fn join(pixels: &[f32], patch: usize, columns: usize) -> Vec<f32> {
    let mut image = vec![0.0; pixels.len()];
    let line = 3 * patch;
    for (number, pixels) in pixels.chunks_exact(patch * line).enumerate() {
        let (row, column) = (number / columns, number % columns);
        for (y, pixels) in pixels.chunks_exact(line).enumerate() {
            let start = ((row * patch + y) * columns + column) * line;
            image[start..start + line].copy_from_slice(pixels);
        }
    }
    image
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;
    use crate::model::parameters::to_vec;
    use burn::tensor::{Device, TensorData};

    #[test]
    fn patches_are_put_together_as_they_were_cut() {
        let (height, width) = (4, 6);
        let planes: Vec<f32> = (0..3 * height * width).map(|pixel| pixel as f32).collect();
        let data = TensorData::new(planes.clone(), [1, 3, height, width]);
        let cut = cut(Tensor::from_data(data, &Device::flex()), 2);
        assert_eq!(cut.dims(), [1, 6, 12]);
        let pixels = channels_last(cut.reshape([6, 12]));
        let image = join(&to_vec(pixels, "patches").unwrap(), 2, 3);
        for (pixel, colours) in image.chunks_exact(3).enumerate() {
            for (channel, &level) in colours.iter().enumerate() {
                assert_eq!(level, planes[channel * height * width + pixel]);
            }
        }
    }
}
