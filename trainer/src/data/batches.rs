//! A thread that keeps the next batches ready.

use std::sync::mpsc::sync_channel;

use rayon::prelude::*;

use super::DataError;
use super::augment::{self, Change, Tile};
use super::order::{Stream, generator};
use super::tiles::Tiles;

/// Batches that wait while the network works on the one before.
const AHEAD: usize = 2;

/// What is made of a tile, each time that it is drawn.
#[derive(Debug, Clone, PartialEq)]
pub struct View {
    /// Height and width in pixels.
    pub size: [usize; 2],
    /// Random changes, in this order.
    pub changes: Vec<Change>,
}

/// A batch of prepared tiles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Of each view of the pass the levels `[n, channels, height, width]`.
    pub views: Vec<Vec<u8>>,
    /// Number of each tile in its part of the table.
    pub tiles: Vec<usize>,
    /// Class index of each tile.
    pub labels: Vec<usize>,
}

/// What the batches of one pass are made of.
#[derive(Debug, Clone, Copy)]
pub struct Pass<'a> {
    /// Where the tiles come from.
    pub tiles: &'a Tiles,
    /// Which tiles, in which order.
    pub order: &'a [usize],
    /// Batches at the beginning of the order that are left out: those that a
    /// resumed run has already seen.
    pub skip: usize,
    /// Tiles in a batch; the last one may have fewer.
    pub batch_size: usize,
    /// What is made of each tile; with none, no tile is decoded and the batches
    /// hold labels only.
    pub views: &'a [View],
    /// Seed of the random changes.
    pub seed: u64,
    /// Number of the pass; another one gives other random changes.
    pub epoch: usize,
}

/// Hands every batch of a pass to `consume` while the next ones are prepared
/// on `threads`. Neither their number nor their timing changes a byte.
///
/// # Errors
/// When a tile cannot be read, or what `consume` returns.
pub fn for_each<E: From<DataError> + Send>(
    pass: Pass<'_>,
    threads: &rayon::ThreadPool,
    mut consume: impl FnMut(Batch) -> Result<(), E>,
) -> Result<(), E> {
    let batch_size = pass.batch_size.max(1);
    std::thread::scope(|scope| {
        let (sender, receiver) = sync_channel(AHEAD);
        scope.spawn(move || {
            let chunks = pass.order.chunks(batch_size).enumerate();
            for (number, chunk) in chunks.skip(pass.skip) {
                let batch = threads.install(|| prepare(pass, chunk, number * batch_size));
                let failed = batch.is_err();
                // The receiver is gone when the consumer gave up.
                if sender.send(batch).is_err() || failed {
                    return;
                }
            }
        });
        for batch in receiver {
            consume(batch?)?;
        }
        Ok(())
    })
}

