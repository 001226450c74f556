//! The crops of a tile.

use std::ops::Range;

use burn::tensor::{Device, Tensor};
use millsight_export::card::Preprocessing;

use super::config::DinoConfig;
use crate::data::augment::Change;
use crate::data::batches::{Batch, View};
use crate::model::pixels;

/// Two large crops of the network's own `size` and the small ones, changed as
/// the official code changes them (`DataAugmentationDINO`): a crop, a mirror
/// image, jitter of brightness, contrast and colour, a blur whose probability
/// differs between the two large crops, and solarisation of the second. What
/// has to do with colour does nothing to grey tiles, and colour tiles are never
/// turned grey.
pub fn of(recipe: &DinoConfig, size: [usize; 2]) -> Vec<View> {
    let view = |size: [usize; 2], [least, largest]: [f64; 2], blur: f64, solarise: f64| {
        let official = [
            Change::RandomCrop {
                area: (least, largest),
                aspect: Change::ASPECT,
            },
            Change::FlipHorizontal { probability: 0.5 },
            Change::Jitter {
                brightness: 0.4,
                contrast: 0.4,
                saturation: 0.2,
                hue: 0.1,
                probability: 0.8,
            },
            Change::Blur {
                sigma: (0.1, 2.0),
                probability: blur,
            },
            Change::Solarise {
                threshold: 128,
                probability: solarise,
            },
        ];
        let more = recipe.augmentations.iter().copied();
        View {
            size,
            changes: official.into_iter().chain(more).collect(),
        }
    };
    let local = view([recipe.local_size; 2], recipe.local_scale, 0.5, 0.0);
    [
        view(size, recipe.global_scale, 1.0, 0.0),
        view(size, recipe.global_scale, 0.1, 0.2),
    ]
    .into_iter()
    .chain(std::iter::repeat_n(local, recipe.local_crops))
    .collect()
}

/// Crops of a batch as they come from the loader.
#[derive(Debug, Clone, Copy)]
pub struct Levels<'a> {
    /// What the crops are.
    pub views: &'a [View],
    /// Their levels.
    pub batch: &'a Batch,
    /// Channels of the levels.
    pub channels: usize,
    /// How they are normalised.
    pub preprocessing: &'a Preprocessing,
}

impl Levels<'_> {
    /// The first `count` crops of some images, normalised: crops of one
    /// resolution in one tensor `[rows, 3, height, width]`, all images of a
    /// crop before those of the next.
    pub fn normalised(
        &self,
        images: Range<usize>,
        count: usize,
        device: &Device,
    ) -> Vec<Tensor<4>> {
        let mut levels = self.batch.views.iter();
        self.views[..count]
            .chunk_by(|one, next| one.size == next.size)
            .map(|group| {
                let size = group[0].size;
                let bytes = self.channels * size[0] * size[1];
                let rows = images.start * bytes..images.end * bytes;
                let levels: Vec<u8> = levels
                    .by_ref()
                    .take(group.len())
                    .flat_map(|crop| &crop[rows.clone()])
                    .copied()
                    .collect();
                pixels::normalised(levels, self.channels, size, self.preprocessing, device)
            })
            .collect()
    }
}

/// As many of `tiles` as fill whole batches; all of them where they do not
/// fill one.
pub fn whole_batches(tiles: usize, batch_size: usize) -> usize {
    match tiles / batch_size {
        0 => tiles,
        batches => batches * batch_size,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;
    use crate::model::parameters::to_vec;

    #[test]
    fn only_the_first_large_crop_is_always_blurred_and_only_the_second_solarised() {
        let recipe = DinoConfig {
            local_crops: 3,
            augmentations: vec![Change::Noise { deviation: 2.0 }],
            ..DinoConfig::official(224, 16)
        };
        let views = of(&recipe, [224, 224]);
        let sizes: Vec<usize> = views.iter().map(|view| view.size[0]).collect();
        assert_eq!(sizes, [224, 224, 96, 96, 96]);
        let probabilities = |view: &View| {
            let of = |change: &Change| match change {
                Change::Blur { probability, .. } => Some(*probability),
                Change::Solarise { probability, .. } => Some(*probability),
                _ => None,
            };
            view.changes.iter().filter_map(of).collect::<Vec<_>>()
        };
        assert_eq!(probabilities(&views[0]), [1.0, 0.0]);
        assert_eq!(probabilities(&views[1]), [0.1, 0.2]);
        assert_eq!(probabilities(&views[2]), [0.5, 0.0]);
        for view in &views {
            assert!(view.changes.iter().all(|change| change.check().is_ok()));
            assert!(matches!(view.changes[0], Change::RandomCrop { .. }));
            assert_eq!(view.changes.last(), Some(&Change::Noise { deviation: 2.0 }));
        }
    }

    #[test]
    fn crops_of_one_resolution_come_together_crop_by_crop() {
        let view = |side: usize| View {
            size: [side; 2],
            changes: Vec::new(),
        };
        let views = [view(2), view(2), view(1), view(1), view(1)];
        // Each level tells crop and image: ten times the crop, plus the image.
        let crop = |(number, view): (usize, &View)| {
            let pixels = view.size[0] * view.size[1];
            (0..3)
                .flat_map(|image| std::iter::repeat_n((10 * number + image) as u8, pixels))
                .collect()
        };
        let batch = Batch {
            views: views.iter().enumerate().map(crop).collect(),
            tiles: vec![0, 1, 2],
            labels: vec![0; 3],
        };
        let preprocessing = Preprocessing {
            mean: [0.0; 3],
            std: [1.0 / 255.0; 3],
            ..Preprocessing::imagenet()
        };
        let levels = Levels {
            views: &views,
            batch: &batch,
            channels: 1,
            preprocessing: &preprocessing,
        };
        let groups = levels.normalised(1..3, 5, &Device::flex());
        assert_eq!(groups[0].dims(), [4, 3, 2, 2]);
        assert_eq!(groups[1].dims(), [6, 3, 1, 1]);
        let first = |group: &Tensor<4>| -> Vec<u8> {
            let all = to_vec(group.clone(), "crops").unwrap();
            let image = all.len() / group.dims()[0];
            all.iter().step_by(image).map(|x| x.round() as u8).collect()
        };
        assert_eq!(first(&groups[0]), [1, 2, 11, 12]);
        assert_eq!(first(&groups[1]), [21, 22, 31, 32, 41, 42]);
        assert_eq!(levels.normalised(0..1, 2, &Device::flex()).len(), 1);
    }

    #[test]
    fn what_does_not_fill_a_batch_is_left_out() {
        assert_eq!(whole_batches(10, 4), 8);
        assert_eq!(whole_batches(8, 4), 8);
        assert_eq!(whole_batches(3, 4), 3);
    }
}
