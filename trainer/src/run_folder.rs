//! A run is a folder.
//!
//! | file | holds |
//! |---|---|
//! | `config.json` | the complete [`RunConfig`] |
//! | `log.jsonl` | one [`EpochRecord`] for each epoch |
//! | `last.safetensors` | the checkpoint from which the run goes on |
//! | `best.safetensors` | weights of the best epoch, with timm's names |
//! | `evaluation-PART.json` | the [`Report`](crate::evaluate::report::Report) of `evaluate` |

use std::fs::{File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

use millsight_export::card::Preprocessing;
use millsight_export::durable::replace_file;
use millsight_export::graph::VitSpec;
use millsight_export::weights::NamedArrays;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::TrainError;
use crate::data::augment::Augmentation;
use crate::data::tiles::Colour;
use crate::downstream::adamw::AdamWConfig;

/// Everything that decides the numbers of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// Network.
    pub network: VitSpec,
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
    pub initial_weights: Option<InitialWeights>,
    /// Passes over the training part.
    pub epochs: usize,
    /// Tiles in an optimiser step.
    pub batch_size: usize,
    /// Highest learning rate.
    pub learning_rate: f64,
    /// Learning rate after the last step.
    pub final_learning_rate: f64,
    /// Epochs of linear warm-up; fractions are allowed.
    pub warmup_epochs: f64,
    /// Optimiser.
    pub optimiser: AdamWConfig,
    /// Largest norm of the gradients; larger ones are scaled down.
    pub clip_gradient_norm: Option<f64>,
    /// Weights of the classes in the loss.
    pub class_weighting: ClassWeighting,
    /// Whether each class is drawn equally often.
    pub balanced_sampling: bool,
    /// Random changes of the tiles.
    pub augmentations: Vec<Augmentation>,
    /// Seed of everything random.
    pub seed: u64,
    /// Tiles that one worker computes at a time. Part of the configuration
    /// because sums of gradients are rounded.
    pub shard_size: usize,
    /// Git revision of the trainer.
    pub git_revision: String,
    /// The command line.
    pub command: String,
}

/// A file of weights that a run begins with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InitialWeights {
    /// The file.
    pub path: PathBuf,
    /// Its SHA-256.
    pub sha256: String,
}

impl InitialWeights {
    /// A file as it is now.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn of(path: &Path) -> Result<Self, TrainError> {
        let bytes = std::fs::read(path).map_err(TrainError::io("read the weights", path))?;
        Ok(Self {
            path: path.to_path_buf(),
            sha256: hex::encode(Sha256::digest(&bytes)),
        })
    }

    /// The arrays of the file.
    ///
    /// # Errors
    /// When it cannot be read, changed since, or is no safetensors file.
    pub(crate) fn read(&self) -> Result<NamedArrays, TrainError> {
        let path = &self.path;
        let bytes = std::fs::read(path).map_err(TrainError::io("read the weights", path))?;
        let got = hex::encode(Sha256::digest(&bytes));
        if got != self.sha256 {
            return Err(TrainError::FileChanged {
                path: path.clone(),
                got,
                expected: self.sha256.clone(),
            });
        }
        Ok(NamedArrays::from_bytes(
            &bytes,
            &path.display().to_string(),
        )?)
    }
}

/// Weights of the classes in the loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum ClassWeighting {
    /// `N / (k n_c)`, scaled to a mean of 1.
    Inverse,
    /// All 1.
    None,
}

/// What is known after an epoch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// Counted from 1.
    pub epoch: usize,
    /// Optimiser steps so far.
    pub steps: usize,
    /// Mean loss of the epoch's batches.
    pub train_loss: f64,
    /// Learning rate of the epoch's last step.
    pub learning_rate: f64,
    /// Mean norm of the gradients before clipping; absent without clipping.
    pub gradient_norm: Option<f64>,
    /// Figures on the validation part.
    pub val: ValidationRecord,
    /// Training tiles in a second, validation excluded.
    pub images_per_second: f64,
    /// Duration of the epoch, validation included.
    pub seconds: f64,
}

/// Figures on the validation part.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ValidationRecord {
    /// Weighted cross-entropy, as in training.
    pub loss: f64,
    /// 0 to 1.
    pub accuracy: f64,
    /// 0 to 1.
    pub balanced_accuracy: f64,
    /// 0 to 1.
    pub macro_f1: f64,
}

