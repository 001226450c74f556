//! Logits of many tiles.

use burn::tensor::{Device, Tensor};
use millsight_export::card::Preprocessing;

use crate::TrainError;
use crate::data::batches::{Pass, View, for_each};
use crate::data::tiles::Tiles;
use crate::model::{parameters, pixels};
use crate::optimise::workers::Workers;

/// Threads and sizes with which a network is run; they change no logit by
/// more than rounding, and none at all on the CPU.
#[derive(Debug, Clone, Copy)]
pub struct Means<'a> {
    /// Where the network lies, without autodiff.
    pub device: &'a Device,
    /// Compute shards.
    pub workers: &'a Workers,
    /// Decode tiles.
    pub loaders: &'a rayon::ThreadPool,
    /// Tiles in a shard.
    pub shard_size: usize,
    /// Tiles in a batch.
    pub batch_size: usize,
}

/// Logits of the tiles `which`, `[which.len(), classes]`, row-major.
///
/// `network` gives the logits `[n, classes]` of normalised images
/// `[n, 3, height, width]`, without autodiff. `seen` is told of each batch how many
/// tiles it had.
///
/// # Errors
/// When a tile cannot be read or the device fails.
pub fn logits(
    network: impl Fn(Tensor<4>) -> Tensor<2> + Sync,
    tiles: &Tiles,
    which: &[usize],
    preprocessing: &Preprocessing,
    means: Means<'_>,
    mut seen: impl FnMut(usize),
) -> Result<Vec<f32>, TrainError> {
    let pass = Pass {
        tiles,
        order: which,
        batch_size: means.batch_size,
        skip: 0,
        views: &[View {
            size: tiles.form.size,
            changes: Vec::new(),
        }],
        seed: 0,
        epoch: 0,
    };
    let form = tiles.form;
    let mut all = Vec::new();
    for_each(pass, means.loaders, |batch| {
        let shards: Vec<&[u8]> = batch.views[0]
            .chunks(form.bytes() * means.shard_size.max(1))
            .collect();
        let mut problem = None;
        means.workers.in_order(
            shards.len(),
            |shard| {
                let images = pixels::normalised(
                    shards[shard].to_vec(),
                    form.colour.channels(),
                    form.size,
                    preprocessing,
                    means.device,
                );
                parameters::to_vec(network(images), "logits")
            },
            |logits| match logits {
                Ok(logits) => all.extend(logits),
                Err(error) => problem = Some(error),
            },
        );
        seen(batch.labels.len());
        problem.map_or(Ok(()), |error| Err(TrainError::Model(error)))
    })?;
    Ok(all)
}
