//! Small synthetic tiles: noise with a mark that tells the class.

use std::path::Path;

use image::{GrayImage, Luma};
use millsight_trainer::data::split::{Shares, stratified};
use millsight_trainer::data::table::Split;
use millsight_trainer::data::{index, table};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

/// A folder with so many square tiles of each class.
pub fn folder(classes: &[(&str, usize)], side: u32) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut random = Pcg64::seed_from_u64(99);
    for (class, count) in classes {
        std::fs::create_dir(folder.path().join(class)).unwrap();
        for number in 0..*count {
            tile(class, side, &mut random)
                .save(folder.path().join(class).join(format!("{number:03}.png")))
                .unwrap();
        }
    }
    folder
}

fn tile(class: &str, side: u32, random: &mut Pcg64) -> GrayImage {
    let at = random.random_range(side / 4..side / 2);
    GrayImage::from_fn(side, side, |x, y| {
        let noise = random.random_range(110..150);
        let marked = match class {
            "cracks" => x.abs_diff(at) < side / 10,
            "overfill" => y.abs_diff(at) < side / 6,
            _ => false,
        };
        Luma([match (class, marked) {
            ("cracks", true) => noise - 90,
            ("overfill", true) => noise + 90,
            _ => noise,
        }])
    })
}

/// Writes `split.csv` with the default shares.
pub fn split(folder: &Path) {
    let mut rows = index::folder(folder).unwrap().rows;
    stratified(&mut rows, Shares::default(), 1).unwrap();
    table::write(&folder.join("split.csv"), &rows).unwrap();
}

/// Writes `split.csv` with every tile in both the training and the
/// validation part.
#[allow(
    dead_code,
    reason = "not every test file that shares this module needs it"
)]
pub fn split_all_into_train_and_val(folder: &Path) {
    let rows = index::folder(folder).unwrap().rows;
    let both = [Split::Train, Split::Val].into_iter().flat_map(|split| {
        rows.iter().cloned().map(move |mut row| {
            row.split = Some(split);
            row
        })
    });
    table::write(&folder.join("split.csv"), &both.collect::<Vec<_>>()).unwrap();
}
