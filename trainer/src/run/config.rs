//! Everything that decides the numbers of a run.

use std::path::{Path, PathBuf};

use millsight_export::card::Preprocessing;
use serde::{Deserialize, Serialize};

use crate::TrainError;
use crate::data::augment::Change;
use crate::data::index::sha256;
use crate::data::tiles::Colour;
use crate::downstream::class_weights::ClassWeighting;
use crate::downstream::loss::Reduction;
use crate::model::mae::DecoderSpec;
use crate::model::network::Network;
use crate::model::precision::Precision;
use crate::optimise::adamw::AdamWConfig;
use crate::pretext::dino::config::DinoConfig;
use crate::pretext::mae::rate::LearningRate;
use crate::pretext::masking::Masking;

/// Everything that decides the numbers of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// Network.
    pub network: Network,
    /// Initial value of LayerScale, for networks that have one.
    pub layer_scale: f32,
    /// Class names; the index is that of the logit.
    pub classes: Vec<String>,
    /// Channels of the tiles.
    pub colour: Colour,
    /// Normalisation of the tiles.
    pub preprocessing: Preprocessing,
    /// Table with a `split` column.
    pub table: PathBuf,
    /// Its SHA-256.
    pub table_sha256: String,
    /// Folder to which the paths of the table are relative.
    pub data_root: PathBuf,
    /// File whose weights the run began with.
    pub initial_weights: Option<PinnedWeights>,
    /// Passes over the training part.
    pub epochs: usize,
    /// Tiles in an optimiser step.
    pub batch_size: usize,
    /// Optimiser.
    pub optimiser: AdamWConfig,
    /// What is learnt, and how.
    pub method: Method,
    /// Seed of everything random.
    pub seed: u64,
    /// Tiles that one worker computes at a time. Part of the configuration
    /// because sums of gradients are rounded.
    pub shard_size: usize,
    /// Number format in which the network learns; older runs do not name it.
    #[serde(default)]
    pub precision: Precision,
    /// Git revision of the trainer.
    pub git_revision: String,
    /// The command line.
    pub command: String,
}

/// What a run learns, and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case")]
pub enum Method {
    /// A whole network learns the classes.
    Finetune(FinetuneConfig),
    /// A linear layer learns the classes from what a frozen network gives.
    Probe(ProbeConfig),
    /// A masked autoencoder learns to fill in removed patches.
    Mae(MaeConfig),
    /// A student learns from crops to predict a teacher that follows it.
    Dino(DinoConfig),
}

impl Method {
    /// The command that begins such a run and goes on with it.
    pub fn command(&self) -> &'static str {
        match self {
            Self::Finetune(_) | Self::Probe(_) => "train",
            Self::Mae(_) | Self::Dino(_) => "pretrain",
        }
    }

    /// Whether it cuts parts out of the training tiles.
    pub(crate) fn crops(&self) -> bool {
        match self {
            Self::Finetune(FinetuneConfig { augmentations, .. })
            | Self::Mae(MaeConfig { augmentations, .. }) => {
                augmentations.iter().any(Change::is_crop)
            }
            Self::Probe(_) => false,
            Self::Dino(_) => true,
        }
    }
}

/// How a whole network learns the classes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FinetuneConfig {
    /// What it has in common with probing.
    pub supervision: Supervision,
    /// Largest norm of the gradients; larger ones are scaled down.
    pub clip_gradient_norm: Option<f64>,
    /// Rate at which the last block is dropped (stochastic depth); that of the
    /// blocks before it rises linearly from 0.
    pub drop_path: f64,
    /// Random changes of the tiles, in this order.
    pub augmentations: Vec<Change>,
    /// The classifier from which a screen learns as well.
    #[serde(default)]
    pub distillation: Option<Distillation>,
}

/// How a screen learns from a classifier.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Distillation {
    /// The classifier: the best.safetensors of its run.
    pub teacher: PinnedWeights,
    /// Its share in the loss of a tile that has a label.
    pub share: f64,
    /// By what logits are divided before they are compared.
    pub temperature: f64,
}

