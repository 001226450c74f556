//! A linear layer learns the classes from what a frozen network gives.
//!
//! The features are what the network's head sees: the normalised class token,
//! or the normalised mean of the patch tokens. They are computed once, so that
//! an epoch costs next to nothing, and no tile is looked at twice; for the
//! same reason tiles are not changed at random. The layer begins with zeros,
//! whatever head the given weights have.

use std::path::PathBuf;

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use millsight_export::graph::VitSpec;
use millsight_export::weights::NamedArrays;

use super::batch_norm::BatchNorm;
use super::features::Features;
use super::supervised::{Labelled, Supervised};
use crate::TrainError;
use crate::data::batches::{Batch, View};
use crate::machine::Machine;
use crate::model::layers::Linear;
use crate::model::precision::Precision;
use crate::model::{ModelError, initial, parameters};
use crate::optimise::adamw::AdamW;
use crate::optimise::gradients;
use crate::optimise::workers::Workers;
use crate::run::config::{ProbeConfig, RunConfig};
use crate::run::folder::RunFolder;
use crate::training::checkpoint::{Checkpoint, Position, add_section, of_learner, restore_learner};
use crate::training::{self, EpochEnd, Event, Moment, StepFigures, beginning};
use crate::weights::initialise::Adoption;

/// What needs a Vision Transformer here.
const OPTION: &str = "--protocol probe";

/// The layer under the names that it has in the whole network.
#[derive(Module, Debug)]
pub struct LinearProbe {
    /// Features -> logits.
    pub head: Linear,
}

impl LinearProbe {
    /// A layer filled from `head.weight` and `head.bias`.
    ///
    /// # Errors
    /// When one is missing or of another shape, or there is something else.
    pub fn from_weights(
        width: usize,
        classes: usize,
        weights: &NamedArrays,
        device: &Device,
    ) -> Result<Self, ModelError> {
        let head = Linear::new(width, classes, true, device);
        parameters::fill(Self { head }, weights)
    }

    /// Features `[n, width]` -> logits `[n, classes]`.
    pub fn forward(&self, features: Tensor<2>) -> Tensor<2> {
        self.head.forward(features)
    }
}

/// The run of [`super::train`].
pub(super) fn train(
    run: &RunFolder,
    config: &RunConfig,
    recipe: &ProbeConfig,
    machine: Machine,
    observe: &mut impl FnMut(Event<'_>),
) -> Result<Position, TrainError> {
    let spec = config.network.vit(OPTION)?;
    // Every tile is looked at once.
    let tiles = Labelled::open(config, &recipe.supervision, None, 0, observe)?;
    let checkpoint = Checkpoint::load(&run.last())?;
    if config.initial_weights.is_none() {
        observe(Event::Warning(
            "without --init the frozen network is a random one",
        ));
    }
    let mut backbone = initial::vit(spec, config.layer_scale, config.seed)?;
    beginning::adopt(
        &mut backbone,
        spec,
        config,
        Adoption::leave_out_head,
        observe,
    )?;
    let mut head = NamedArrays::new();
    for (name, shape) in spec.parameters() {
        if name.starts_with("head.") {
            backbone.remove(&name);
            let zeros = vec![0.0; shape.iter().product()];
            head.insert(name, shape, zeros)?;
        }
    }
    let features = Features::of(run, config, spec, &backbone, &tiles, machine, observe)?;
    let device = machine.device.open()?;
    let training_device = device.clone().autodiff();
    let network = LinearProbe::from_weights(spec.width, spec.classes, &head, &training_device)?;
    let mut method = Probe {
        supervised: Supervised::new(config, &recipe.supervision, &tiles),
        spec,
        features,
        backbone,
        norm: recipe.batch_norm.then(|| BatchNorm::new(spec.width)),
        optimiser: AdamW::new(config.optimiser, &network, &device),
        network,
        // A whole batch is less work than a thread's start.
        worker: Workers::on(
            device.clone().into(),
            usize::from(machine.device.wants_shards()),
            Precision::F32,
        )?,
        device,
        training_device,
    };
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

/// Refuses settings that are out of range or do not fit one another.
///
/// # Errors
/// With the option's name.
pub(super) fn check(config: &RunConfig, recipe: &ProbeConfig) -> Result<(), TrainError> {
    config.network.vit(OPTION)?;
    recipe.supervision.check(config.epochs)
}

/// Everything that a step needs.
struct Probe<'a> {
    supervised: Supervised<'a>,
    /// The frozen network.
    spec: &'a VitSpec,
    features: Features,
    /// The frozen network's weights, without a head.
    backbone: NamedArrays,
    norm: Option<BatchNorm>,
    network: LinearProbe,
    optimiser: AdamW,
    worker: Workers,
    device: Device,
    training_device: Device,
}

impl Probe<'_> {
    /// The layer for features as they are.
    fn head(&self) -> Result<NamedArrays, TrainError> {
        let mut head = parameters::read(&self.network)?;
        if let Some(norm) = &self.norm {
            let (weight, bias) = (head.require("head.weight")?, head.require("head.bias")?);
            let shapes = (weight.shape.clone(), bias.shape.clone());
            let (weight, bias) = norm.folded(&weight.data, &bias.data);
            head.insert("head.weight", shapes.0, weight)?;
            head.insert("head.bias", shapes.1, bias)?;
        }
        Ok(head)
    }

    fn tensor(&self, features: Vec<f32>, device: &Device) -> Tensor<2> {
        let width = self.spec.width;
        let shape = [features.len() / width, width];
        Tensor::from_data(TensorData::new(features, shape), device)
    }
}

