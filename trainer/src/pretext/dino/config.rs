//! How a backbone learns with DINO.

use serde::{Deserialize, Serialize};

use super::COMMAND;
use crate::TrainError;
use crate::data::augment::Change;
use crate::model::dino::HeadSpec;
use crate::optimise::schedule::{CosineSchedule, TemperatureSchedule};
use crate::run::config::{RunConfig, below_one, not_negative, positive, warmup};
use crate::training::Moment;

/// How a backbone learns with DINO. Weight decay begins with that of the run's
/// optimiser.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DinoConfig {
    /// Small crops of each tile, besides the two large ones.
    pub local_crops: usize,
    /// Side of a small crop in pixels, a multiple of the patch. Large crops
    /// are as large as the network's input.
    pub local_size: usize,
    /// Least and largest share of the tile's area in a large crop.
    pub global_scale: [f64; 2],
    /// The same of a small crop.
    pub local_scale: [f64; 2],
    /// Random changes of every crop, after those that belong to the method.
    pub augmentations: Vec<Change>,
    /// Projection head.
    pub head: HeadSpec,
    /// Rate at which the last block of the student is dropped.
    pub drop_path: f64,
    /// Highest learning rate. The official code takes 0.0005 for a batch of
    /// 256 and scales it with the batch, which makes 6.25e-5 of a batch of 32.
    pub learning_rate: f64,
    /// Learning rate towards which the cosine runs.
    pub final_learning_rate: f64,
    /// Epochs of linear warm-up of the learning rate.
    pub warmup_epochs: f64,
    /// Weight decay towards which the cosine runs.
    pub final_weight_decay: f64,
    /// Largest norm of each parameter's gradient.
    pub clip_gradient_norm: Option<f64>,
    /// Epochs at the beginning in which the last layer does not learn.
    pub frozen_last_layer_epochs: usize,
    /// Share of the teacher that a step keeps, at the beginning; it rises to 1.
    pub teacher_momentum: f64,
    /// Share of the centre that a step keeps.
    pub centre_momentum: f64,
    /// Temperature of the student's softmax.
    pub student_temperature: f64,
    /// Temperature of the teacher's softmax in the first epoch.
    pub first_teacher_temperature: f64,
    /// Temperature of the teacher's softmax after its warm-up.
    pub teacher_temperature: f64,
    /// Epochs over which the teacher's temperature rises.
    pub temperature_warmup_epochs: usize,
    /// Epochs from one look at the features to the next.
    pub knn_every: usize,
}

/// Least share of a tile's area in a crop: of less than that no pixel may be
/// left.
const LEAST_SHARE: f64 = 0.001;

impl DinoConfig {
    /// Everything as in the official code (`main_dino.py`), with the learning
    /// rate of a batch of 32, for crops of a network with an input of
    /// `image_size` pixels and patches of `patch`.
    ///
    /// Small crops have 3/7 of the side of the large ones, as 96 of 224
    /// pixels, rounded to whole patches.
    pub fn official(image_size: usize, patch: usize) -> Self {
        let patches = (image_size as f64 * 3.0 / 7.0 / patch as f64).round();
        Self {
            local_crops: 8,
            local_size: patch * (patches as usize).max(1),
            global_scale: [0.4, 1.0],
            local_scale: [0.05, 0.4],
            augmentations: Vec::new(),
            head: HeadSpec {
                hidden: 2048,
                bottleneck: 256,
                outputs: 65536,
                norm_last_layer: true,
            },
            drop_path: 0.1,
            learning_rate: 6.25e-5,
            final_learning_rate: 1e-6,
            warmup_epochs: 10.0,
            final_weight_decay: 0.4,
            clip_gradient_norm: Some(3.0),
            frozen_last_layer_epochs: 1,
            teacher_momentum: 0.996,
            centre_momentum: 0.9,
            student_temperature: 0.1,
            first_teacher_temperature: 0.04,
            teacher_temperature: 0.04,
            temperature_warmup_epochs: 0,
            knn_every: 1,
        }
    }

