//! Student and teacher, and one step of learning.

use std::ops::Range;

use burn::tensor::{DType, Device, Tensor, TensorData};
use millsight_export::graph::VitSpec;
use millsight_export::weights::NamedArrays;

use super::config::{DinoConfig, Schedules};
use super::loss;
use crate::TrainError;
use crate::model::ModelError;
use crate::model::dino::DinoNetwork;
use crate::model::drop_path::{DropPath, Factors};
use crate::model::parameters;
use crate::optimise::adamw::AdamW;
use crate::optimise::gradients::{self, Gradients};
use crate::optimise::moving_average;
use crate::optimise::workers::Workers;
use crate::run::config::RunConfig;
use crate::training::checkpoint::{add_section, section};
use crate::training::{Moment, StepFigures};

/// Names in a checkpoint begin with these.
const STUDENT: &str = "student.";
const TEACHER: &str = "teacher.";
/// The centre in a checkpoint.
const CENTRE: &str = "centre";
/// Names of the parameters of the layer that is frozen at first begin with
/// this.
const LAST_LAYER: &str = "head.last_layer.";

/// Gives for a range of images their first so many crops on a device: crops of
/// one resolution in one tensor `[rows, 3, height, width]`, all images of a
/// crop before those of the next.
pub type Cropping<'a> = dyn Fn(Range<usize>, usize, &Device) -> Vec<Tensor<4>> + Sync + 'a;

/// The crops of a batch.
#[derive(Clone, Copy)]
pub struct Crops<'a> {
    /// Number of images.
    pub images: usize,
    /// Gives them.
    pub of: &'a Cropping<'a>,
}

/// Student, teacher and all that changes with them.
#[derive(Debug)]
pub struct Distillation<'a> {
    config: &'a RunConfig,
    spec: &'a VitSpec,
    recipe: &'a DinoConfig,
    schedules: Schedules,
    drop_path: Option<DropPath>,
    device: Device,
    training_device: Device,
    student: DinoNetwork,
    teacher: DinoNetwork,
    /// `[1, outputs]`.
    centre: Tensor<2>,
    optimiser: AdamW,
    /// Of the student's parameters, in their order.
    names: Vec<String>,
}

impl<'a> Distillation<'a> {
    /// Student and teacher, whose backbones have the sizes `spec`, begin with the
    /// same `weights` (`backbone.NAME`, `head.NAME`), and the centre with 0.
    ///
    /// # Errors
    /// When the weights do not fit the network.
    pub fn new(
        config: &'a RunConfig,
        spec: &'a VitSpec,
        recipe: &'a DinoConfig,
        steps_per_epoch: usize,
        weights: &NamedArrays,
        device: Device,
    ) -> Result<Self, ModelError> {
        let training_device = device.clone().autodiff();
        let network = |device| DinoNetwork::from_weights(spec, &recipe.head, weights, device);
        let student = network(&training_device)?;
        let names = parameters::shapes(&student).into_iter();
        Ok(Self {
            config,
            spec,
            recipe,
            schedules: Schedules::new(config, recipe, steps_per_epoch),
            drop_path: DropPath::new(recipe.drop_path, spec.depth),
            teacher: network(&device)?,
            centre: Tensor::zeros([1, recipe.head.outputs], &device),
            optimiser: AdamW::new(config.optimiser, &student, &device),
            names: names.map(|(name, _)| name).collect(),
            student,
            device,
            training_device,
        })
    }

    /// The network that follows the student and is kept in the end.
    pub fn teacher(&self) -> &DinoNetwork {
        &self.teacher
    }

    /// `[1, outputs]`.
    pub fn centre(&self) -> Tensor<2> {
        self.centre.clone()
    }

    /// What changes during the run.
    pub fn schedules(&self) -> &Schedules {
        &self.schedules
    }

    /// One step: the student learns to predict the teacher, which then moves
    /// towards it.
    ///
    /// # Errors
    /// When the device fails.
    pub fn step(
        &mut self,
        crops: Crops<'_>,
        moment: Moment,
        workers: &Workers,
    ) -> Result<StepFigures, ModelError> {
        let taught = self.teach(crops, workers);
        let (loss, gradients) = self.gradients(crops, &taught, moment, workers)?;
        self.move_centre(&taught);
        let norms = self.update(gradients, moment);
        Ok(StepFigures {
            loss,
            rate: self.schedules.at(moment).rate,
            means: vec![("gradient_norm", gradients::norm(&norms, &self.device)?)],
        })
    }

    /// The teacher's outputs for the two global crops, `[2 * n, outputs]` for
    /// each shard of the batch, on the device where the shard is computed.
    pub fn teach(&self, crops: Crops<'_>, workers: &Workers) -> Vec<Tensor<2>> {
        let shards = self.shards(crops);
        let mut outputs = Vec::new();
        workers.in_shards(
            &self.teacher,
            shards.len(),
            |teacher, shard, device| {
                let crops = (crops.of)(shards[shard].clone(), 2, device);
                teacher.forward(crops, &[]).cast(DType::F32)
            },
            |shard| outputs.push(shard),
        );
        outputs
    }

