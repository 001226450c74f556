//! What a run needs to go on after a crash.
//!
//! `last.safetensors` holds, in one file that is replaced as a whole after
//! every epoch, the weights under `model.NAME`, the moments of the optimiser
//! under `exp_avg.NAME`, `exp_avg_sq.NAME` and `step.NAME`, and the
//! [`Position`] in its metadata. Random numbers need no state: they follow
//! from the seed and the epoch. `best.safetensors` holds the weights alone,
//! under timm's names.

use std::path::Path;

use burn::tensor::Device;
use millsight_export::weights::NamedArrays;
use serde::{Deserialize, Serialize};

use super::adamw::AdamW;
use crate::TrainError;
use crate::model::parameters;
use crate::model::vit::Vit;

/// Key of the [`Position`] in the file's metadata.
const POSITION: &str = "millsight.position";
const MODEL: &str = "model.";

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Position {
    /// Epochs that are complete.
    pub epochs: usize,
    /// The epoch of the best checkpoint, counted from 1.
    pub best_epoch: usize,
    /// Validation balanced accuracy of the best checkpoint, 0 to 1.
    pub best_balanced_accuracy: f64,
}

/// Writes the checkpoint from which a run goes on.
///
/// # Errors
/// When the device does not give the numbers or the file cannot be written;
/// the previous checkpoint is then intact.
pub fn save(
    path: &Path,
    network: &Vit,
    optimiser: &AdamW,
    position: Position,
) -> Result<(), TrainError> {
    let mut arrays = NamedArrays::new();
    for (name, array) in parameters::read(network)?.iter() {
        arrays.insert(
            format!("{MODEL}{name}"),
            array.shape.clone(),
            array.data.clone(),
        )?;
    }
    optimiser.save(&mut arrays)?;
    let position = serde_json::to_string(&position)?;
    arrays.metadata.insert(POSITION.to_owned(), position);
    Ok(arrays.save(path)?)
}

/// A checkpoint as read.
#[derive(Debug)]
pub struct Checkpoint {
    /// Weights under timm's names.
    pub weights: NamedArrays,
    /// Where the run stands.
    pub position: Position,
    moments: NamedArrays,
}

impl Checkpoint {
    /// Hands the moments to an optimiser on `device`, without autodiff.
    ///
    /// # Errors
    /// When they are those of another network.
    pub fn restore(&self, optimiser: &mut AdamW, device: &Device) -> Result<(), TrainError> {
        Ok(optimiser.load(&self.moments, device)?)
    }
}

/// Reads the checkpoint from which a run goes on.
///
/// # Errors
/// When the file is missing, damaged or no checkpoint.
pub fn load(path: &Path) -> Result<Checkpoint, TrainError> {
    let arrays = NamedArrays::load(path)?;
    let no_checkpoint = || TrainError::NotACheckpoint {
        path: path.to_path_buf(),
    };
    let position = arrays.metadata.get(POSITION).ok_or_else(no_checkpoint)?;
    let position = serde_json::from_str(position).map_err(|_| no_checkpoint())?;
    let mut weights = NamedArrays::new();
    let mut moments = NamedArrays::new();
    for (name, array) in arrays.iter() {
        let (into, name) = match name.strip_prefix(MODEL) {
            Some(name) => (&mut weights, name),
            None => (&mut moments, name),
        };
        into.insert(name, array.shape.clone(), array.data.clone())?;
    }
    Ok(Checkpoint {
        weights,
        position,
        moments,
    })
}
