//! How a classifier learns: options of `train`.

use std::path::PathBuf;

use clap::Args;
use miette::{IntoDiagnostic, Result, miette};
use millsight_export::graph::Pooling;
use millsight_trainer::data::augment::words::{self, Word};
use millsight_trainer::data::fraction;
use millsight_trainer::data::table::{Split, Table};
use millsight_trainer::downstream::class_weights::{self, ClassWeighting};
use millsight_trainer::downstream::loss::Reduction;
use millsight_trainer::model::precision::Precision;
use millsight_trainer::optimise::adamw::{AdamWConfig, Decays};
use millsight_trainer::optimise::schedule::Course;
use millsight_trainer::run::config::{
    Distillation, FinetuneConfig, LabelFraction, Method, ProbeConfig, Supervision,
};

use super::listed::Listed;
use super::machine::{MachineArgs, SHARD_SIZE};
use super::network::Architecture;

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Pooled {
    /// The class token.
    ClassToken,
    /// The mean of the patch tokens.
    Mean,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Recipe")]
pub struct RecipeArgs {
    /// Change all weights, or learn only a linear layer on frozen ones.
    #[arg(long, default_value = "finetune")]
    protocol: Protocol,
    /// The network's architecture.
    #[arg(long, default_value = "vit", help_heading = "Network")]
    pub arch: Architecture,
    /// What the head reads [default: as in the file of --init, else
    /// class-token].
    #[arg(long, value_name = "TOKENS", help_heading = "Network")]
    pooling: Option<Pooled>,
    /// Begin with the weights of this file. A screen takes the best.safetensors of
    /// another screen. A Vision Transformer takes timm's weights (.safetensors or
    /// .pth), a checkpoint of MAE, DINO or DINOv2, DINOv2 with Hugging Face's
    /// names, the best.safetensors or backbone.safetensors of another run, or a
    /// model file that was exported here (.onnx, not in 8 bits); positions are resampled to the image size as the file's own program does
    /// it, and what is missing or unknown is listed.
    #[arg(long, value_name = "FILE")]
    pub init: Option<PathBuf>,
    /// Passes over the training part.
    #[arg(long, default_value_t = 50)]
    pub epochs: usize,
    /// Tiles in a step of the optimiser.
    #[arg(long, default_value_t = 32)]
    pub batch_size: usize,
    /// Highest learning rate of AdamW.
    #[arg(long, default_value_t = 1.5e-4)]
    learning_rate: f64,
    /// What becomes of the learning rate after the warm-up.
    #[arg(long, default_value = "constant")]
    schedule: Course,
    /// Learning rate at the end of the cosine [default: 1e-6, or the highest one
    /// if that is less].
    #[arg(long)]
    final_learning_rate: Option<f64>,
    /// Epochs in which the learning rate rises linearly; fractions allowed.
    #[arg(long, default_value_t = 0.0)]
    warmup_epochs: f64,
    /// Factor by which the learning rate shrinks from each block to the one
    /// below it, above 0 and at most 1; 0.65 to 0.75 is customary.
    #[arg(long, value_name = "FACTOR")]
    layer_decay: Option<f64>,
    /// Decoupled weight decay; biases, norms, class token and positions are
    /// exempt.
    #[arg(long, default_value_t = 0.05)]
    weight_decay: f64,
    /// Exempt nothing from weight decay.
    #[arg(long)]
    decay_all: bool,
    /// Largest norm of the gradients of a step [default: no limit].
    #[arg(long)]
    clip_gradient_norm: Option<f64>,
    /// Rate at which the last block is left out for a tile (stochastic depth),
    /// below 1; that of the blocks before it rises linearly from 0.
    #[arg(long, value_name = "RATE", default_value_t = 0.0)]
    drop_path: f64,
    /// Weights of the classes in the loss [default: inverse, with
    /// --balanced-sampling none].
    #[arg(long, value_name = "WEIGHTS",
          value_parser = Listed::<ClassWeighting>::new(&class_weights::WORDS))]
    class_weights: Option<ClassWeighting>,
    /// Exponent of the focal loss, by which tiles that are already right count
    /// less; 2 is customary, 0 is plain cross-entropy.
    #[arg(long, default_value_t = 0.0, value_name = "GAMMA")]
    focal_gamma: f64,
    /// What the weighted losses of a batch are divided by: the sum of their
    /// weights, as PyTorch does, or their number.
    #[arg(long, default_value = "weighted-mean")]
    loss_reduction: Reduction,
    /// Draw each class equally often.
    #[arg(long)]
    balanced_sampling: bool,
    /// Random changes of each tile, separated by commas and made in this order.
    /// A number after a colon replaces the one that is told here, as in
    /// `flips,noise:8,random-crop:0.6-1`.
    #[arg(long, value_name = "CHANGES", value_delimiter = ',', value_parser = Listed::<Word>::new(&words::WORDS))]
    augment: Vec<Word>,
    /// Use the labels of this share of the training part only, 0 to 1: of each
    /// class alike, at least one tile. The seed decides which.
    #[arg(long, value_name = "SHARE")]
    label_fraction: Option<f64>,
    /// End after so many epochs without a better balanced accuracy on the
    /// validation part.
    #[arg(long, value_name = "EPOCHS")]
    early_stopping: Option<usize>,
    /// A screen also learns from what this classifier says of the tiles: a model
    /// file (.onnx), or the best.safetensors of a run. Training tiles with the label `unlabelled` are
    /// learnt from the teacher alone.
    #[arg(long, value_name = "FILE")]
    teacher: Option<PathBuf>,
    /// The teacher's share in the loss of a tile that has a label, 0 or above and
    /// below 1.
    #[arg(
        long,
        value_name = "SHARE",
        default_value_t = 0.5,
        requires = "teacher"
    )]
    teacher_share: f64,
    /// Temperature by which logits are divided before teacher and screen are
    /// compared; above 1, what the teacher holds possible counts more.
    #[arg(
        long,
        value_name = "TEMPERATURE",
        default_value_t = 2.0,
        requires = "teacher"
    )]
    teacher_temperature: f64,
    /// When probing, normalise the features by their mean and deviation in
    /// each batch, as MAE's linear probing does.
    #[arg(long)]
    probe_batch_norm: bool,
    /// Seed of the initial weights, the labels, the order and the random
    /// changes.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Tiles that are computed at a time; the gradients of a batch accumulate
    /// over its shards. Small shards stay in the processor's cache, and shards
    /// bound the memory of a GPU. Batch norms, of yolo-cls-n and the screen, work
    /// with the mean and the variance of a shard [default: 4, with batch norms
    /// half the batch, on GPUs the batch divided among them].
    #[arg(long, value_name = "TILES")]
    shard_size: Option<usize>,
    /// Number format in which the network learns, `f32` or on a GPU `bf16`. Weights
    /// and their moments are kept in `f32`, and validation is computed in it.
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = "f32",
        hide_possible_values = true
    )]
    pub precision: Precision,
}

