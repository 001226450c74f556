//! Our side of each workload.

use std::error::Error;
use std::ops::Range;

use burn::tensor::{Device, Tensor};
use millsight_export::card::Preprocessing;
use millsight_trainer::data::tiles::Colour;
use millsight_trainer::downstream::loss::{self, Reduction};
use millsight_trainer::model::dino::{HeadSpec, initial_head};
use millsight_trainer::model::mae::masks::Masks;
use millsight_trainer::model::mae::{DecoderSpec, Mae, MaeSpec};
use millsight_trainer::model::network::Network;
use millsight_trainer::model::precision::Precision;
use millsight_trainer::model::presets::Preset;
use millsight_trainer::model::vit::Vit;
use millsight_trainer::model::{self, pixels};
use millsight_trainer::optimise::adamw::{AdamW, AdamWConfig};
use millsight_trainer::optimise::gradients;
use millsight_trainer::optimise::workers::Workers;
use millsight_trainer::pretext::dino::config::DinoConfig;
use millsight_trainer::pretext::dino::distillation::{Crops, Distillation};
use millsight_trainer::pretext::{dino as official_dino, mae as official_mae};
use millsight_trainer::run::config::{Method, RunConfig};
use millsight_trainer::training::Moment;
use millsight_trainer::training::checkpoint::add_section;

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
pub const ALL: [(&str, Prepare); 3] = [("supervised", supervised), ("mae", mae), ("dino", dino)];

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

/// The tiles `which` of those that [`levels`] gave, for the network.
fn images(levels: &[u8], size: usize, which: Range<usize>, device: &Device) -> Tensor<4> {
    let tile = size * size;
    pixels::normalised(
        levels[which.start * tile..which.end * tile].to_vec(),
        1,
        [size, size],
        &Preprocessing::imagenet(),
        device,
    )
}

fn supervised(threads: usize) -> Result<Step, Box<dyn Error>> {
    let device = Device::flex();
    let training = device.clone().autodiff();
    let spec = Preset::Tiny.spec(CLASSES);
    let weights = model::initial::vit(&spec, 1.0, 0)?;
    let mut network = Vit::from_weights(&spec, &weights, &training)?;
    let mut optimiser = AdamW::new(AdamWConfig::default(), &network, &device);
    let workers = Workers::new(threads)?;
    let levels = levels(BATCH, SIZE);
    let labels: Vec<usize> = (0..BATCH).map(|index| index % CLASSES).collect();
    let shares = loss::shares(&labels, &[1.0; CLASSES], Reduction::WeightedMean);
    Ok(Box::new(move || {
        let shard_loss = |network: &Vit, shard: usize, device: &Device| {
            let own = shard * SHARD..(shard + 1) * SHARD;
            let logits = network.forward(images(&levels, SIZE, own.clone(), device));
            loss::cross_entropy(logits, &labels[own.clone()], &shares[own], 0.0, device)
        };
        let (_, gradients) = gradients::summed(&network, &workers, BATCH / SHARD, shard_loss)?;
        network = optimiser.step(network.clone(), gradients, 1e-4);
        Ok(())
    }))
}

/// Three quarters of the patches are masked.
fn mae(threads: usize) -> Result<Step, Box<dyn Error>> {
    let device = Device::flex();
    let training = device.clone().autodiff();
    let encoder = Preset::Tiny.spec(CLASSES);
    let patches = encoder.patches();
    let spec = MaeSpec {
        decoder: DecoderSpec::proportional_to(&encoder),
        encoder,
    };
    let weights = model::mae::initial::weights(&spec, 1.0, 0)?;
    let mut network = Mae::from_weights(&spec, &weights, &training)?;
    let mut optimiser = AdamW::new(official_mae::optimiser(0.05), &network, &device);
    let workers = Workers::new(threads)?;
    let levels = levels(BATCH, SIZE);
    // 5 and 13 share no factor with the number of patches, 14 x 14.
    let order = |image| (0..patches).map(move |rank| (rank * 5 + image * 13) % patches);
    let orders = (0..BATCH).map(|image| order(image).collect()).collect();
    let masks = Masks::new(orders, patches / 4).shards(SHARD);
    Ok(Box::new(move || {
        let shard = |shard: usize, device: &Device| {
            images(&levels, SIZE, shard * SHARD..(shard + 1) * SHARD, device)
        };
        let (_, gradients) = official_mae::gradients(&network, &workers, &masks, true, shard)?;
        network = optimiser.step(network.clone(), gradients, 1e-4);
        Ok(())
    }))
}

/// Two large crops of 224 pixels and four small ones of 96.
fn dino(threads: usize) -> Result<Step, Box<dyn Error>> {
    let network = Preset::Tiny.spec(CLASSES);
    let recipe = DinoConfig {
        local_crops: 4,
        head: HeadSpec {
            hidden: 2048,
            bottleneck: 256,
            outputs: 4096,
            norm_last_layer: true,
        },
        frozen_last_layer_epochs: 0,
        ..DinoConfig::official(SIZE, network.patch)
    };
    let mut weights = Default::default();
    let head = initial_head(&recipe.head, network.width, 0)?;
    add_section(&mut weights, "head.", head)?;
    let backbone = model::initial::vit(&network.backbone(), 1.0, 0)?;
    add_section(&mut weights, "backbone.", backbone)?;
    let config = RunConfig {
        network: Network::Vit(network.clone()),
        layer_scale: 1.0,
        classes: Vec::new(),
        colour: Colour::Grey,
        preprocessing: Preprocessing::imagenet(),
        table: Default::default(),
        table_sha256: String::new(),
        data_root: Default::default(),
        initial_weights: None,
        epochs: 100,
        batch_size: BATCH,
        optimiser: official_dino::optimiser(0.04),
        method: Method::Dino(recipe.clone()),
        seed: 0,
        shard_size: SHARD,
        precision: Precision::F32,
        git_revision: String::new(),
        command: String::new(),
    };
    let small = recipe.local_size;
    // They live as long as the process.
    let (config, recipe) = (Box::leak(Box::new(config)), Box::leak(Box::new(recipe)));
    let network = Box::leak(Box::new(network));
    let mut learner = Distillation::new(config, network, recipe, 100, &weights, Device::flex())?;
    let workers = Workers::new(threads)?;
    let crops: Vec<(usize, Vec<u8>)> = [SIZE, SIZE, small, small, small, small]
        .map(|size| (size, levels(BATCH, size)))
        .into();
    let mut step = 0;
    Ok(Box::new(move || {
        let of = |which: Range<usize>, count: usize, device: &Device| {
            let crop =
                |(size, levels): &(usize, Vec<u8>)| images(levels, *size, which.clone(), device);
            let mut groups = vec![Tensor::cat(crops[..2].iter().map(crop).collect(), 0)];
            if count > 2 {
                groups.push(Tensor::cat(crops[2..].iter().map(crop).collect(), 0));
            }
            groups
        };
        let moment = Moment {
            epoch: 0,
            step,
            steps_per_epoch: 100,
        };
        step += 1;
        let crops = Crops {
            images: BATCH,
            of: &of,
        };
        learner.step(crops, moment, &workers)?;
        Ok(())
    }))
}