impl training::Method for Probe<'_> {
    fn views(&self) -> &[View] {
        &[]
    }

    fn order(&self, epoch: usize) -> Vec<usize> {
        self.supervised.order(epoch)
    }

    fn step(&mut self, batch: &Batch, moment: Moment) -> Result<StepFigures, TrainError> {
        let width = self.spec.width;
        let rate = self.supervised.rate(moment);
        let shares = self.supervised.shares(&batch.labels);
        let mut features = Vec::with_capacity(batch.tiles.len() * width);
        for tile in &batch.tiles {
            features.extend_from_slice(&self.features.train[tile * width..][..width]);
        }
        if let Some(norm) = &mut self.norm {
            norm.normalise(&mut features);
        }
        let features = self.tensor(features, &self.training_device);
        let batch_loss = |network: &LinearProbe, _shard: usize, _device: &Device| {
            let logits = network.forward(features.clone());
            self.supervised
                .loss(logits, &batch.labels, &shares, &self.training_device)
        };
        let (loss, gradients) = gradients::summed(&self.network, &self.worker, 1, batch_loss)?;
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
        position: &Position,
        observe: &mut dyn FnMut(Event<'_>),
    ) -> Result<EpochEnd, TrainError> {
        let (width, classes) = (self.spec.width, self.spec.classes);
        let head = LinearProbe::from_weights(width, classes, &self.head()?, &self.device)?;
        let features = self.tensor(self.features.val.clone(), &self.device);
        let logits = parameters::to_vec(head.forward(features), "logits")?;
        observe(Event::Validated {
            tiles: self.supervised.tiles.val.len(),
        });
        Ok(self.supervised.end_epoch(epoch, position, &logits))
    }

    fn save(&self) -> Result<NamedArrays, TrainError> {
        let mut arrays = of_learner(&self.network, &self.optimiser)?;
        if let Some(norm) = &self.norm {
            norm.save(&mut arrays)?;
        }
        Ok(arrays)
    }

    fn restore(&mut self, arrays: &NamedArrays) -> Result<(), TrainError> {
        if let Some(norm) = &mut self.norm {
            norm.load(arrays)?;
        }
        restore_learner(&mut self.network, &mut self.optimiser, arrays, &self.device)
    }

    fn weights(&self) -> Result<NamedArrays, TrainError> {
        let mut weights = self.backbone.clone();
        add_section(&mut weights, "", self.head()?)?;
        Ok(weights)
    }

    fn weights_file(&self, run: &RunFolder) -> PathBuf {
        run.best()
    }
}
