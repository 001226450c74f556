//! Pictures of tiles, of what a masked autoencoder sees of them, and of what it
//! fills in.

use std::io::Cursor;
use std::path::Path;

use burn::tensor::Tensor;
use image::{ImageFormat, Rgb, RgbImage};
use millsight_export::card::Preprocessing;
use millsight_export::durable::replace_file;

use crate::TrainError;
use crate::model::mae::masks::Masks;
use crate::model::mae::{Mae, patch_statistics};
use crate::model::parameters::to_vec;
use crate::model::patches;

/// Level of removed patches in the picture of what the network sees.
const REMOVED: u8 = 128;
/// Level between the pictures.
const GAP: u8 = 255;
/// Width of the gap in pixels.
const GAP_PIXELS: u32 = 4;

/// Writes a sheet with a row for each image: the image, the image without its
/// removed patches, and the image with these as the network fills them in
/// (as the official `mae_visualize.ipynb` shows them).
///
/// `images` are normalised, `[n, 3, height, width]`, on a device without
/// autodiff. Where the network predicts normalised patches, mean and deviation
/// of each patch are taken from the image.
///
/// # Errors
/// When the device does not give its numbers, or the file cannot be written.
pub fn write(
    path: &Path,
    network: &Mae,
    images: Tensor<4>,
    masks: &Masks,
    normalised_patches: bool,
    preprocessing: &Preprocessing,
) -> Result<(), TrainError> {
    let [n, _, height, width] = images.dims();
    let patch = network.patch_embed.patch();
    let shown = Sheet {
        patch,
        columns: width / patch,
        preprocessing,
    };
    let predicted = network.predict(images.clone(), masks);
    let [_, all, length] = predicted.dims();
    let mut predicted = predicted.reshape([n * all, length]);
    let pixels = patches::cut(images, patch).reshape([n * all, length]);
    let pixels = patches::channels_last(pixels);
    if normalised_patches {
        let (mean, deviation) = patch_statistics(pixels.clone());
        predicted = predicted * deviation + mean;
    }
    let pixels = to_vec(pixels, "the tiles")?;
    let predicted = to_vec(predicted, "the predicted pixels")?;
    let removed = masks.removed();
    let (width, height) = (width as u32, height as u32);
    let mut sheet = RgbImage::from_pixel(
        3 * width + 2 * GAP_PIXELS,
        n as u32 * (height + GAP_PIXELS) - GAP_PIXELS,
        Rgb([GAP; 3]),
    );
    for image in 0..n {
        let own = image * all * length..(image + 1) * all * length;
        let original = &pixels[own.clone()];
        let mut filled_in = predicted[own].to_vec();
        let patches = filled_in.chunks_exact_mut(length);
        let removed = &removed[image * all..(image + 1) * all];
        for ((patch, known), removed) in patches.zip(original.chunks_exact(length)).zip(removed) {
            if !removed {
                patch.copy_from_slice(known);
            }
        }
        let mut seen = shown.image(original);
        shown.blank(&mut seen, removed);
        let pictures = [shown.image(original), seen, shown.image(&filled_in)];
        for (column, picture) in pictures.iter().enumerate() {
            let left = column as u32 * (width + GAP_PIXELS);
            let top = image as u32 * (height + GAP_PIXELS);
            image::imageops::replace(&mut sheet, picture, left.into(), top.into());
        }
    }
    let mut bytes = Cursor::new(Vec::new());
    sheet
        .write_to(&mut bytes, ImageFormat::Png)
        .map_err(std::io::Error::other)
        .map_err(TrainError::io("encode", path))?;
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(TrainError::io("make the folder", folder))?;
    }
    replace_file(path, &bytes.into_inner()).map_err(TrainError::io("write", path))
}

struct Sheet<'a> {
    patch: usize,
    columns: usize,
    preprocessing: &'a Preprocessing,
}

impl Sheet<'_> {
    /// The normalised pixels of an image's patches as levels.
    fn image(&self, pixels: &[f32]) -> RgbImage {
        let Preprocessing { mean, std, .. } = self.preprocessing;
        let joined = patches::join(pixels, self.patch, self.columns);
        let width = (self.columns * self.patch) as u32;
        let height = joined.len() as u32 / 3 / width;
        RgbImage::from_fn(width, height, |x, y| {
            let first = 3 * (y * width + x) as usize;
            // A float cast saturates at 0 and 255.
            Rgb([0, 1, 2].map(|channel| {
                let value = joined[first + channel] * std[channel] + mean[channel];
                (value * 255.0).round() as u8
            }))
        })
    }

    fn blank(&self, image: &mut RgbImage, removed: &[bool]) {
        let patch = self.patch as u32;
        for (x, y, pixel) in image.enumerate_pixels_mut() {
            let number = (y / patch) as usize * self.columns + (x / patch) as usize;
            if removed[number] {
                *pixel = Rgb([REMOVED; 3]);
            }
        }
    }
}