/// The folder of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunFolder {
    path: PathBuf,
}

impl RunFolder {
    /// Makes the folder of a new run and writes its configuration. A run that
    /// died before its first checkpoint is begun anew.
    ///
    /// # Errors
    /// When the folder already holds a checkpoint or cannot be written.
    pub fn create(path: &Path, config: &RunConfig) -> Result<Self, TrainError> {
        let run = Self {
            path: path.to_path_buf(),
        };
        if run.last().exists() {
            return Err(TrainError::RunExists { path: path.into() });
        }
        std::fs::create_dir_all(path).map_err(TrainError::io("make the folder", path))?;
        let json = serde_json::to_vec_pretty(config)?;
        let file = run.config_file();
        replace_file(&file, &json).map_err(TrainError::io("write", file))?;
        Ok(run)
    }

    /// Opens the folder of an existing run.
    ///
    /// # Errors
    /// When it has no readable `config.json`.
    pub fn open(path: &Path) -> Result<(Self, RunConfig), TrainError> {
        let run = Self {
            path: path.to_path_buf(),
        };
        let not_a_run = |reason: String| TrainError::NotARun {
            path: path.to_path_buf(),
            reason,
        };
        let text = std::fs::read(run.config_file())
            .map_err(|error| not_a_run(format!("config.json: {error}")))?;
        let config = serde_json::from_slice(&text)
            .map_err(|error| not_a_run(format!("config.json: {error}")))?;
        Ok((run, config))
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Holds the run until the file is dropped, however the program ends.
    ///
    /// # Errors
    /// When another program holds it, or its lock cannot be made.
    pub(crate) fn lock(&self) -> Result<File, TrainError> {
        let path = self.path.join("run.lock");
        let file = File::create(&path).map_err(TrainError::io("make the lock", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(TrainError::RunInUse {
                path: self.path.clone(),
            }),
            Err(TryLockError::Error(error)) => Err(TrainError::io("lock", path)(error)),
        }
    }

    /// The checkpoint from which the run goes on.
    pub fn last(&self) -> PathBuf {
        self.path.join("last.safetensors")
    }

    /// Weights of the best epoch.
    pub fn best(&self) -> PathBuf {
        self.path.join("best.safetensors")
    }

    /// Result of an evaluation on one part, for example `test`.
    pub fn evaluation(&self, part: &str) -> PathBuf {
        self.path.join(format!("evaluation-{part}.json"))
    }

    fn config_file(&self) -> PathBuf {
        self.path.join("config.json")
    }

    fn log_file(&self) -> PathBuf {
        self.path.join("log.jsonl")
    }

    /// The epochs that are logged.
    ///
    /// # Errors
    /// When the log cannot be read or has a line of another form.
    pub fn log(&self) -> Result<Vec<EpochRecord>, TrainError> {
        let path = self.log_file();
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(TrainError::io("read", path)(error)),
        };
        text.split_inclusive('\n')
            // A line without its end was cut by a crash.
            .filter(|line| line.ends_with('\n'))
            .enumerate()
            .map(|(index, line)| {
                serde_json::from_str(line).map_err(|error| TrainError::Log {
                    path: path.clone(),
                    line: index + 1,
                    reason: error.to_string(),
                })
            })
            .collect()
    }

    /// Keeps the first `epochs` lines of the log: those that the checkpoint
    /// covers.
    ///
    /// # Errors
    /// When the log cannot be read or written.
    pub(crate) fn cut_log(&self, epochs: usize) -> Result<(), TrainError> {
        let mut text = Vec::new();
        for record in self.log()?.iter().filter(|record| record.epoch <= epochs) {
            serde_json::to_writer(&mut text, record)?;
            text.push(b'\n');
        }
        let path = self.log_file();
        replace_file(&path, &text).map_err(TrainError::io("write", path))
    }

    /// Adds a line to the log.
    ///
    /// # Errors
    /// When the log cannot be written.
    pub(crate) fn append_log(&self, record: &EpochRecord) -> Result<(), TrainError> {
        let path = self.log_file();
        let mut line = serde_json::to_vec(record)?;
        line.push(b'\n');
        std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .and_then(|mut file| {
                file.write_all(&line)?;
                file.sync_data()
            })
            .map_err(TrainError::io("write", path))
    }
}
