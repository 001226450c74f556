//! Our side of each workload.

use std::error::Error;

use burn::tensor::Device;
use millsight_export::card::Preprocessing;
use millsight_trainer::downstream::loss::{self, Reduction};
use millsight_trainer::model::presets::Preset;
use millsight_trainer::model::vit::Vit;
use millsight_trainer::model::{initial, pixels};
use millsight_trainer::optimise::adamw::{AdamW, AdamWConfig};
use millsight_trainer::optimise::gradients;
use millsight_trainer::optimise::workers::Workers;

/// Images of a step; DINO cuts each into its crops.
pub const BATCH: usize = 32;
/// Pixels of a side.
const SIZE: usize = 224;
const CLASSES: usize = 5;
/// The default of `millsight-train`.
const SHARD: usize = 4;

/// Computes one step.
pub type Step = Box<dyn FnMut() -> Result<(), Box<dyn Error>>>;
/// Prepares a workload for a number of threads.
pub type Prepare = fn(usize) -> Result<Step, Box<dyn Error>>;

/// The workloads and their names, which are those of `training_step.py`.
pub const ALL: [(&str, Prepare); 1] = [("supervised", supervised)];

/// A workload by its name.
pub fn find(name: &str) -> Result<(&'static str, Prepare), Box<dyn Error>> {
    let found = ALL.into_iter().find(|(known, _)| *known == name);
    found.ok_or_else(|| {
        let names: Vec<&str> = ALL.iter().map(|(name, _)| *name).collect();
        format!(
            "there is no workload {name:?}; there are: {}",
            names.join(", ")
        )
        .into()
    })
}

/// Grey noise: no time depends on what is seen.
fn levels(count: usize, size: usize) -> Vec<u8> {
    let mut state = 1u32;
    (0..count * size * size)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .collect()
}

fn supervised(threads: usize) -> Result<Step, Box<dyn Error>> {
    let device = Device::flex();
    let training = device.clone().autodiff();
    let spec = Preset::Tiny.spec(CLASSES);
    let mut network = Vit::from_weights(&spec, &initial::vit(&spec, 1.0, 0)?, &training)?;
    let mut optimiser = AdamW::new(AdamWConfig::default(), &network, &device);
    let workers = Workers::new(threads)?;
    let levels = levels(BATCH, SIZE);
    let labels: Vec<usize> = (0..BATCH).map(|index| index % CLASSES).collect();
    let shares = loss::shares(&labels, &[1.0; CLASSES], Reduction::WeightedMean);
    Ok(Box::new(move || {
        let shard_loss = |network: &Vit, shard: usize| {
            let images = pixels::normalised(
                levels[shard * SHARD * SIZE * SIZE..][..SHARD * SIZE * SIZE].to_vec(),
                1,
                [SIZE, SIZE],
                &Preprocessing::imagenet(),
                &training,
            );
            let own = shard * SHARD..(shard + 1) * SHARD;
            let logits = network.forward(images);
            loss::cross_entropy(logits, &labels[own.clone()], &shares[own], &training)
        };
        let (_, gradients) = gradients::summed(&network, &workers, BATCH / SHARD, shard_loss)?;
        network = optimiser.step(network.clone(), gradients, 1e-4);
        Ok(())
    }))
}