    /// Refuses settings that are out of range or do not fit the run.
    ///
    /// # Errors
    /// With the option's name.
    pub(in crate::pretext) fn check(&self, config: &RunConfig) -> Result<(), TrainError> {
        let patch = config.network.vit(COMMAND)?.patch;
        if self.local_size == 0 || !self.local_size.is_multiple_of(patch) {
            return Err(refused(
                "--local-size",
                "a multiple of the patch",
                self.local_size,
            ));
        }
        for (name, [least, largest]) in [
            ("--global-scale", self.global_scale),
            ("--local-scale", self.local_scale),
        ] {
            if !(LEAST_SHARE <= least && least <= largest && largest <= 1.0) {
                let got = format!("{least},{largest}");
                return Err(refused(name, "two rising shares from 0.001 to 1", got));
            }
        }
        for change in &self.augmentations {
            change.check()?;
        }
        for (name, size) in [
            ("--head-hidden", self.head.hidden),
            ("--head-bottleneck", self.head.bottleneck),
            ("--knn-every", self.knn_every),
        ] {
            positive(name, size as f64)?;
        }
        if self.head.outputs < 2 {
            return Err(refused("--out-dim", "2 or above", self.head.outputs));
        }
        for (name, value) in [
            ("--learning-rate", self.learning_rate),
            ("--student-temperature", self.student_temperature),
            (
                "--first-teacher-temperature",
                self.first_teacher_temperature,
            ),
            ("--teacher-temperature", self.teacher_temperature),
        ] {
            positive(name, value)?;
        }
        not_negative("--final-learning-rate", self.final_learning_rate)?;
        not_negative("--final-weight-decay", self.final_weight_decay)?;
        if let Some(limit) = self.clip_gradient_norm {
            positive("--clip-gradient-norm", limit)?;
        }
        for (name, share) in [
            ("--teacher-momentum", self.teacher_momentum),
            ("--centre-momentum", self.centre_momentum),
            ("--drop-path", self.drop_path),
        ] {
            below_one(name, share)?;
        }
        let epochs = config.epochs;
        warmup("--warmup-epochs", self.warmup_epochs, epochs)?;
        let of_temperature = self.temperature_warmup_epochs as f64;
        warmup("--temperature-warmup-epochs", of_temperature, epochs)?;
        Ok(())
    }
}

fn refused(name: &'static str, range: &'static str, got: impl ToString) -> TrainError {
    TrainError::Setting {
        name,
        range,
        got: got.to_string(),
    }
}

/// What changes during a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedules {
    /// Learning rate by step.
    pub rate: CosineSchedule,
    /// Weight decay by step.
    pub weight_decay: CosineSchedule,
    /// Share of the teacher that a step keeps, by step.
    pub momentum: CosineSchedule,
    /// Temperature of the teacher by epoch.
    pub temperature: TemperatureSchedule,
}

impl Schedules {
    /// Those of a run with so many steps in an epoch.
    pub fn new(config: &RunConfig, recipe: &DinoConfig, steps_per_epoch: usize) -> Self {
        let steps = config.epochs * steps_per_epoch;
        let cosine = |base, last| CosineSchedule {
            base,
            last,
            warmup: 0,
            steps,
        };
        Self {
            rate: CosineSchedule {
                warmup: (recipe.warmup_epochs * steps_per_epoch as f64).round() as usize,
                ..cosine(recipe.learning_rate, recipe.final_learning_rate)
            },
            weight_decay: cosine(config.optimiser.weight_decay, recipe.final_weight_decay),
            momentum: cosine(recipe.teacher_momentum, 1.0),
            temperature: TemperatureSchedule {
                first: recipe.first_teacher_temperature,
                last: recipe.teacher_temperature,
                warmup: recipe.temperature_warmup_epochs,
            },
        }
    }

    /// The values of one step.
    pub fn at(&self, moment: Moment) -> Values {
        let step = moment.overall();
        Values {
            rate: self.rate.value(step),
            weight_decay: self.weight_decay.value(step),
            momentum: self.momentum.value(step),
            temperature: self.temperature.value(moment.epoch),
        }
    }
}

/// What the schedules say of one step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Values {
    /// Learning rate.
    pub rate: f64,
    /// Weight decay.
    pub weight_decay: f64,
    /// Share of the teacher that the step keeps.
    pub momentum: f64,
    /// Temperature of the teacher.
    pub temperature: f64,
}
