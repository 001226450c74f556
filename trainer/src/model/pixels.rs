//! Prepared tiles -> normalised input, on the device.

use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use millsight_export::card::Preprocessing;

/// Levels of `n` prepared tiles `[n, channels, height, width]` as the
/// network's input `[n, 3, height, width]`: a single channel is repeated, then
/// `(x / 255 - mean) / std`, the arithmetic of `export::preprocess`. `size`
/// is height, width.
///
/// Only the bytes travel to the device.
pub fn normalised(
    levels: Vec<u8>,
    channels: usize,
    size: [usize; 2],
    preprocessing: &Preprocessing,
    device: &Device,
) -> Tensor<4> {
    let [height, width] = size;
    let n = levels.len() / (channels * height * width);
    let data = TensorData::new(levels, [n, channels, height, width]);
    let levels: Tensor<4, Int> = Tensor::from_data(data, (device, DType::U8));
    let constant = |values: [f32; 3]| {
        Tensor::<1>::from_data(TensorData::new(values.to_vec(), [3]), device).reshape([1, 3, 1, 1])
    };
    let scaled = (levels.float() / 255.0).expand([n, 3, height, width]);
    (scaled - constant(preprocessing.mean)) / constant(preprocessing.std)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;
    use crate::model::parameters::to_vec;

    #[test]
    fn every_level_is_normalised_to_the_last_bit() {
        let preprocessing = Preprocessing::imagenet();
        let levels: Vec<u8> = (0..=255).collect();
        let tensor = normalised(levels.clone(), 1, [16, 16], &preprocessing, &Device::flex());
        assert_eq!(tensor.dims(), [1, 3, 16, 16]);
        let got = to_vec(tensor, "input").unwrap();
        for channel in 0..3 {
            for &level in &levels {
                let expected = (f32::from(level) / 255.0 - preprocessing.mean[channel])
                    / preprocessing.std[channel];
                assert_eq!(got[channel * 256 + usize::from(level)], expected);
            }
        }
    }

    #[test]
    fn three_channels_stay_three() {
        let tensor = normalised(
            vec![0, 0, 0, 0, 255, 255, 255, 255, 51, 51, 51, 51],
            3,
            [2, 2],
            &Preprocessing {
                mean: [0.0; 3],
                std: [1.0; 3],
                ..Preprocessing::imagenet()
            },
            &Device::flex(),
        );
        let got = to_vec(tensor, "input").unwrap();
        assert_eq!(
            got,
            [0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.2, 0.2, 0.2, 0.2]
        );
    }
}
