//! From an image of any size to the network's input: the only implementation.
//!
//! Training and inspection must see a tile in exactly the same way, so both
//! call this module. Every step equals what torchvision does to a PIL image:
//!
//! 1. `convert("RGB")` when a file is read ([`load_image`]);
//! 2. `Resize`: Pillow's antialiased bilinear, to the last bit;
//! 3. `ToTensor`: levels divided by 255, planes instead of pixels;
//! 4. `Normalize`: `(x - mean) / std`.
//!
//! Random crops, which only training takes, are resized by Pillow's bicubic
//! kernel ([`Resizer`]).
//!
//! A grey image stands for one with three equal channels. It is resized once,
//! and replicated only where the network wants three channels.

mod image;
mod jpeg;
mod resize;
mod transpose;

use crate::card::{InputSpec, Preprocessing};

pub use self::resize::{Kernel, Resizer};

pub use self::image::{Image, ImageView, LoadImageError, ViewError, brightness, load_image};

/// Brings images to the form that a network takes.
///
/// It keeps the coefficients and buffers for one size of image, so that
/// nothing is allocated while the size stays the same.
#[derive(Debug)]
pub struct Preprocessor {
    channels: usize,
    resizer: Resizer,
    /// Normalised value of each level, for each channel of the network.
    values: Vec<[f32; 256]>,
    /// Brightness of a colour image for a network with one channel.
    luma: Vec<u8>,
    /// Resized planes on their way to normalisation.
    levels: Vec<u8>,
}

impl Preprocessor {
    /// A preprocessor for a network's input; both come from a valid card.
    pub fn new(input: &InputSpec, preprocessing: &Preprocessing) -> Self {
        let statistics = preprocessing.mean.iter().zip(&preprocessing.std);
        let values = statistics
            .take(input.channels)
            .map(|(mean, std)| {
                // The operations and their order are those of torchvision, so
                // that the floats are the same ones.
                std::array::from_fn(|level| (level as f32 / 255.0 - mean) / std)
            })
            .collect();
        Self {
            channels: input.channels,
            resizer: Resizer::new(input.width, input.height, Kernel::Bilinear),
            values,
            luma: Vec::new(),
            levels: vec![0; input.channels * input.width * input.height],
        }
    }

    /// Number of elements of one prepared image: channels x height x width.
    pub fn output_len(&self) -> usize {
        self.levels.len()
    }

    /// Resizes an image to levels `[channels, height, width]`: the input of a
    /// network that has scaling and normalisation folded in.
    ///
    /// A colour image for a network with one channel becomes its brightness by
    /// Pillow's `convert("L")`, which is the level itself where the three
    /// channels are equal.
    ///
    /// # Errors
    /// [`PreprocessError`] when `output` does not have
    /// [`output_len`](Self::output_len) elements.
    pub fn prepare_u8(
        &mut self,
        image: ImageView<'_>,
        output: &mut [u8],
    ) -> Result<(), PreprocessError> {
        self.check(output.len())?;
        let distinct = self.resize_distinct(image, output);
        let plane = self.resizer.target_len();
        for channel in distinct..self.channels {
            output.copy_within(..plane, channel * plane);
        }
        Ok(())
    }

    /// Resizes and normalises an image to values `[channels, height, width]`.
    ///
    /// # Errors
    /// As [`Preprocessor::prepare_u8`].
    pub fn prepare_f32(
        &mut self,
        image: ImageView<'_>,
        output: &mut [f32],
    ) -> Result<(), PreprocessError> {
        self.check(output.len())?;
        let mut levels = std::mem::take(&mut self.levels);
        let distinct = self.resize_distinct(image, &mut levels);
        let plane = self.resizer.target_len();
        for (channel, values) in self.values.iter().enumerate() {
            let source = channel.min(distinct - 1) * plane;
            let levels = &levels[source..source + plane];
            let output = &mut output[channel * plane..(channel + 1) * plane];
            for (value, level) in output.iter_mut().zip(levels) {
                *value = values[usize::from(*level)];
            }
        }
        self.levels = levels;
        Ok(())
    }

    fn check(&self, got: usize) -> Result<(), PreprocessError> {
        let expected = self.output_len();
        if got == expected {
            Ok(())
        } else {
            Err(PreprocessError { expected, got })
        }
    }

    /// Resizes the channels that differ from one another to the beginning of
    /// `output`; returns how many these are.
    fn resize_distinct(&mut self, image: ImageView<'_>, output: &mut [u8]) -> usize {
        let plane = self.resizer.target_len();
        match (image.channels, self.channels) {
            (1, _) => {
                self.resizer.resize(image, 0, &mut output[..plane]);
                1
            }
            (_, 1) => {
                image.luma_into(&mut self.luma);
                let luma = ImageView {
                    channels: 1,
                    row_stride: image.width,
                    pixels: &self.luma,
                    ..image
                };
                self.resizer.resize(luma, 0, &mut output[..plane]);
                1
            }
            (channels, _) => {
                for (channel, output) in output.chunks_exact_mut(plane).enumerate() {
                    self.resizer.resize(image, channel, output);
                }
                channels
            }
        }
    }
}

/// A buffer that does not fit the network's input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("one prepared image has {expected} elements, but the buffer has {got}")]
pub struct PreprocessError {
    /// Elements of one prepared image.
    pub expected: usize,
    /// Elements of the buffer.
    pub got: usize,
}

#[cfg(test)]
mod tests;
