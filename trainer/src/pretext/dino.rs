//! DINO (Caron et al., "Emerging Properties in Self-Supervised Vision
//! Transformers", 2021; facebookresearch/dino): a student learns from several
//! crops of a tile to predict what a teacher sees in its large crops, and the
//! teacher is an average of the student's past.
//!
//! * [`config`]: settings and what changes during a run.
//! * [`views`]: the crops.
//! * [`distillation`]: student and teacher, and one step of learning.
//! * [`loss`]: what the student is told.
//! * [`measure`]: how good the features are.
//! * [`collapse`]: whether they are any good at all.

use std::ops::Range;
use std::path::PathBuf;

use burn::tensor::Device;
use millsight_export::graph::VitSpec;
use millsight_export::weights::NamedArrays;

use super::backbone;
use crate::TrainError;
use crate::data::batches::{Batch, View};
use crate::data::order;
use crate::data::tiles::Tiles;
use crate::evaluate::predict::Means;
use crate::machine::Machine;
use crate::model::dino::initial_head;
use crate::model::{initial, parameters};
use crate::optimise::adamw::{AdamWConfig, Decays};
use crate::optimise::workers::Workers;
use crate::run::config::RunConfig;
use crate::run::folder::RunFolder;
use crate::training::checkpoint::{Checkpoint, Position, add_section};
use crate::training::parts::parts;
use crate::training::{self, EpochEnd, Event, Moment, StepFigures};
use config::DinoConfig;
use distillation::{Crops, Distillation};
use views::Levels;

pub mod collapse;
pub mod config;
pub mod distillation;
pub mod loss;
pub mod measure;
pub mod views;

/// What needs a Vision Transformer here.
const COMMAND: &str = "`pretrain dino`";

/// The optimiser of the official code: everything but biases, norms and other
/// parameters of one dimension decays, class token and positions included.
pub fn optimiser(weight_decay: f64) -> AdamWConfig {
    AdamWConfig {
        weight_decay,
        decays: Decays::NotVectors,
        ..AdamWConfig::default()
    }
}

