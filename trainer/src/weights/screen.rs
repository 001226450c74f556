//! The screen in a file that a run of `--arch screen` wrote.

use std::path::{Path, PathBuf};

use millsight_export::card::Preprocessing;
use millsight_export::graph::ScreenSpec;
use millsight_export::weights::NamedArrays;

use super::backbone::Configuration;
use super::file::WeightsFile;
use crate::TrainError;
use crate::model::network::Network;

/// A screen with which another one can begin. It has learnt on tiles of any size:
/// its filters see a tile in the same way, wherever it ends.
#[derive(Debug, Clone, PartialEq)]
pub struct ScreenWeights {
    /// The file.
    pub path: PathBuf,
    /// Its network.
    pub network: ScreenSpec,
    /// How its tiles were prepared.
    pub preprocessing: Option<Preprocessing>,
    /// The weights.
    pub weights: NamedArrays,
}

impl ScreenWeights {
    /// Reads the best.safetensors of a run.
    ///
    /// # Errors
    /// When the file cannot be read, is damaged, or is not of a screen.
    pub fn open(path: &Path) -> Result<Self, TrainError> {
        let mut file = WeightsFile::open(path)?;
        let misfit = |reason: String| TrainError::Initial {
            path: path.to_path_buf(),
            reason,
        };
        let config = Configuration::of(&file).map_err(misfit)?;
        let network = match config.as_ref().map(|config| &config.network) {
            Some(Network::Screen(network)) => network.clone(),
            other => {
                return Err(misfit(format!(
                    "it {}; a screen begins with the best.safetensors of another run of `train \
                     --arch screen`",
                    match other {
                        Some(other) => format!("is of a run with --arch {}", other.architecture()),
                        None => "does not say that it is a screen".to_owned(),
                    }
                )));
            }
        };
        let mut weights = NamedArrays::new();
        for (name, shape) in network.parameters() {
            match file.take(&name)? {
                Some(array) if array.shape == shape => weights.insert(name, shape, array.data)?,
                Some(array) => {
                    return Err(misfit(format!(
                        "{name} has the shape {:?}, but its network needs {shape:?}",
                        array.shape
                    )));
                }
                None => return Err(misfit(format!("it has no {name}"))),
            }
        }
        Ok(Self {
            path: path.to_path_buf(),
            network,
            preprocessing: config.and_then(|config| config.preprocessing),
            weights,
        })
    }

    /// Checks that a screen can begin with the weights.
    ///
    /// # Errors
    /// With the options that fit, when it has other layers.
    pub fn check(&self, network: &ScreenSpec) -> Result<(), TrainError> {
        let layers = |spec: &ScreenSpec| (spec.stem, spec.widths.clone());
        if layers(network) == layers(&self.network) {
            return Ok(());
        }
        let widths: Vec<String> = self.network.widths.iter().map(usize::to_string).collect();
        Err(TrainError::Initial {
            path: self.path.clone(),
            reason: format!(
                "its layers are those of --stem {} --widths {}, which are taken when neither \
                 option is given",
                self.network.stem,
                widths.join(",")
            ),
        })
    }
}
