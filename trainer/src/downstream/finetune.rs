//! A whole network learns the classes of labelled tiles.

use std::path::PathBuf;
use std::sync::OnceLock;

use burn::module::Module;
use burn::tensor::Device;
use millsight_export::graph::VitSpec;
use millsight_export::weights::NamedArrays;

use super::distillation::{Lessons, Teacher};
use super::supervised::{Labelled, Supervised};
use crate::TrainError;
use crate::data::batches::{Batch, View};
use crate::evaluate::predict::{self, Means};
use crate::machine::Machine;
use crate::model::classifier::Classifier;
use crate::model::convolution::Statistics;
use crate::model::drop_path::DropPath;
use crate::model::network::Network;
use crate::model::{convolution, initial, parameters, pixels};
use crate::optimise::adamw::AdamW;
use crate::optimise::gradients;
use crate::optimise::workers::Workers;
use crate::run::config::{FinetuneConfig, RunConfig, below_one, positive};
use crate::run::folder::RunFolder;
use crate::training::checkpoint::{Checkpoint, Position, of_learner, restore_learner};
use crate::training::{self, EpochEnd, Event, Moment, StepFigures, beginning};
use crate::weights::screen::ScreenWeights;

/// The run of [`super::train`].
pub(super) fn train(
    run: &RunFolder,
    config: &RunConfig,
    recipe: &FinetuneConfig,
    machine: Machine,
    observe: &mut impl FnMut(Event<'_>),
) -> Result<Position, TrainError> {
    let distillation = recipe.distillation.as_ref();
    let look = |distillation| Teacher::look(config, distillation, machine, observe);
    let teacher = distillation.map(look).transpose()?;
    let (supervision, cache_bytes) = (&recipe.supervision, machine.cache_bytes);
    let tiles = Labelled::open(config, supervision, teacher.as_ref(), cache_bytes, observe)?;
    let lessons = distillation
        .zip(teacher.as_ref())
        .map(|(distillation, teacher)| Lessons::new(teacher, distillation, &tiles.train, config));
    let checkpoint = Checkpoint::load(&run.last())?;
    let weights = match &config.network {
        Network::Vit(spec) => initial_weights(spec, config, checkpoint.is_some(), observe)?,
        Network::YoloCls(spec) => convolution::initial(spec.parameters(), config.seed)?,
        Network::Screen(spec) => match &config.initial_weights {
            Some(file) if checkpoint.is_none() => ScreenWeights::open(file.unchanged()?)?.weights,
            _ => convolution::initial(spec.parameters(), config.seed)?,
        },
    };
    let mut method = Finetune::new(config, recipe, machine, &tiles, lessons, &weights)?;
    let train = &tiles.train;
    training::train(
        run,
        config,
        machine,
        train,
        &mut method,
        checkpoint,
        observe,
    )
}

/// Weights that a Vision Transformer begins with: random ones, replaced by
/// those of the given file as far as they fit. A `resumed` run takes those of
/// its checkpoint afterwards and does not look at the file.
///
/// # Errors
/// When the sizes do not fit one another, or the file cannot be read or does
/// not fit.
fn initial_weights(
    network: &VitSpec,
    config: &RunConfig,
    resumed: bool,
    observe: &mut impl FnMut(Event<'_>),
) -> Result<NamedArrays, TrainError> {
    let mut weights = initial::vit(network, config.layer_scale, config.seed)?;
    if !resumed {
        beginning::adopt(&mut weights, network, config, |_| {}, observe)?;
    }
    Ok(weights)
}

/// Refuses settings that are out of range or do not fit one another.
///
/// # Errors
/// With the option's name.
pub(super) fn check(config: &RunConfig, recipe: &FinetuneConfig) -> Result<(), TrainError> {
    recipe.supervision.check(config.epochs)?;
    if let Some(limit) = recipe.clip_gradient_norm {
        positive("--clip-gradient-norm", limit)?;
    }
    below_one("--drop-path", recipe.drop_path)?;
    if recipe.drop_path > 0.0 {
        config.network.vit("--drop-path")?;
    }
    for change in &recipe.augmentations {
        change.check()?;
    }
    match &recipe.distillation {
        Some(distillation) => distillation.check(),
        None => Ok(()),
    }
}

/// Everything that a step needs.
struct Finetune<'a> {
    supervised: Supervised<'a>,
    lessons: Option<Lessons>,
    recipe: &'a FinetuneConfig,
    device: Device,
    workers: Workers,
    loaders: rayon::ThreadPool,
    views: [View; 1],
    network: Classifier,
    optimiser: AdamW,
    drop_path: Option<DropPath>,
}

impl<'a> Finetune<'a> {
    fn new(
        config: &'a RunConfig,
        recipe: &'a FinetuneConfig,
        machine: Machine,
        tiles: &'a Labelled,
        lessons: Option<Lessons>,
        weights: &NamedArrays,
    ) -> Result<Self, TrainError> {
        let device = machine.device.open()?;
        let training_device = device.clone().autodiff();
        let network = Classifier::from_weights(&config.network, weights, &training_device)?;
        Ok(Self {
            supervised: Supervised::new(config, &recipe.supervision, tiles),
            lessons,
            recipe,
            workers: machine.training_workers(config.precision)?,
            loaders: machine.loaders()?,
            views: [View {
                size: tiles.train.form.size,
                changes: recipe.augmentations.clone(),
            }],
            optimiser: AdamW::new(config.optimiser, &network, &device),
            drop_path: match &config.network {
                Network::Vit(spec) => DropPath::new(recipe.drop_path, spec.depth),
                Network::YoloCls(_) | Network::Screen(_) => None,
            },
            network,
            device,
        })
    }

    fn validate(&self, observe: &mut dyn FnMut(Event<'_>)) -> Result<Vec<f32>, TrainError> {
        let Supervised { config, tiles, .. } = self.supervised;
        let network = self.network.valid();
        let means = Means {
            device: &self.device,
            workers: &self.workers,
            loaders: &self.loaders,
            shard_size: config.shard_size,
            batch_size: config.batch_size,
        };
        let all: Vec<usize> = (0..tiles.val.len()).collect();
        let preprocessing = &config.preprocessing;
        let forward = |images| network.forward(images);
        predict::logits(forward, &tiles.val, &all, preprocessing, means, |tiles| {
            observe(Event::Validated { tiles });
        })
    }
}

impl training::Method for Finetune<'_> {
    fn views(&self) -> &[View] {
        &self.views
    }

    fn order(&self, epoch: usize) -> Vec<usize> {
        self.supervised.order(epoch)
    }

    fn step(&mut self, batch: &Batch, moment: Moment) -> Result<StepFigures, TrainError> {
        let config = self.supervised.config;
        let rate = self.supervised.rate(moment);
        let shares = self.supervised.shares(&batch.labels);
        let (form, size) = (self.supervised.tiles.train.form, config.shard_size);
        let levels: Vec<&[u8]> = batch.views[0].chunks(size * form.bytes()).collect();
        let labels: Vec<&[usize]> = batch.labels.chunks(size).collect();
        let shares: Vec<&[f32]> = shares.chunks(size).collect();
        let numbers: Vec<&[usize]> = batch.tiles.chunks(size).collect();
        let gathered: Vec<OnceLock<Vec<Statistics>>> =
            labels.iter().map(|_| OnceLock::new()).collect();
        let shard_loss = |network: &Classifier, shard: usize, device: &Device| {
            let factors = self.drop_path.as_ref().map(|drop_path| {
                let first = moment.step * config.batch_size + shard * size;
                let draw = |image| drop_path.draw(1, config.seed, moment.epoch, image);
                let draws: Vec<Vec<f32>> = (first..first + labels[shard].len())
                    .flat_map(draw)
                    .collect();
                let draws: Vec<&[f32]> = draws.iter().map(Vec::as_slice).collect();
                drop_path.factors(&draws, device)
            });
            let images = pixels::normalised(
                levels[shard].to_vec(),
                form.colour.channels(),
                form.size,
                &config.preprocessing,
                device,
            );
            let (logits, statistics) = network.forward_training(images, factors.as_ref());
            gathered[shard].get_or_init(|| statistics);
            let (labels, shares) = (labels[shard], shares[shard]);
            let of_labels =
                |logits, shares: &[f32]| self.supervised.loss(logits, labels, shares, device);
            match &self.lessons {
                None => of_labels(logits, shares),
                Some(lessons) => {
                    let left = lessons.left(numbers[shard], shares);
                    let taught = lessons.loss(logits.clone(), numbers[shard], shares, device);
                    of_labels(logits, &left) + taught
                }
            }
        };
        let (loss, mut gradients) =
            gradients::summed(&self.network, &self.workers, levels.len(), shard_loss)?;
        let mut means = Vec::new();
        if let Some(limit) = self.recipe.clip_gradient_norm {
            let norm = gradients::clip(&mut gradients, limit, &self.device)?;
            means.push(("gradient_norm", norm));
        }
        // In the order of the shards, whichever worker was first.
        let gathered: Vec<(usize, Vec<Statistics>)> = gathered
            .into_iter()
            .zip(&labels)
            .map(|(statistics, labels)| (labels.len(), statistics.into_inner().unwrap_or_default()))
            .collect();
        let network = self.optimiser.step(self.network.clone(), gradients, rate);
        self.network = network.gather(&gathered, moment.overall());
        Ok(StepFigures { loss, rate, means })
    }

    fn end_epoch(
        &mut self,
        epoch: usize,
        position: &Position,
        observe: &mut dyn FnMut(Event<'_>),
    ) -> Result<EpochEnd, TrainError> {
        let logits = self.validate(observe)?;
        Ok(self.supervised.end_epoch(epoch, position, &logits))
    }

    fn save(&self) -> Result<NamedArrays, TrainError> {
        of_learner(&self.network, &self.optimiser)
    }

    fn restore(&mut self, arrays: &NamedArrays) -> Result<(), TrainError> {
        restore_learner(&mut self.network, &mut self.optimiser, arrays, &self.device)
    }

    fn weights(&self) -> Result<NamedArrays, TrainError> {
        Ok(parameters::read(&self.network)?)
    }

    fn weights_file(&self, run: &RunFolder) -> PathBuf {
        run.best()
    }
}