    /// Loss of the batch and gradients of the student; `taught` is what
    /// [`Distillation::teach`] gave for the same crops.
    ///
    /// # Errors
    /// When the device fails.
    pub fn gradients(
        &self,
        crops: Crops<'_>,
        taught: &[Tensor<2>],
        moment: Moment,
        workers: &Workers,
    ) -> Result<(f64, Gradients), ModelError> {
        let shards = self.shards(crops);
        let count = 2 + self.recipe.local_crops;
        let temperature = self.schedules.at(moment).temperature;
        let shard_loss = |student: &DinoNetwork, shard: usize, device: &Device| {
            let centre = self.centre().to_device(device);
            let teacher = loss::sharpened(taught[shard].clone(), centre, temperature);
            let targets = Tensor::from_inner(loss::targets(teacher, count));
            let images = shards[shard].clone();
            let groups = (crops.of)(images.clone(), count, device);
            let factors = self.factors(&groups, images, moment, device);
            let outputs = student.forward(groups, &factors);
            let temperature = self.recipe.student_temperature;
            loss::cross_entropy(outputs, targets, temperature, count, crops.images)
        };
        gradients::summed(&self.student, workers, shards.len(), shard_loss)
    }

    /// Factors of the student's branches for each group of crops.
    fn factors(
        &self,
        groups: &[Tensor<4>],
        images: Range<usize>,
        moment: Moment,
        device: &Device,
    ) -> Vec<Factors> {
        let Some(drop_path) = &self.drop_path else {
            return Vec::new();
        };
        let first = moment.step * self.config.batch_size;
        let count = 2 + self.recipe.local_crops;
        let draw = |image| drop_path.draw(count, self.config.seed, moment.epoch, first + image);
        let draws: Vec<Vec<Vec<f32>>> = images.map(draw).collect();
        let mut rows = (0..count).flat_map(|crop| draws.iter().map(move |draws| &draws[crop][..]));
        groups
            .iter()
            .map(|group| {
                let rows: Vec<&[f32]> = rows.by_ref().take(group.dims()[0]).collect();
                drop_path.factors(&rows, device)
            })
            .collect()
    }

    /// Moves the centre towards the mean of the teacher's outputs.
    pub fn move_centre(&mut self, taught: &[Tensor<2>]) {
        self.centre = loss::moved_centre(self.centre(), taught, self.recipe.centre_momentum);
    }

    /// Moves the student along its gradients and the teacher towards the
    /// student; gives the norm of each gradient before it was clipped.
    ///
    /// A frozen last layer has no gradient at all, and so neither decays nor
    /// gathers moments.
    pub fn update(&mut self, mut gradients: Gradients, moment: Moment) -> Gradients {
        let values = self.schedules.at(moment);
        let limit = self.recipe.clip_gradient_norm.unwrap_or(f64::INFINITY);
        let norms = gradients::clip_each(&mut gradients, limit);
        if moment.epoch < self.recipe.frozen_last_layer_epochs {
            for (name, gradient) in self.names.iter().zip(&mut gradients) {
                if name.starts_with(LAST_LAYER) {
                    *gradient = None;
                }
            }
        }
        self.optimiser.set_weight_decay(values.weight_decay);
        let student = self.student.clone();
        self.student = self.optimiser.step(student, gradients, values.rate);
        let teacher = self.teacher.clone();
        self.teacher = moving_average::follow(teacher, &self.student, values.momentum);
        norms
    }

    /// Everything that the next step depends on: `student.NAME`,
    /// `teacher.NAME`, `centre` and the moments of the optimiser.
    ///
    /// # Errors
    /// When the device does not give it.
    pub fn save(&self) -> Result<NamedArrays, TrainError> {
        let mut arrays = NamedArrays::new();
        add_section(&mut arrays, STUDENT, parameters::read(&self.student)?)?;
        add_section(&mut arrays, TEACHER, parameters::read(&self.teacher)?)?;
        let centre = parameters::to_vec(self.centre(), CENTRE)?;
        arrays.insert(CENTRE, [1, centre.len()], centre)?;
        self.optimiser.save(&mut arrays)?;
        Ok(arrays)
    }

    /// Takes what [`Distillation::save`] gave.
    ///
    /// # Errors
    /// When something is missing or of another shape.
    pub fn restore(&mut self, arrays: &NamedArrays) -> Result<(), TrainError> {
        let network = |prefix, device| -> Result<DinoNetwork, TrainError> {
            let weights = section(arrays, prefix)?;
            let head = &self.recipe.head;
            Ok(DinoNetwork::from_weights(
                self.spec, head, &weights, device,
            )?)
        };
        let (student, teacher) = (
            network(STUDENT, &self.training_device)?,
            network(TEACHER, &self.device)?,
        );
        let centre = arrays.require(CENTRE)?;
        let expected = [1, self.recipe.head.outputs];
        if centre.shape != expected {
            return Err(TrainError::Model(ModelError::Shape {
                name: CENTRE.into(),
                got: centre.shape.clone(),
                expected: expected.to_vec(),
            }));
        }
        let data = TensorData::new(centre.data.clone(), expected);
        self.centre = Tensor::from_data(data, &self.device);
        (self.student, self.teacher) = (student, teacher);
        Ok(self.optimiser.load(arrays, &self.device)?)
    }

    fn shards(&self, crops: Crops<'_>) -> Vec<Range<usize>> {
        let size = self.config.shard_size;
        (0..crops.images)
            .step_by(size)
            .map(|first| first..(first + size).min(crops.images))
            .collect()
    }
}

#[cfg(test)]
mod tests;
