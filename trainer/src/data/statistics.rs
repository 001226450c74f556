//! Mean and deviation of a data set's levels.

use super::DataError;
use super::order;
use super::tiles::Tiles;

/// Tiles that are looked at.
const SAMPLE: usize = 256;

/// Mean and standard deviation of each channel over tiles, as large as the
/// network takes them, that are spread evenly over the set, in units of 0..1, rounded to 4 digits; a grey tile's serve for
/// all three channels.
///
/// # Errors
/// When a tile cannot be read.
pub fn of(tiles: &Tiles) -> Result<([f32; 3], [f32; 3]), DataError> {
    let channels = tiles.form.colour.channels();
    let plane = tiles.form.bytes() / channels;
    let sample = order::spread(tiles.len(), SAMPLE);
    // Whole numbers, so that the order of summation does not matter.
    let mut sums = vec![(0u64, 0u64); channels];
    for &number in &sample {
        let tile = tiles.tile(number)?;
        for (levels, (sum, squares)) in tile.levels.chunks_exact(plane).zip(&mut sums) {
            for level in levels {
                *sum += u64::from(*level);
                *squares += u64::from(*level).pow(2);
            }
        }
    }
    let pixels = (sample.len() * plane).max(1) as f64;
    let figures = |channel: usize| {
        let (sum, squares) = sums[channel.min(channels - 1)];
        let mean = sum as f64 / pixels;
        let variance = (squares as f64 / pixels - mean * mean).max(0.0);
        // A set of one level would otherwise divide by 0.
        (mean / 255.0, (variance.sqrt() / 255.0).max(1e-3))
    };
    let rounded = |value: f64| ((value * 1e4).round() / 1e4) as f32;
    Ok((
        std::array::from_fn(|channel| rounded(figures(channel).0)),
        std::array::from_fn(|channel| rounded(figures(channel).1)),
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;
    use crate::data::table::Row;
    use crate::data::tiles::{Colour, TileForm};
    use image::{GrayImage, Luma};
    use std::path::Path;

    #[test]
    fn a_grey_set_has_the_same_figures_for_all_channels() {
        let folder = tempfile::tempdir().unwrap();
        let rows: Vec<Row> = [(51u8, "dark.png"), (153, "bright.png")]
            .into_iter()
            .map(|(level, name)| {
                GrayImage::from_pixel(8, 8, Luma([level]))
                    .save(folder.path().join(name))
                    .unwrap();
                Row {
                    path: name.into(),
                    label: "a".into(),
                    width: None,
                    height: None,
                    mode: None,
                    sha256: None,
                    group: None,
                    split: None,
                }
            })
            .collect();
        let form = TileForm {
            size: [8, 8],
            colour: Colour::Grey,
        };
        let classes = ["a".to_owned()];
        let tiles = Tiles::new(
            &rows,
            &classes,
            folder.path(),
            form,
            0,
            Path::new("table.csv"),
        )
        .unwrap();
        assert_eq!(of(&tiles).unwrap(), ([0.4; 3], [0.2; 3]));
    }
}
