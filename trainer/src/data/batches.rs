//! A thread that keeps the next batches ready.

use std::sync::mpsc::sync_channel;

use rayon::prelude::*;

use super::DataError;
use super::augment::{self, Augmentation};
use super::order::{Stream, generator};
use super::tiles::Tiles;

/// Batches that wait while the network works on the one before.
const AHEAD: usize = 2;

/// A batch of prepared tiles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Levels `[n, channels, height, width]`.
    pub levels: Vec<u8>,
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
    /// Tiles in a batch; the last one may have fewer.
    pub batch_size: usize,
    /// Random changes of each tile.
    pub augmentations: &'a [Augmentation],
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
            for (number, chunk) in pass.order.chunks(batch_size).enumerate() {
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
    let size = pass.tiles.form.bytes();
    let mut levels = vec![0; size * chunk.len()];
    levels
        .par_chunks_exact_mut(size)
        .zip(chunk)
        .enumerate()
        .try_for_each(|(position, (levels, &tile))| {
            levels.copy_from_slice(&pass.tiles.tile(tile)?);
            // By position, not by tile: balanced sampling may draw a tile
            // twice in one pass.
            let number = (pass.epoch as u64) << 32 | (first + position) as u64;
            let mut random = generator(pass.seed, Stream::Augmentation, number);
            augment::apply(
                pass.augmentations,
                levels,
                pass.tiles.form.size,
                &mut random,
            );
            Ok::<(), DataError>(())
        })?;
    Ok(Batch {
        levels,
        labels: chunk.iter().map(|&tile| pass.tiles.labels[tile]).collect(),
    })
}