/// What is learnt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Protocol {
    /// A linear layer on frozen weights.
    Probe,
    /// All weights.
    Finetune,
}

/// Where the cosine ends by default.
const FINAL_LEARNING_RATE: f64 = 1e-6;

impl RecipeArgs {
    /// The optimiser's settings.
    pub fn optimiser(&self) -> AdamWConfig {
        AdamWConfig {
            weight_decay: self.weight_decay,
            decays: if self.decay_all {
                Decays::All
            } else {
                Decays::Matrices
            },
            layer_decay: self.layer_decay,
            ..AdamWConfig::default()
        }
    }

    /// Tiles that are computed at a time.
    pub fn shard_size(&self, machine: &MachineArgs) -> usize {
        let best = match self.arch {
            Architecture::Vit => SHARD_SIZE,
            Architecture::YoloClsN | Architecture::Screen => self.batch_size.div_ceil(2).max(2),
        };
        machine.shard_size(self.shard_size, best, self.batch_size)
    }

    /// What the head of a Vision Transformer reads, where that is asked for.
    pub fn pooling(&self) -> Option<Pooling> {
        self.pooling.map(|pooled| match pooled {
            Pooled::ClassToken => Pooling::ClassToken,
            Pooled::Mean => Pooling::Mean,
        })
    }

