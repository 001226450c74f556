//! Pretraining of a backbone as a masked autoencoder (He et al., CVPR 2022),
//! as `main_pretrain.py` of facebookresearch/mae does it, but for the last batch
//! of an epoch: the official code drops what does not fill one, and here it is
//! trained on, so that small sets of tiles lose none.

use std::path::PathBuf;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use millsight_export::weights::NamedArrays;

use super::{backbone, masking};
use crate::TrainError;
use crate::data::batches::{self, Batch, Pass, View};
use crate::data::order::{self, Stream, generator};
use crate::data::tiles::Tiles;
use crate::machine::Machine;
use crate::model::mae::masks::Masks;
use crate::model::mae::{Mae, MaeSpec, initial, is_of_decoder};
use crate::model::{ModelError, parameters, pixels};
use crate::optimise::adamw::{AdamW, AdamWConfig, Decays};
use crate::optimise::gradients::{self, Gradients};
use crate::optimise::workers::Workers;
use crate::run::config::{MaeConfig, RunConfig, final_rate, positive, warmup};
use crate::run::folder::RunFolder;
use crate::run::log::Figures;
use crate::training::checkpoint::{Checkpoint, Position, of_learner, restore_learner};
use crate::training::parts::parts;
use crate::training::{self, EpochEnd, Event, Moment, StepFigures};

pub mod pictures;
pub mod rate;

/// Tiles of the validation part in a picture.
const TILES_IN_PICTURE: usize = 8;

/// The optimiser of the official pretraining: betas 0.9 and 0.95, and class
/// and mask token decay like the matrices.
pub fn optimiser(weight_decay: f64) -> AdamWConfig {
    AdamWConfig {
        betas: (0.9, 0.95),
        weight_decay,
        decays: Decays::NotVectors,
        ..AdamWConfig::default()
    }
}

/// The sizes of the network of a run.
///
/// # Errors
/// When its encoder is no Vision Transformer.
pub fn spec(config: &RunConfig, recipe: &MaeConfig) -> Result<MaeSpec, TrainError> {
    Ok(MaeSpec {
        encoder: config.network.vit("`pretrain mae`")?.clone(),
        decoder: recipe.decoder,
    })
}

/// The run of [`super::train`].
pub(super) fn train(
    run: &RunFolder,
    config: &RunConfig,
    recipe: &MaeConfig,
    machine: Machine,
    observe: &mut impl FnMut(Event<'_>),
) -> Result<Position, TrainError> {
    let (train, val) = parts(config, machine)?;
    let checkpoint = Checkpoint::load(&run.last())?;
    let spec = spec(config, recipe)?;
    let mut weights = initial::weights(&spec, config.layer_scale, config.seed)?;
    if checkpoint.is_none() {
        backbone::begin(&mut weights, &spec.encoder, config, observe)?;
    }
    let mut method =
        Pretraining::new(run, config, recipe, spec, machine, [&train, &val], &weights)?;
    training::train(
        run,
        config,
        machine,
        &train,
        &mut method,
        checkpoint,
        observe,
    )
}

/// Refuses settings that are out of range or do not fit one another.
///
/// # Errors
/// With the option's name.
pub(super) fn check(config: &RunConfig, recipe: &MaeConfig) -> Result<(), TrainError> {
    let spec = spec(config, recipe)?;
    spec.check()?;
    positive("--learning-rate", recipe.learning_rate.base)?;
    final_rate(recipe.learning_rate.last, recipe.learning_rate.base)?;
    warmup(
        "--warmup-epochs",
        recipe.learning_rate.warmup_epochs,
        config.epochs,
    )?;
    for change in &recipe.augmentations {
        change.check()?;
    }
    let patches = spec.encoder.patches();
    let visible = masking::visible(patches, recipe.mask_ratio);
    let in_range = (0.0..1.0).contains(&recipe.mask_ratio);
    if !in_range || visible == 0 || visible == patches {
        return Err(TrainError::MaskRatio {
            ratio: recipe.mask_ratio,
            visible,
            patches,
        });
    }
    Ok(())
}

/// Loss and gradients of a batch that is cut into shards: `masks` of each
/// shard, and its normalised images, `[n, 3, height, width]` on the device (with
/// autodiff) that is asked for.
///
/// All images have equally many removed patches, so that the loss of the batch
/// is the mean of its shards' losses by their numbers of images.
///
/// # Errors
/// When the device does not give the loss.
pub fn gradients(
    network: &Mae,
    workers: &Workers,
    masks: &[Masks],
    normalise_patches: bool,
    images: impl Fn(usize, &Device) -> Tensor<4> + Sync,
) -> Result<(f64, Gradients), ModelError> {
    let all: usize = masks.iter().map(Masks::images).sum();
    let shard_loss = |network: &Mae, shard: usize, device: &Device| {
        let masks = &masks[shard];
        let share = masks.images() as f64 / all as f64;
        network.loss(images(shard, device), masks, normalise_patches) * share
    };
    gradients::summed(network, workers, masks.len(), shard_loss)
}

/// Everything that a step needs.
struct Pretraining<'a> {
    run: &'a RunFolder,
    config: &'a RunConfig,
    recipe: &'a MaeConfig,
    spec: MaeSpec,
    train: &'a Tiles,
    val: &'a Tiles,
    device: Device,
    workers: Workers,
    loaders: rayon::ThreadPool,
    views: [View; 1],
    network: Mae,
    optimiser: AdamW,
}