/// How a linear layer learns the classes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProbeConfig {
    /// What it has in common with fine-tuning.
    pub supervision: Supervision,
    /// Whether a batch normalisation without parameters stands before the
    /// layer, as in MAE's linear probing.
    pub batch_norm: bool,
}

/// How classes are learnt from labelled tiles.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Supervision {
    /// Highest learning rate.
    pub learning_rate: f64,
    /// Epochs of linear warm-up; fractions are allowed.
    pub warmup_epochs: f64,
    /// Learning rate after the last step, to which it falls along half a
    /// cosine; without one it stays at its height.
    pub final_learning_rate: Option<f64>,
    /// Weights of the classes in the loss.
    pub class_weighting: ClassWeighting,
    /// Exponent of the focal loss; 0 for plain cross-entropy.
    pub focal_gamma: f64,
    /// What the weighted losses of a batch are divided by.
    pub loss_reduction: Reduction,
    /// Whether each class is drawn equally often.
    pub balanced_sampling: bool,
    /// The share of the labels that is used; all without one.
    pub labels: Option<LabelFraction>,
    /// Epochs without a better balanced accuracy after which the run ends.
    pub early_stopping: Option<usize>,
}

/// A part of the training part whose labels are used.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabelFraction {
    /// Share of the tiles of each class, above 0 and at most 1.
    pub fraction: f64,
    /// How many tiles that is.
    pub tiles: usize,
}

/// How a masked autoencoder learns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaeConfig {
    /// Decoder.
    pub decoder: DecoderSpec,
    /// Pattern of the removed patches.
    pub masking: Masking,
    /// Share of the patches that is removed, 0 to 1.
    pub mask_ratio: f64,
    /// Whether the pixels of each patch are normalised before they are
    /// compared (`norm_pix_loss`).
    pub normalise_patches: bool,
    /// Learning rate.
    pub learning_rate: LearningRate,
    /// Epochs after which pictures are written; 0 for none.
    pub picture_interval: usize,
    /// Random changes of the tiles.
    pub augmentations: Vec<Change>,
}

/// More than anybody trains, and few enough that steps can be counted.
const MOST_EPOCHS: usize = 1_000_000;

impl RunConfig {
    /// What a setting of a run must be, for the settings that all methods have.
    ///
    /// # Errors
    /// With the name of the option that is out of range.
    pub(crate) fn check(&self) -> Result<(), TrainError> {
        if matches!(self.method, Method::Probe(_)) && self.precision != Precision::F32 {
            return Err(TrainError::Setting {
                name: "--precision",
                range: "f32 when probing, where the network does not learn",
                got: "bf16".into(),
            });
        }
        if !(1..=MOST_EPOCHS).contains(&self.epochs) {
            return Err(TrainError::Setting {
                name: "--epochs",
                range: "from 1 to 1,000,000",
                got: self.epochs.to_string(),
            });
        }
        positive("--batch-size", self.batch_size as f64)?;
        positive("--shard-size", self.shard_size as f64)?;
        if let Some(decay) = self.optimiser.layer_decay {
            share("--layer-decay", decay)?;
            self.network.vit("--layer-decay")?;
        }
        not_negative("--weight-decay", self.optimiser.weight_decay)?;
        if self.initial_weights.is_some() && matches!(self.network, Network::YoloCls(_)) {
            return Err(TrainError::NeedsVit { option: "--init" });
        }
        if self.network.has_batch_norms() {
            if self.precision != Precision::F32 {
                return Err(TrainError::Setting {
                    name: "--precision",
                    range: "f32 with batch norms, which gather their statistics in it",
                    got: "bf16".into(),
                });
            }
            for (name, tiles) in [
                ("--batch-size", self.batch_size),
                ("--shard-size", self.shard_size),
            ] {
                if tiles < 2 {
                    return Err(TrainError::Setting {
                        name,
                        range: "2 or above with batch norms, which one tile gives no statistics",
                        got: tiles.to_string(),
                    });
                }
            }
        }
        Ok(())
    }
}

