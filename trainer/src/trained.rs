//! A trained network as a file of weights.

use std::path::Path;

use millsight_export::weights::NamedArrays;
use sha2::{Digest, Sha256};

use crate::TrainError;
use crate::run::config::RunConfig;

/// Key of the run's configuration in the file's metadata.
pub(crate) const CONFIG: &str = "millsight.config";

/// Key of a checksum of everything else in the file's metadata.
const CHECKSUM: &str = "millsight.sha256";

/// Weights together with the configuration of the run that they come from.
#[derive(Debug, Clone)]
pub struct Trained {
    /// How the network was trained.
    pub config: RunConfig,
    /// Its weights, with timm's or, of yolo-cls-n, Ultralytics' names.
    pub weights: NamedArrays,
    /// SHA-256 of the file in hexadecimal.
    pub sha256: String,
}

impl Trained {
    /// Reads `best.safetensors` of a run, or a copy of it.
    ///
    /// # Errors
    /// When the file cannot be read, was not written by a run, or is not as it
    /// was written.
    pub fn load(path: &Path) -> Result<Self, TrainError> {
        let bytes = NamedArrays::bytes_of(path)?;
        let mut weights = NamedArrays::from_bytes(&bytes, &path.display().to_string())?;
        let foreign = |reason: String| TrainError::ForeignWeights {
            path: path.to_path_buf(),
            reason,
        };
        let stated = weights.metadata.remove(CHECKSUM);
        if stated.is_some_and(|stated| stated != weights.digest()) {
            return Err(TrainError::DamagedWeights { path: path.into() });
        }
        let config = weights
            .metadata
            .get(CONFIG)
            .ok_or_else(|| foreign(format!("its metadata has no `{CONFIG}`")))?;
        let config = serde_json::from_str(config).map_err(|error| foreign(error.to_string()))?;
        Ok(Self {
            config,
            weights,
            sha256: hex::encode(Sha256::digest(&bytes)),
        })
    }

    /// Writes weights with their configuration; a crash leaves the old file
    /// or the new one.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn save(
        path: &Path,
        config: &RunConfig,
        mut weights: NamedArrays,
    ) -> Result<(), TrainError> {
        let config = serde_json::to_string(config)?;
        weights.metadata.insert(CONFIG.to_owned(), config);
        let checksum = weights.digest();
        weights.metadata.insert(CHECKSUM.to_owned(), checksum);
        Ok(weights.save(path)?)
    }
}