/// The run of [`super::train`].
pub(super) fn train(
    run: &RunFolder,
    config: &RunConfig,
    recipe: &DinoConfig,
    machine: Machine,
    observe: &mut impl FnMut(Event<'_>),
) -> Result<Position, TrainError> {
    let (train, val) = parts(config, machine)?;
    let checkpoint = Checkpoint::load(&run.last())?;
    let network = config.network.vit(COMMAND)?;
    let weights = initial_weights(network, config, recipe, checkpoint.is_some(), observe)?;
    let mut method = Pretraining::new(config, network, recipe, machine, [&train, &val], &weights)?;
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

/// Weights that student and teacher begin with. A `resumed` run replaces them
/// and does not look at the file that it once began with.
fn initial_weights(
    network: &VitSpec,
    config: &RunConfig,
    recipe: &DinoConfig,
    resumed: bool,
    observe: &mut impl FnMut(Event<'_>),
) -> Result<NamedArrays, TrainError> {
    let network = network.backbone();
    let mut own = initial::vit(&network, config.layer_scale, config.seed)?;
    if !resumed {
        backbone::begin(&mut own, &network, config, observe)?;
    }
    let mut weights = initial_head(&recipe.head, network.width, config.seed)?;
    let head = std::mem::take(&mut weights);
    add_section(&mut weights, "head.", head)?;
    add_section(&mut weights, "backbone.", own)?;
    Ok(weights)
}

/// Everything that a step needs.
struct Pretraining<'a> {
    config: &'a RunConfig,
    recipe: &'a DinoConfig,
    train: &'a Tiles,
    val: &'a Tiles,
    device: Device,
    workers: Workers,
    loaders: rayon::ThreadPool,
    views: Vec<View>,
    learner: Distillation<'a>,
}

impl<'a> Pretraining<'a> {
    fn new(
        config: &'a RunConfig,
        network: &'a VitSpec,
        recipe: &'a DinoConfig,
        machine: Machine,
        [train, val]: [&'a Tiles; 2],
        weights: &NamedArrays,
    ) -> Result<Self, TrainError> {
        let device = machine.device.open()?;
        let used = views::whole_batches(train.len(), config.batch_size);
        let steps = used.div_ceil(config.batch_size);
        Ok(Self {
            config,
            recipe,
            train,
            val,
            workers: machine.training_workers(config.precision)?,
            loaders: machine.loaders()?,
            views: views::of(recipe, train.form.size),
            learner: Distillation::new(config, network, recipe, steps, weights, device.clone())?,
            device,
        })
    }
}

impl training::Method for Pretraining<'_> {
    fn views(&self) -> &[View] {
        &self.views
    }

    /// Shuffled; what does not fill a batch is left out, as in the official
    /// code, because small batches train badly.
    fn order(&self, epoch: usize) -> Vec<usize> {
        let mut order = order::shuffled(self.train.len(), self.config.seed, epoch);
        order.truncate(views::whole_batches(order.len(), self.config.batch_size));
        order
    }

    fn step(&mut self, batch: &Batch, moment: Moment) -> Result<StepFigures, TrainError> {
        let levels = Levels {
            views: &self.views,
            batch,
            channels: self.train.form.colour.channels(),
            preprocessing: &self.config.preprocessing,
        };
        let of = |images: Range<usize>, count: usize, device: &Device| {
            levels.normalised(images, count, device)
        };
        let crops = Crops {
            images: batch.tiles.len(),
            of: &of,
        };
        Ok(self.learner.step(crops, moment, &self.workers)?)
    }

    fn end_epoch(
        &mut self,
        epoch: usize,
        _position: &Position,
        observe: &mut dyn FnMut(Event<'_>),
    ) -> Result<EpochEnd, TrainError> {
        let done = epoch + 1;
        if !done.is_multiple_of(self.recipe.knn_every) && done != self.config.epochs {
            return Ok(EpochEnd::default());
        }
        let look = measure::look(
            self.learner.teacher(),
            self.learner.centre(),
            self.learner.schedules().temperature.value(epoch),
            self.config,
            [self.train, self.val],
            Means {
                device: &self.device,
                workers: &self.workers,
                loaders: &self.loaders,
                shard_size: self.config.shard_size,
                batch_size: self.config.batch_size,
            },
            |tiles| observe(Event::Validated { tiles }),
        )?;
        let collapse = look.signs.collapse();
        if let Some(collapse) = collapse {
            observe(Event::Warning(&collapse.warning(&look.signs)));
        }
        let mut figures = vec![
            ("teacher_entropy", look.signs.entropy),
            ("teacher_entropy_of_mean", look.signs.entropy_of_mean),
            ("feature_deviation", look.signs.feature_deviation),
            ("collapsed", f64::from(u8::from(collapse.is_some()))),
        ];
        match look.confusion {
            Some(confusion) => figures.extend([
                ("knn_accuracy", confusion.accuracy()),
                ("knn_balanced_accuracy", confusion.balanced_accuracy()),
            ]),
            None if done <= self.recipe.knn_every => observe(Event::Warning(
                "fewer than two classes are labelled: there is no k-NN accuracy to tune by",
            )),
            None => {}
        }
        let named = |(name, value): (&str, f64)| (name.to_owned(), value);
        Ok(EpochEnd {
            figures: figures.into_iter().map(named).collect(),
            score: None,
            stop: false,
        })
    }

    fn save(&self) -> Result<NamedArrays, TrainError> {
        self.learner.save()
    }

    fn restore(&mut self, arrays: &NamedArrays) -> Result<(), TrainError> {
        self.learner.restore(arrays)
    }

    /// The teacher's backbone.
    fn weights(&self) -> Result<NamedArrays, TrainError> {
        Ok(parameters::read(&self.learner.teacher().backbone)?)
    }

    fn weights_file(&self, run: &RunFolder) -> PathBuf {
        run.backbone()
    }
}