impl Supervision {
    /// What the settings must be.
    ///
    /// # Errors
    /// With the name of the option that is out of range.
    pub(crate) fn check(&self, epochs: usize) -> Result<(), TrainError> {
        positive("--learning-rate", self.learning_rate)?;
        warmup("--warmup-epochs", self.warmup_epochs, epochs)?;
        if let Some(rate) = self.final_learning_rate {
            final_rate(rate, self.learning_rate)?;
        }
        not_negative("--focal-gamma", self.focal_gamma)?;
        if let ClassWeighting::Effective { beta } = self.class_weighting {
            below_one("--class-weights effective", beta)?;
        }
        if let Some(labels) = self.labels {
            share("--label-fraction", labels.fraction)?;
        }
        if let Some(patience) = self.early_stopping {
            positive("--early-stopping", patience as f64)?;
        }
        Ok(())
    }
}

/// Refuses a setting that is not above 0 and at most 1.
pub(crate) fn share(name: &'static str, value: f64) -> Result<(), TrainError> {
    if value > 0.0 && value <= 1.0 {
        return Ok(());
    }
    Err(TrainError::Setting {
        name,
        range: "above 0 and at most 1",
        got: value.to_string(),
    })
}

/// Refuses a setting that is not above 0.
pub(crate) fn positive(name: &'static str, value: f64) -> Result<(), TrainError> {
    if value > 0.0 && value.is_finite() {
        return Ok(());
    }
    Err(TrainError::Setting {
        name,
        range: "above 0",
        got: value.to_string(),
    })
}

/// Refuses a share of which something must be left: 0 or above, below 1.
pub(crate) fn below_one(name: &'static str, value: f64) -> Result<(), TrainError> {
    if (0.0..1.0).contains(&value) {
        return Ok(());
    }
    Err(TrainError::Setting {
        name,
        range: "0 or above, and below 1",
        got: value.to_string(),
    })
}

/// Refuses an end of the cosine above its beginning.
pub(crate) fn final_rate(rate: f64, highest: f64) -> Result<(), TrainError> {
    if (0.0..=highest).contains(&rate) {
        return Ok(());
    }
    Err(TrainError::Setting {
        name: "--final-learning-rate",
        range: "0 or above, and no more than --learning-rate",
        got: rate.to_string(),
    })
}

/// Refuses a warm-up that a run would not see the end of.
pub(crate) fn warmup(
    name: &'static str,
    warmup_epochs: f64,
    epochs: usize,
) -> Result<(), TrainError> {
    if (0.0..=epochs as f64).contains(&warmup_epochs) {
        return Ok(());
    }
    Err(TrainError::Setting {
        name,
        range: "from 0 to the number of --epochs",
        got: warmup_epochs.to_string(),
    })
}

/// Refuses a setting below 0.
pub(crate) fn not_negative(name: &'static str, value: f64) -> Result<(), TrainError> {
    if value >= 0.0 && value.is_finite() {
        return Ok(());
    }
    Err(TrainError::Setting {
        name,
        range: "0 or above",
        got: value.to_string(),
    })
}

/// A file of weights that a run needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PinnedWeights {
    /// The file.
    pub path: PathBuf,
    /// Its SHA-256.
    pub sha256: String,
}

impl PinnedWeights {
    /// A file as it is now.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn of(path: &Path) -> Result<Self, TrainError> {
        let hash = sha256(path).map_err(TrainError::io("read the weights", path))?;
        Ok(Self {
            path: path.to_path_buf(),
            sha256: hex::encode(hash),
        })
    }

    /// The file, as it was when the run began.
    ///
    /// # Errors
    /// When it cannot be read, or changed since.
    pub(crate) fn unchanged(&self) -> Result<&Path, TrainError> {
        let got = Self::of(&self.path)?.sha256;
        if got != self.sha256 {
            return Err(TrainError::FileChanged {
                path: self.path.clone(),
                got,
                expected: self.sha256.clone(),
            });
        }
        Ok(&self.path)
    }
}