    /// The first option that is given and means something to a Vision
    /// Transformer alone.
    pub fn of_vit_alone(&self) -> Option<&'static str> {
        let options = [
            ("--pooling", self.pooling.is_some()),
            ("--protocol probe", self.protocol == Protocol::Probe),
            ("--layer-decay", self.layer_decay.is_some()),
            ("--drop-path", self.drop_path > 0.0),
        ];
        let given = options.into_iter().find(|(_, given)| *given);
        given.map(|(option, _)| option)
    }

    /// Whether a classifier is the teacher of a screen.
    pub fn has_teacher(&self) -> bool {
        self.teacher.is_some()
    }

    /// What is learnt from the tiles of a table, and how.
    pub fn method(&self, table: &Table) -> Result<Method> {
        let supervision = self.supervision(table)?;
        match self.protocol {
            Protocol::Finetune if self.probe_batch_norm => Err(miette!(
                "--probe-batch-norm is for --protocol probe: a network that learns as a whole \
                 has its own norm before the head"
            )),
            Protocol::Finetune => {
                let augmentations = words::together(&self.augment)
                    .map_err(|reason| miette!("--augment: {reason}"))?;
                Ok(Method::Finetune(FinetuneConfig {
                    supervision,
                    clip_gradient_norm: self.clip_gradient_norm,
                    drop_path: self.drop_path,
                    augmentations,
                    distillation: self.distillation()?,
                }))
            }
            Protocol::Probe => {
                let useless = [
                    ("--augment", !self.augment.is_empty(), "changed at random"),
                    ("--drop-path", self.drop_path > 0.0, "left out"),
                    ("--layer-decay", self.layer_decay.is_some(), "moved"),
                    (
                        "--clip-gradient-norm",
                        self.clip_gradient_norm.is_some(),
                        "moved",
                    ),
                ];
                if let Some((option, _, what)) = useless.iter().find(|(_, given, _)| *given) {
                    return Err(miette!(
                        "{option} has no effect when probing: the network is frozen and its \
                         features are computed once, so that nothing below the linear layer is \
                         {what}; leave it out, or use --protocol finetune"
                    ));
                }
                Ok(Method::Probe(ProbeConfig {
                    supervision,
                    batch_norm: self.probe_batch_norm,
                }))
            }
        }
    }

    fn distillation(&self) -> Result<Option<Distillation>> {
        let Some(teacher) = &self.teacher else {
            return Ok(None);
        };
        let teacher = super::absolute(teacher)?;
        Distillation::from_teacher(&teacher, self.teacher_share, self.teacher_temperature)
            .into_diagnostic()
            .map(Some)
    }

    fn supervision(&self, table: &Table) -> Result<Supervision> {
        if self.schedule == Course::Constant && self.final_learning_rate.is_some() {
            return Err(miette!(
                "--final-learning-rate needs --schedule cosine: a constant rate has no end"
            ));
        }
        let labels = self.label_fraction.map(|share| {
            let rows = table.part(Split::Train).into_diagnostic()?;
            Ok::<_, miette::Report>(LabelFraction {
                fraction: share,
                tiles: fraction::labelled(&rows, share, self.seed).len(),
            })
        });
        Ok(Supervision {
            learning_rate: self.learning_rate,
            warmup_epochs: self.warmup_epochs,
            final_learning_rate: match self.schedule {
                Course::Constant => None,
                Course::Cosine => Some(
                    self.final_learning_rate
                        .unwrap_or(FINAL_LEARNING_RATE.min(self.learning_rate)),
                ),
            },
            // Rare classes that are drawn as often as others and weigh more than
            // them would count twice.
            class_weighting: self.class_weights.unwrap_or(match self.balanced_sampling {
                true => ClassWeighting::None,
                false => ClassWeighting::Inverse,
            }),
            focal_gamma: self.focal_gamma,
            loss_reduction: self.loss_reduction,
            balanced_sampling: self.balanced_sampling,
            labels: labels.transpose()?,
            early_stopping: self.early_stopping,
        })
    }
}