fn prepare(pass: Pass<'_>, chunk: &[usize], first: usize) -> Result<Batch, DataError> {
    let prepared = chunk
        .par_iter()
        .enumerate()
        .map(|(position, &tile)| {
            if pass.views.is_empty() {
                return Ok(Vec::new());
            }
            let tile = pass.tiles.tile(tile)?;
            // By position, not by tile: balanced sampling may draw a tile
            // twice in one pass.
            let number = (pass.epoch as u64) << 32 | (first + position) as u64;
            let mut random = generator(pass.seed, Stream::Augmentation, number);
            let tile = Tile {
                levels: &tile.levels,
                channels: pass.tiles.form.colour.channels(),
                size: tile.size,
            };
            let view = |view: &View| augment::apply(&view.changes, tile, view.size, &mut random);
            pass.views.iter().map(view).collect()
        })
        .collect::<Result<Vec<Vec<Vec<u8>>>, DataError>>()?;
    let mut views = vec![Vec::new(); pass.views.len()];
    for tile in prepared {
        for (all, levels) in views.iter_mut().zip(tile) {
            all.extend_from_slice(&levels);
        }
    }
    Ok(Batch {
        views,
        tiles: chunk.to_vec(),
        labels: chunk.iter().map(|&tile| pass.tiles.labels[tile]).collect(),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::path::Path;

    use super::*;
    use crate::data::index;
    use crate::data::tiles::{Colour, TileForm};

    #[test]
    fn views_have_their_sizes_and_do_not_depend_on_the_number_of_threads() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("a")).unwrap();
        for tile in 0..5u32 {
            let image = image::GrayImage::from_fn(24, 24, |x, y| {
                image::Luma([(x * 7 + y * 5 + tile * 31) as u8])
            });
            let path = root.path().join(format!("a/{tile}.png"));
            image.save(path).unwrap();
        }
        let rows = index::folder(root.path()).unwrap().rows;
        let form = TileForm {
            size: [24, 24],
            colour: Colour::Grey,
        };
        let classes = ["a".to_owned()];
        let table = Path::new("table.csv");
        let tiles = Tiles::new(&rows, &classes, root.path(), form, 1 << 20, table).unwrap();
        let crop = Change::RandomCrop {
            area: (0.3, 0.6),
            aspect: Change::ASPECT,
        };
        let view = |side, changes| View {
            size: [side, side],
            changes,
        };
        let views = [
            view(24, vec![]),
            view(16, vec![crop, Change::Noise { deviation: 9.0 }]),
            view(16, vec![crop]),
        ];
        // A tile that is drawn twice is changed in another way.
        let order = [3, 1, 1, 0, 4];
        let batches = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
            let pass = Pass {
                tiles: &tiles,
                order: &order,
                skip: 0,
                batch_size: 3,
                views: &views,
                seed: 7,
                epoch: 2,
            };
            let mut batches = Vec::new();
            for_each(
                pass,
                &pool.build().unwrap(),
                |batch| -> Result<(), DataError> {
                    batches.push(batch);
                    Ok(())
                },
            )
            .unwrap();
            batches
        };
        let one = batches(1);
        assert_eq!(one, batches(3));
        let sizes = |batch: &Batch| batch.views.iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(sizes(&one[0]), [3 * 576, 3 * 256, 3 * 256]);
        assert_eq!(sizes(&one[1]), [2 * 576, 2 * 256, 2 * 256]);
        let tile = |view: usize, number: usize, size| &one[0].views[view][number * size..][..size];
        assert_eq!(tile(0, 1, 576), tile(0, 2, 576));
        assert_ne!(tile(1, 1, 256), tile(1, 2, 256));
        assert_ne!(tile(1, 1, 256), tile(2, 1, 256));
    }

    #[test]
    fn a_whole_view_of_a_stored_tile_is_what_the_network_sees_at_inspection() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("a")).unwrap();
        let image = image::RgbImage::from_fn(90, 70, |x, y| {
            image::Rgb([(x * 7 + y * 5) as u8, (x * y) as u8, (x * 3 + y) as u8])
        });
        image.save(root.path().join("a/0.png")).unwrap();
        let rows = index::folder(root.path()).unwrap().rows;
        for colour in [Colour::Grey, Colour::Rgb] {
            let form = TileForm {
                size: [24, 32],
                colour,
            };
            let open = || {
                let classes = ["a".to_owned()];
                Tiles::new(&rows, &classes, root.path(), form, 1 << 20, root.path()).unwrap()
            };
            let (prepared, stored) = (open(), open().stored());
            let pass = Pass {
                tiles: &stored,
                order: &[0],
                skip: 0,
                batch_size: 1,
                views: &[View {
                    size: form.size,
                    changes: Vec::new(),
                }],
                seed: 0,
                epoch: 0,
            };
            let pool = rayon::ThreadPoolBuilder::new().build().unwrap();
            let mut views = Vec::new();
            for_each(pass, &pool, |batch| -> Result<(), DataError> {
                views.extend(batch.views);
                Ok(())
            })
            .unwrap();
            assert_eq!(views, [prepared.tile(0).unwrap().levels.into_owned()]);
        }
    }
}
