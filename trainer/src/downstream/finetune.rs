//! A whole network learns the classes of labelled tiles.

use std::path::PathBuf;

use burn::module::Module;
use burn::tensor::Device;
use millsight_export::weights::NamedArrays;

use super::loss;
use crate::TrainError;
use crate::data::DataError;
use crate::data::batches::{Batch, View};
use crate::data::order;
use crate::data::table::Split;
use crate::data::tiles::Tiles;
use crate::evaluate::metrics::{Confusion, most_probable};
use crate::evaluate::predict::{self, Means};
use crate::machine::Machine;
use crate::model::drop_path::DropPath;
use crate::model::vit::Vit;
use crate::model::{initial, parameters, pixels};
use crate::optimise::adamw::AdamW;
use crate::optimise::gradients;
use crate::optimise::schedule::Schedule;
use crate::optimise::workers::Workers;
use crate::run::config::{
    ClassWeighting, FinetuneConfig, Method, RunConfig, below_one, not_negative, positive,
};
use crate::run::folder::RunFolder;
use crate::run::log::Figures;
use crate::training::checkpoint::{Checkpoint, Position, add_section, section};
use crate::training::parts::parts;
use crate::training::{self, EpochEnd, Event, Moment, StepFigures};
use crate::weights::initialise;

/// Trains from the first epoch to the last, or from the last checkpoint when
/// the folder has one, and says where the run stands at the end.
///
/// # Errors
/// When settings or data do not fit, a tile cannot be read, the loss is no
/// number any more, or a file cannot be written. The last checkpoint is then
/// intact.
pub fn train(
    run: &RunFolder,
    config: &RunConfig,
    machine: Machine,
    mut observe: impl FnMut(Event<'_>),
) -> Result<Position, TrainError> {
    let Method::Finetune(recipe) = &config.method else {
        return Err(TrainError::OtherMethod {
            path: run.path().to_path_buf(),
            command: config.method.command(),
        });
    };
    check(config, recipe)?;
    let _lock = run.lock()?;
    let (train, val) = parts(config, machine)?;
    check_classes(config, &train)?;
    let checkpoint = Checkpoint::load(&run.last())?;
    let weights = match &checkpoint {
        Some(checkpoint) => section(&checkpoint.arrays, MODEL)?,
        None => initial_weights(config, &mut observe)?,
    };
    let mut method = Finetune::new(config, recipe, machine, &train, &val, &weights)?;
    training::train(
        run,
        config,
        machine,
        &train,
        &mut method,
        checkpoint,
        &mut observe,
    )
}

/// Weights that a run begins with: random ones, replaced by those of the
/// given file as far as they fit.
///
/// # Errors
/// When the sizes do not fit one another, or the file cannot be read or does
/// not fit.
pub(crate) fn initial_weights(
    config: &RunConfig,
    observe: &mut impl FnMut(Event<'_>),
) -> Result<NamedArrays, TrainError> {
    let mut weights = initial::vit(&config.network, config.layer_scale, config.seed)?;
    if let Some(file) = &config.initial_weights {
        let backbone = file.read()?;
        let adoption = initialise::adopt(&mut weights, &config.network, &backbone)?;
        observe(Event::Initialised {
            file: &file.path,
            adoption: &adoption,
        });
    }
    Ok(weights)
}

fn check(config: &RunConfig, recipe: &FinetuneConfig) -> Result<(), TrainError> {
    config.check()?;
    positive("--learning-rate", recipe.learning_rate)?;
    if let Some(limit) = recipe.clip_gradient_norm {
        positive("--clip-gradient-norm", limit)?;
    }
    not_negative("--warmup-epochs", recipe.warmup_epochs)?;
    for change in &recipe.augmentations {
        change.check()?;
    }
    not_negative("--final-learning-rate", recipe.final_learning_rate)?;
    below_one("--drop-path", recipe.drop_path)
}

/// Refuses training tiles from which the classes cannot be learnt.
fn check_classes(config: &RunConfig, train: &Tiles) -> Result<(), TrainError> {
    let (path, split) = (config.table.clone(), Split::Train.name().into());
    let first = train.labels.first().copied().unwrap_or_default();
    if train.labels.iter().all(|&label| label == first) {
        let class = config.classes[first].clone();
        return Err(DataError::OneClass { path, class, split }.into());
    }
    let held = |class: &usize| train.labels.contains(class);
    match (0..config.classes.len()).find(|class| !held(class)) {
        Some(absent) => {
            let class = config.classes[absent].clone();
            Err(DataError::ClassWithoutTiles { path, class, split }.into())
        }
        None => Ok(()),
    }
}

/// Names of the network's parameters in a checkpoint begin with this.
const MODEL: &str = "model.";

/// Everything that a step needs.
struct Finetune<'a> {
    config: &'a RunConfig,
    recipe: &'a FinetuneConfig,
    train: &'a Tiles,
    val: &'a Tiles,
    device: Device,
    training_device: Device,
    workers: Workers,
    loaders: rayon::ThreadPool,
    views: [View; 1],
    network: Vit,
    optimiser: AdamW,
    schedule: Schedule,
    drop_path: Option<DropPath>,
    class_weights: Vec<f32>,
}

impl<'a> Finetune<'a> {
    fn new(
        config: &'a RunConfig,
        recipe: &'a FinetuneConfig,
        machine: Machine,
        train: &'a Tiles,
        val: &'a Tiles,
        weights: &NamedArrays,
    ) -> Result<Self, TrainError> {
        let device = machine.device.open()?;
        let training_device = device.clone().autodiff();
        let network = Vit::from_weights(&config.network, weights, &training_device)?;
        let steps_per_epoch = train.len().div_ceil(config.batch_size);
        Ok(Self {
            config,
            recipe,
            train,
            val,
            workers: machine.compute()?,
            loaders: machine.loaders()?,
            views: [View {
                size: train.form.size,
                changes: recipe.augmentations.clone(),
            }],
            optimiser: AdamW::new(config.optimiser, &network, &device),
            network,
            device,
            training_device,
            schedule: Schedule {
                base: recipe.learning_rate,
                last: recipe.final_learning_rate,
                warmup: (recipe.warmup_epochs * steps_per_epoch as f64).round() as usize,
                steps: config.epochs * steps_per_epoch,
            },
            drop_path: DropPath::new(recipe.drop_path, config.network.depth),
            class_weights: match recipe.class_weighting {
                ClassWeighting::Inverse => {
                    loss::inverse_frequency(&train.labels, config.classes.len())
                }
                ClassWeighting::None => vec![1.0; config.classes.len()],
            },
        })
    }

    fn validate(&self, observe: &mut dyn FnMut(Event<'_>)) -> Result<Vec<f32>, TrainError> {
        let network = self.network.valid();
        let means = Means {
            device: &self.device,
            workers: &self.workers,
            loaders: &self.loaders,
            shard_size: self.config.shard_size,
            batch_size: self.config.batch_size,
        };
        let all: Vec<usize> = (0..self.val.len()).collect();
        let preprocessing = &self.config.preprocessing;
        predict::logits(&network, self.val, &all, preprocessing, means, |tiles| {
            observe(Event::Validated { tiles });
        })
    }
}

impl training::Method for Finetune<'_> {
    fn views(&self) -> &[View] {
        &self.views
    }

    fn order(&self, epoch: usize) -> Vec<usize> {
        let seed = self.config.seed;
        if self.recipe.balanced_sampling {
            order::balanced(&self.train.labels, self.config.classes.len(), seed, epoch)
        } else {
            order::shuffled(self.train.len(), seed, epoch)
        }
    }

    fn step(&mut self, batch: &Batch, moment: Moment) -> Result<StepFigures, TrainError> {
        let rate = self.schedule.rate(moment.overall());
        let shares = loss::shares(&batch.labels, &self.class_weights);
        let (form, size) = (self.train.form, self.config.shard_size);
        let levels: Vec<&[u8]> = batch.views[0].chunks(size * form.bytes()).collect();
        let labels: Vec<&[usize]> = batch.labels.chunks(size).collect();
        let shares: Vec<&[f32]> = shares.chunks(size).collect();
        let shard_loss = |network: &Vit, shard: usize| {
            let factors = self.drop_path.as_ref().map(|drop_path| {
                let first = moment.step * self.config.batch_size + shard * size;
                let draw = |image| drop_path.draw(1, self.config.seed, moment.epoch, image);
                let draws: Vec<Vec<f32>> = (first..first + labels[shard].len())
                    .flat_map(draw)
                    .collect();
                let draws: Vec<&[f32]> = draws.iter().map(Vec::as_slice).collect();
                drop_path.factors(&draws, &self.training_device)
            });
            let images = pixels::normalised(
                levels[shard].to_vec(),
                form.colour.channels(),
                form.size,
                &self.config.preprocessing,
                &self.training_device,
            );
            let logits = network.forward_dropping(images, factors.as_ref());
            loss::cross_entropy(logits, labels[shard], shares[shard], &self.training_device)
        };
        let (loss, mut gradients) =
            gradients::summed(&self.network, &self.workers, levels.len(), shard_loss)?;
        let mut means = Vec::new();
        if let Some(limit) = self.recipe.clip_gradient_norm {
            let norm = gradients::clip(&mut gradients, limit, &self.device)?;
            means.push(("gradient_norm", norm));
        }
        self.network = self.optimiser.step(self.network.clone(), gradients, rate);
        Ok(StepFigures { loss, rate, means })
    }

    fn end_epoch(
        &mut self,
        _epoch: usize,
        _position: &Position,
        observe: &mut dyn FnMut(Event<'_>),
    ) -> Result<EpochEnd, TrainError> {
        let logits = self.validate(observe)?;
        let classes = self.config.classes.len();
        let predicted = most_probable(&logits, classes);
        let confusion = Confusion::of(classes, &self.val.labels, &predicted);
        let loss = loss::of_logits(&logits, &self.val.labels, &self.class_weights);
        let figures = [
            ("val_loss", loss),
            ("val_accuracy", confusion.accuracy()),
            ("val_balanced_accuracy", confusion.balanced_accuracy()),
            ("val_macro_f1", confusion.macro_f1()),
        ];
        Ok(EpochEnd {
            figures: Figures::from(figures.map(|(name, value)| (name.to_owned(), value))),
            score: Some(confusion.balanced_accuracy()),
            stop: false,
        })
    }

    fn save(&self) -> Result<NamedArrays, TrainError> {
        let mut arrays = NamedArrays::new();
        add_section(&mut arrays, MODEL, parameters::read(&self.network)?)?;
        self.optimiser.save(&mut arrays)?;
        Ok(arrays)
    }

    fn restore(&mut self, arrays: &NamedArrays) -> Result<(), TrainError> {
        let weights = section(arrays, MODEL)?;
        self.network = Vit::from_weights(&self.config.network, &weights, &self.training_device)?;
        Ok(self.optimiser.load(arrays, &self.device)?)
    }

    fn weights(&self) -> Result<NamedArrays, TrainError> {
        Ok(parameters::read(&self.network)?)
    }

    fn weights_file(&self, run: &RunFolder) -> PathBuf {
        run.best()
    }
}
