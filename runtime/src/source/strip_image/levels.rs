//! From the samples of an image's pixels to grey levels of 8 bits.

use millsight_export::preprocess::brightness;
use millsight_firmware_config::PixelFormat;

/// How the pixels of a strip become levels.
#[derive(Debug)]
pub(super) struct Levels {
    /// Samples of a pixel: grey, grey and alpha, RGB, RGB and alpha.
    channels: usize,
    /// Bits that a camera put into samples of 16 bits; unused for 8.
    bits: u32,
    /// Samples of a line, reduced to 8 bits.
    reduced: Vec<u8>,
}

impl Levels {
    /// Pixels of `channels` samples of `depth` bits, 8 or 16. What the upper
    /// bits of 16 mean is known from the camera's pixel format alone.
    ///
    /// # Errors
    /// When there are 16 bits and the format is one of 8.
    pub(super) fn new(channels: usize, depth: u8, format: PixelFormat) -> Result<Self, String> {
        if depth == 16 && format.bits() <= 8 {
            return Err(
                "its pixels have 16 bits, and nothing says which of them the camera used; \
                 give its station with `--station FILE` and write `camera.pixel_format = \
                 \"mono10\"`, \"mono12\" or \"mono16\" there, or export the strip with 8 bits"
                    .into(),
            );
        }
        Ok(Self {
            channels,
            bits: format.bits(),
            reduced: Vec::new(),
        })
    }

    /// Appends the levels of pixels with samples of 8 bits. Alpha is dropped;
    /// colour becomes its brightness, as in `export::preprocess`.
    pub(super) fn append_8(&self, samples: &[u8], target: &mut Vec<u8>) {
        append(self.channels, samples, target);
    }

    /// Appends the levels of pixels with samples of 16 bits: the upper 8 of
    /// the bits that the camera used.
    ///
    /// # Errors
    /// When a sample does not fit into those bits, because then the format is
    /// not the one that the strip was taken with.
    pub(super) fn append_16(
        &mut self,
        samples: impl Iterator<Item = u16>,
        target: &mut Vec<u8>,
    ) -> Result<(), String> {
        let shift = self.bits - 8;
        let has_alpha = self.channels.is_multiple_of(2);
        self.reduced.clear();
        for (index, sample) in samples.enumerate() {
            let is_alpha = has_alpha && index % self.channels == self.channels - 1;
            let level = if is_alpha { 0 } else { sample >> shift };
            let Ok(level) = u8::try_from(level) else {
                return Err(format!(
                    "a pixel has the level {sample}, but `camera.pixel_format` states {} bits; \
                     write the format that the strip was taken with",
                    self.bits
                ));
            };
            self.reduced.push(level);
        }
        append(self.channels, &self.reduced, target);
        Ok(())
    }
}

fn append(channels: usize, samples: &[u8], target: &mut Vec<u8>) {
    match channels {
        1 => target.extend_from_slice(samples),
        2 => target.extend(samples.iter().step_by(2)),
        _ => {
            let pixels = samples.chunks_exact(channels);
            target.extend(pixels.map(|pixel| brightness([pixel[0], pixel[1], pixel[2]])));
        }
    }
}