impl<'a> Pretraining<'a> {
    fn new(
        run: &'a RunFolder,
        config: &'a RunConfig,
        recipe: &'a MaeConfig,
        spec: MaeSpec,
        machine: Machine,
        [train, val]: [&'a Tiles; 2],
        weights: &NamedArrays,
    ) -> Result<Self, TrainError> {
        let device = machine.device.open()?;
        let training_device = device.clone().autodiff();
        let network = Mae::from_weights(&spec, weights, &training_device)?;
        Ok(Self {
            run,
            config,
            recipe,
            spec,
            train,
            val,
            workers: machine.training_workers(config.precision)?,
            loaders: machine.loaders()?,
            views: [View {
                size: train.form.size,
                changes: recipe.augmentations.clone(),
            }],
            optimiser: AdamW::new(config.optimiser, &network, &device),
            network,
            device,
        })
    }

    /// The masks of some tiles, each from random numbers of its own.
    fn masks(&self, stream: Stream, numbers: impl Iterator<Item = u64>) -> Masks {
        let (recipe, grid) = (self.recipe, self.spec.grid());
        let visible = masking::visible(grid[0] * grid[1], recipe.mask_ratio);
        let order = |number| {
            let mut random = generator(self.config.seed, stream, number);
            recipe.masking.order(grid, visible, &mut random)
        };
        Masks::new(numbers.map(order).collect(), visible)
    }

    /// The masks of tiles of the validation part, the same in every epoch.
    fn validation_masks(&self, tiles: &[usize]) -> Masks {
        let numbers = tiles.iter().map(|&tile| tile as u64);
        self.masks(Stream::ValidationMask, numbers)
    }

    fn images(&self, levels: &[u8], device: &Device) -> Tensor<4> {
        let form = self.train.form;
        pixels::normalised(
            levels.to_vec(),
            form.colour.channels(),
            form.size,
            &self.config.preprocessing,
            device,
        )
    }

    /// Mean loss on the validation part.
    fn validate(&self, observe: &mut dyn FnMut(Event<'_>)) -> Result<f64, TrainError> {
        let network = self.network.valid();
        let all: Vec<usize> = (0..self.val.len()).collect();
        let pass = Pass {
            tiles: self.val,
            order: &all,
            skip: 0,
            batch_size: self.config.batch_size,
            views: &[View {
                size: self.val.form.size,
                changes: Vec::new(),
            }],
            seed: 0,
            epoch: 0,
        };
        let size = self.config.shard_size * self.val.form.bytes();
        let mut sum = 0.0;
        batches::for_each(pass, &self.loaders, |batch| -> Result<(), TrainError> {
            let masks = self.validation_masks(&batch.tiles);
            let masks = masks.shards(self.config.shard_size);
            let levels: Vec<&[u8]> = batch.views[0].chunks(size).collect();
            let loss = |shard: usize| {
                let images = self.images(levels[shard], &self.device);
                let masks = &masks[shard];
                let loss = network.loss(images, masks, self.recipe.normalise_patches);
                let loss = parameters::to_vec(loss, "the loss")?;
                Ok(f64::from(loss[0]) * masks.images() as f64)
            };
            let mut result: Result<(), ModelError> = Ok(());
            self.workers.in_order(
                levels.len(),
                loss,
                |loss: Result<f64, ModelError>| match loss {
                    Ok(loss) => sum += loss,
                    Err(error) => result = Err(error),
                },
            );
            result?;
            observe(Event::Validated {
                tiles: batch.tiles.len(),
            });
            Ok(())
        })?;
        Ok(sum / self.val.len() as f64)
    }

    fn write_picture(&self, epoch: usize) -> Result<(), TrainError> {
        let tiles = order::spread(self.val.len(), TILES_IN_PICTURE);
        let mut levels = Vec::new();
        for &tile in &tiles {
            levels.extend_from_slice(&self.val.tile(tile)?.levels);
        }
        pictures::write(
            &self.run.picture(epoch),
            &self.network.valid(),
            self.images(&levels, &self.device),
            &self.validation_masks(&tiles),
            self.recipe.normalise_patches,
            &self.config.preprocessing,
        )
    }
}

impl training::Method for Pretraining<'_> {
    fn views(&self) -> &[View] {
        &self.views
    }

    fn order(&self, epoch: usize) -> Vec<usize> {
        order::shuffled(self.train.len(), self.config.seed, epoch)
    }

    fn step(&mut self, batch: &Batch, moment: Moment) -> Result<StepFigures, TrainError> {
        let progress = moment.overall() as f64 / moment.steps_per_epoch as f64;
        let rate = self
            .recipe
            .learning_rate
            .after(progress, self.config.epochs);
        let first = (moment.step * self.config.batch_size) as u64;
        let places = first..first + batch.tiles.len() as u64;
        let numbers = places.map(|place| (moment.epoch as u64) << 32 | place);
        let masks = self.masks(Stream::Mask, numbers);
        let size = self.config.shard_size * self.train.form.bytes();
        let levels: Vec<&[u8]> = batch.views[0].chunks(size).collect();
        let (loss, gradients) = gradients(
            &self.network,
            &self.workers,
            &masks.shards(self.config.shard_size),
            self.recipe.normalise_patches,
            |shard, device| self.images(levels[shard], device),
        )?;
        self.network = self.optimiser.step(self.network.clone(), gradients, rate);
        Ok(StepFigures {
            loss,
            rate,
            means: Vec::new(),
        })
    }

    fn end_epoch(
        &mut self,
        epoch: usize,
        _position: &Position,
        observe: &mut dyn FnMut(Event<'_>),
    ) -> Result<EpochEnd, TrainError> {
        let loss = self.validate(observe)?;
        let (done, interval) = (epoch + 1, self.recipe.picture_interval);
        if interval > 0 && (done.is_multiple_of(interval) || done == self.config.epochs) {
            self.write_picture(done)?;
        }
        Ok(EpochEnd {
            figures: Figures::from([("val_loss".to_owned(), loss)]),
            score: None,
            stop: false,
        })
    }

    fn save(&self) -> Result<NamedArrays, TrainError> {
        of_learner(&self.network, &self.optimiser)
    }

    fn restore(&mut self, arrays: &NamedArrays) -> Result<(), TrainError> {
        restore_learner(&mut self.network, &mut self.optimiser, arrays, &self.device)
    }

    /// The encoder, a Vision Transformer without a head.
    fn weights(&self) -> Result<NamedArrays, TrainError> {
        let mut backbone = NamedArrays::new();
        for (name, array) in parameters::read(&self.network)?.iter() {
            if !is_of_decoder(name) {
                backbone.insert(name, array.shape.clone(), array.data.clone())?;
            }
        }
        Ok(backbone)
    }

    fn weights_file(&self, run: &RunFolder) -> PathBuf {
        run.backbone()
    }
}
