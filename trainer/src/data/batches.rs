//! A thread that keeps the next batches ready.

use std::sync::mpsc::sync_channel;

use rayon::prelude::*;

use super::DataError;
use super::augment::{self, Augmentation};
use super::order::{Stream, generator};
use super::tiles::Tiles;

/// Batches that wait while the network works on the one before.
const AHEAD: usize = 2;

/// What is made of a tile, each time that it is drawn.
#[derive(Debug, Clone, PartialEq)]
pub struct View {
    /// Height and width in pixels.
    pub size: [usize; 2],
    /// Random changes.
    pub changes: Vec<Augmentation>,
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
    /// What is made of each tile.
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
            let levels = pass.tiles.tile(tile)?;
            // By position, not by tile: balanced sampling may draw a tile
            // twice in one pass.
            let number = (pass.epoch as u64) << 32 | (first + position) as u64;
            let mut random = generator(pass.seed, Stream::Augmentation, number);
            let view = |view: &View| {
                let mut levels = levels.to_vec();
                augment::apply(&view.changes, &mut levels, view.size, &mut random);
                levels
            };
            Ok(pass.views.iter().map(view).collect())
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
