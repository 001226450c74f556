//! The folder of one run.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use millsight_export::durable::{remove_partials, replace_file};

use super::config::RunConfig;
use super::log::Log;
use crate::TrainError;

/// The folder of one run.
#[derive(Debug, Clone)]
pub struct RunFolder {
    path: PathBuf,
    /// Held from before the configuration of a new run is written, so that
    /// nobody replaces it under a run that has begun.
    lock: Option<Arc<File>>,
}

impl RunFolder {
    /// Makes the folder of a new run and writes its configuration. A run that
    /// died before its first checkpoint is begun anew.
    ///
    /// # Errors
    /// When the folder already holds a checkpoint, another program trains in it,
    /// or it cannot be written.
    pub fn create(path: &Path, config: &RunConfig) -> Result<Self, TrainError> {
        let mut run = Self {
            path: path.to_path_buf(),
            lock: None,
        };
        if std::fs::symlink_metadata(run.last()).is_ok() {
            return Err(TrainError::RunExists { path: path.into() });
        }
        std::fs::create_dir_all(path).map_err(TrainError::io("make the folder", path))?;
        run.lock = Some(run.lock()?);
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
            lock: None,
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

    /// Holds the run until the file is dropped, however the program ends, and
    /// removes what an interrupted write has left.
    ///
    /// # Errors
    /// When another program holds it, or its lock cannot be made.
    pub(crate) fn lock(&self) -> Result<Arc<File>, TrainError> {
        if let Some(held) = &self.lock {
            return Ok(held.clone());
        }
        let path = self.path.join("run.lock");
        let file = File::create(&path).map_err(TrainError::io("make the lock", &path))?;
        match file.try_lock() {
            Ok(()) => {
                remove_partials(&self.path).map_err(TrainError::io("tidy", &self.path))?;
                Ok(Arc::new(file))
            }
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

    /// A classifier's weights of the best epoch.
    pub fn best(&self) -> PathBuf {
        self.path.join("best.safetensors")
    }

    /// A pretrained backbone after the last epoch.
    pub fn backbone(&self) -> PathBuf {
        self.path.join("backbone.safetensors")
    }

    /// A picture of what a network makes of tiles after an epoch, counted from
    /// 1.
    pub fn picture(&self, epoch: usize) -> PathBuf {
        self.path.join(format!("pictures/epoch-{epoch:04}.png"))
    }

    /// Result of an evaluation on one part, for example `test`.
    pub fn evaluation(&self, part: &str) -> PathBuf {
        self.path.join(format!("evaluation-{part}.json"))
    }

    /// What the best weights say of each validation tile.
    pub fn predictions(&self) -> PathBuf {
        self.path.join("predictions.csv")
    }

    /// Features of the tiles, computed once for a linear probe.
    pub(crate) fn features(&self) -> PathBuf {
        self.path.join("features.safetensors")
    }

    /// Thresholds for a stated miss rate, with the calibration.
    pub fn operating_point(&self) -> PathBuf {
        self.path.join("operating-point.json")
    }

    fn config_file(&self) -> PathBuf {
        self.path.join("config.json")
    }

    /// The log of its epochs.
    pub fn log(&self) -> Log {
        Log::of(&self.path)
    }
}
