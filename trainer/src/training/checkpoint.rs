//! What a run needs to go on after a crash.
//!
//! `last.safetensors` is replaced as a whole. It holds the arrays that a
//! method has saved (for a classifier the weights under `model.NAME`, the
//! moments of the optimiser under `exp_avg.NAME`, `exp_avg_sq.NAME` and
//! `step.NAME`) and the [`Position`] in its metadata. Random numbers need no
//! state: they follow from the seed, the epoch and the place in the epoch.
//!
//! Its metadata also has a checksum of everything else, so that a damaged file
//! is not trained on.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

use burn::module::Module;
use burn::tensor::Device;
use millsight_export::weights::{NamedArrays, WeightsError};
use serde::{Deserialize, Serialize};

use crate::TrainError;
use crate::model::parameters;
use crate::optimise::adamw::AdamW;

/// Key of the [`Position`] in the file's metadata.
pub(crate) const POSITION: &str = "millsight.position";

/// Key of the checksum in the file's metadata.
const CHECKSUM: &str = "millsight.sha256";

/// Where a run stands.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Position {
    /// Epochs that are complete.
    pub epochs: usize,
    /// Steps of the epoch after them that are done.
    pub steps: usize,
    /// Sums of the figures over these steps, as the bits of doubles.
    pub sums: BTreeMap<String, u64>,
    /// The epoch of the best checkpoint, counted from 1; 0 when there is none.
    pub best_epoch: usize,
    /// What the best checkpoint is best in; for a classifier its balanced
    /// accuracy on the validation part, 0 to 1.
    pub best_score: f64,
    /// Whether the run ended before its last epoch, as its method wished.
    pub stopped: bool,
}

/// A checkpoint.
#[derive(Debug)]
pub struct Checkpoint {
    /// Arrays of the method.
    pub arrays: NamedArrays,
    /// Where the run stands.
    pub position: Position,
}

impl Checkpoint {
    /// Reads a checkpoint, where there is one.
    ///
    /// # Errors
    /// When the file is no checkpoint, or not as it was written.
    pub fn load(path: &Path) -> Result<Option<Self>, TrainError> {
        // A link to a disk that is not mounted is no reason to begin anew.
        if let Err(error) = std::fs::symlink_metadata(path)
            && error.kind() == ErrorKind::NotFound
        {
            return Ok(None);
        }
        let mut arrays = NamedArrays::load(path).map_err(|error| match error {
            WeightsError::Read { .. } => TrainError::Weights(error),
            error => damaged(path, error),
        })?;
        let no_checkpoint = || TrainError::NotACheckpoint {
            path: path.to_path_buf(),
        };
        let stated = arrays.metadata.remove(CHECKSUM);
        let position = arrays.metadata.get(POSITION).ok_or_else(no_checkpoint)?;
        if stated.is_none_or(|stated| stated != arrays.digest()) {
            return Err(damaged(path, "its contents are not what its checksum says"));
        }
        let position = serde_json::from_str(position).map_err(|_| no_checkpoint())?;
        Ok(Some(Self { arrays, position }))
    }

    /// Writes the checkpoint.
    ///
    /// # Errors
    /// When the file cannot be written; the previous one is then intact.
    pub fn save(mut self, path: &Path) -> Result<(), TrainError> {
        let position = serde_json::to_string(&self.position)?;
        self.arrays.metadata.insert(POSITION.to_owned(), position);
        let checksum = self.arrays.digest();
        self.arrays.metadata.insert(CHECKSUM.to_owned(), checksum);
        self.arrays
            .save(path)
            .map_err(|error| not_written(error, path))
    }
}

/// What to say when a part of a checkpoint cannot be written, of which `last`
/// is written last.
pub(super) fn not_written(error: impl ToString, last: &Path) -> TrainError {
    TrainError::CheckpointNotWritten {
        reason: error.to_string(),
        previous: last.exists(),
    }
}

fn damaged(path: &Path, reason: impl ToString) -> TrainError {
    TrainError::DamagedCheckpoint {
        path: path.to_path_buf(),
        reason: reason.to_string(),
    }
}

/// What to say when a sound checkpoint does not fit the run that it lies in.
pub(super) fn misfit(path: &Path, error: impl ToString) -> TrainError {
    TrainError::ForeignCheckpoint {
        path: path.to_path_buf(),
        reason: error.to_string(),
    }
}

/// Names of a learning network's parameters in a checkpoint begin with this.
const MODEL: &str = "model.";

/// The arrays of a network that learns and of its optimiser.
///
/// # Errors
/// When the device does not give them.
pub fn of_learner<M: Module>(network: &M, optimiser: &AdamW) -> Result<NamedArrays, TrainError> {
    let mut arrays = NamedArrays::new();
    add_section(&mut arrays, MODEL, parameters::read(network)?)?;
    optimiser.save(&mut arrays)?;
    Ok(arrays)
}

/// Gives the network the weights that [`of_learner`] took, and the optimiser,
/// whose moments lie on `device`, their moments.
///
/// # Errors
/// When something is missing or of another shape.
pub fn restore_learner<M: Module>(
    network: &mut M,
    optimiser: &mut AdamW,
    arrays: &NamedArrays,
    device: &Device,
) -> Result<(), TrainError> {
    *network = parameters::fill(network.clone(), &section(arrays, MODEL)?)?;
    Ok(optimiser.load(arrays, device)?)
}

/// The arrays whose names begin with `prefix`, without it.
///
/// # Errors
/// Never in practice: the arrays were whole before.
pub fn section(arrays: &NamedArrays, prefix: &str) -> Result<NamedArrays, TrainError> {
    let mut section = NamedArrays::new();
    for (name, array) in arrays.iter() {
        if let Some(name) = name.strip_prefix(prefix) {
            section.insert(name, array.shape.clone(), array.data.clone())?;
        }
    }
    Ok(section)
}

/// Adds arrays under names that begin with `prefix`.
///
/// # Errors
/// Never in practice: the arrays were whole before.
pub fn add_section(
    arrays: &mut NamedArrays,
    prefix: &str,
    section: NamedArrays,
) -> Result<(), TrainError> {
    for (name, array) in section.iter() {
        let name = format!("{prefix}{name}");
        arrays.insert(name, array.shape.clone(), array.data.clone())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// As written by short decimals, most doubles are read as their neighbours
    /// unless the reader takes care.
    #[test]
    fn a_position_comes_back_to_the_last_bit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("last.safetensors");
        for best_score in [0.988_888_888_888_888_9, 1.0 / 3.0, 0.1 + 0.2] {
            let position = Position {
                best_score,
                ..Position::default()
            };
            let checkpoint = Checkpoint {
                arrays: NamedArrays::new(),
                position: position.clone(),
            };
            checkpoint.save(&path).unwrap();
            let read = Checkpoint::load(&path).unwrap().unwrap();
            assert_eq!(read.position, position);
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_checkpoint_that_cannot_be_reached_is_not_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("last.safetensors");
        assert!(Checkpoint::load(&path).unwrap().is_none());
        std::os::unix::fs::symlink(folder.path().join("elsewhere"), &path).unwrap();
        let error = Checkpoint::load(&path).unwrap_err().to_string();
        assert!(error.contains("last.safetensors"), "{error}");
    }
}
