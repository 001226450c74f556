//! What a frozen network gives for each tile, computed once.
//!
//! `features.safetensors` in the run's folder keeps it, so that a run that
//! goes on does not compute it again. Its metadata has a key of everything
//! that the features depend on; with another key it is computed anew.

use millsight_export::graph::VitSpec;
use millsight_export::weights::NamedArrays;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::supervised::Labelled;
use crate::TrainError;
use crate::data::tiles::Tiles;
use crate::evaluate::predict::{self, Means};
use crate::machine::Machine;
use crate::model::vit::Vit;
use crate::run::config::RunConfig;
use crate::run::folder::RunFolder;
use crate::training::Event;

/// Key of the key in the file's metadata.
const KEY: &str = "millsight.features";

/// What the head of a network sees of labelled tiles.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Features {
    /// `[training tiles, width]`, row-major.
    pub train: Vec<f32>,
    /// `[validation tiles, width]`.
    pub val: Vec<f32>,
}

impl Features {
    /// The features of the network with these weights, which are without a
    /// head, from the run's folder where they lie, else computed and left
    /// there.
    pub fn of(
        run: &RunFolder,
        config: &RunConfig,
        network: &VitSpec,
        weights: &NamedArrays,
        tiles: &Labelled,
        machine: Machine,
        observe: &mut impl FnMut(Event<'_>),
    ) -> Result<Self, TrainError> {
        let key = key(config, weights, tiles)?;
        if let Some(features) = Self::load(run, &key, network.width, tiles) {
            return Ok(features);
        }
        let device = machine.device.open()?;
        let spec = VitSpec {
            classes: 0,
            ..network.clone()
        };
        let backbone = Vit::from_weights(&spec, weights, &device)?;
        let means = Means {
            device: &device,
            workers: &machine.compute()?,
            loaders: &machine.loaders()?,
            shard_size: config.shard_size,
            batch_size: config.batch_size,
        };
        let of = tiles.train.len() + tiles.val.len();
        let mut done = 0;
        observe(Event::Features { done, of });
        let mut compute = |tiles: &Tiles| {
            let all: Vec<usize> = (0..tiles.len()).collect();
            predict::logits(
                |images| backbone.forward(images),
                tiles,
                &all,
                &config.preprocessing,
                means,
                |seen| {
                    done += seen;
                    observe(Event::Features { done, of });
                },
            )
        };
        let features = Self {
            train: compute(&tiles.train)?,
            val: compute(&tiles.val)?,
        };
        features.save(run, key, network.width)?;
        Ok(features)
    }

    /// What lies in the folder, if it is whole and of this key.
    fn load(run: &RunFolder, key: &str, width: usize, tiles: &Labelled) -> Option<Self> {
        // A damaged file is as good as none: nothing is lost but time.
        let mut arrays = NamedArrays::load(&run.features()).ok()?;
        let stated = arrays.metadata.remove(KEY)?;
        if stated != format!("{key} {}", arrays.digest()) {
            return None;
        }
        let mut part = |name: &str, tiles: &Tiles| {
            let array = arrays.remove(name)?;
            (array.shape == [tiles.len(), width]).then_some(array.data)
        };
        Some(Self {
            train: part("train", &tiles.train)?,
            val: part("val", &tiles.val)?,
        })
    }

    fn save(&self, run: &RunFolder, key: String, width: usize) -> Result<(), TrainError> {
        let mut arrays = NamedArrays::new();
        for (name, data) in [("train", &self.train), ("val", &self.val)] {
            arrays.insert(name, [data.len() / width, width], data.clone())?;
        }
        let digest = arrays.digest();
        arrays
            .metadata
            .insert(KEY.into(), format!("{key} {digest}"));
        Ok(arrays.save(&run.features())?)
    }
}

/// Hash of everything that the features depend on, but for the images
/// themselves: for them stand the table and its hashes.
fn key(config: &RunConfig, weights: &NamedArrays, tiles: &Labelled) -> Result<String, TrainError> {
    let text = serde_json::to_vec(&json!({
        "weights": weights.digest(),
        "network": config.network,
        "colour": config.colour,
        "preprocessing": config.preprocessing,
        "table": config.table_sha256,
        "train": tiles.train.names,
        "val": tiles.val.names,
    }))?;
    Ok(hex::encode(Sha256::digest(text)))
}
