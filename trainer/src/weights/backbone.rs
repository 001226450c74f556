//! The Vision Transformer in a file, with timm's names.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use millsight_export::card::Preprocessing;
use millsight_export::graph::VitSpec;
use millsight_export::weights::{NamedArray, NamedArrays};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::file::WeightsFile;
use super::layouts::{Layout, Place, Recognised};
use super::sizes::Sizes;
use crate::TrainError;
use crate::model::mae::is_of_decoder;
use crate::model::network::Network;
use crate::trained::CONFIG;
use crate::training::checkpoint::POSITION;

/// Key of the network, a [`VitSpec`] as JSON, in the metadata of our files of
/// weights that have no configuration of a run.
pub const NETWORK: &str = "millsight.network";

/// Key of the normalisation of the images, a [`Preprocessing`] as JSON, beside
/// [`NETWORK`].
pub const PREPROCESSING: &str = "millsight.preprocessing";

/// Key of the names of the head's classes, a list as JSON, beside [`NETWORK`].
pub const CLASSES: &str = "millsight.classes";

/// The weights of a Vision Transformer, whoever has trained it.
#[derive(Debug, Clone, PartialEq)]
pub struct Backbone {
    /// The file.
    pub path: PathBuf,
    /// Whose names it has.
    pub layout: Layout,
    /// Whether the layout is a guess, since files of timm's could look alike.
    pub guessed: bool,
    /// What the names of the network's arrays begin with in the file, for
    /// example `teacher.backbone.`; empty where the file is the network alone.
    pub prefix: String,
    /// The weights with timm's names, positions for [`Sizes::grid`].
    pub weights: NamedArrays,
    /// A masked autoencoder's decoder and mask token, with their names in the
    /// official code, which are ours; empty where the file has none.
    pub decoder: NamedArrays,
    /// The network that they belong to.
    pub sizes: Sizes,
    /// The network as the file itself states it.
    pub stated: Option<VitSpec>,
    /// How its images were prepared, as the file itself states it.
    pub preprocessing: Option<Preprocessing>,
    /// The classes that the head tells apart, in its order, as the file itself
    /// states them.
    pub classes: Option<Vec<String>>,
    /// Arrays of the file that only its own training needed, with their names
    /// in the file: projection head, student, optimiser, and the decoder.
    pub not_needed: Vec<String>,
    /// Arrays of the file that mean nothing here, with their names in the
    /// file.
    pub unknown: Vec<String>,
}

impl Backbone {
    /// Reads the network of a file of weights.
    ///
    /// # Errors
    /// When the file cannot be read, is damaged, or holds no network that ours
    /// could be.
    pub fn open(path: &Path) -> Result<Self, TrainError> {
        Self::of(WeightsFile::open(path)?)
    }

    /// Takes the network out of an opened file.
    ///
    /// # Errors
    /// As [`Backbone::open`].
    pub fn of(mut file: WeightsFile) -> Result<Self, TrainError> {
        let path = file.path.clone();
        let misfit = |reason: String| TrainError::Initial {
            path: path.clone(),
            reason,
        };
        let stated = Stated::of(&file).map_err(misfit)?;
        let recognised = Recognised::of(&file).map_err(misfit)?;
        let (mut weights, mut decoder) = (NamedArrays::new(), NamedArrays::new());
        let mut thirds: BTreeMap<String, [Option<NamedArray>; 3]> = BTreeMap::new();
        let (mut not_needed, mut unknown, mut foreign) = (vec![], vec![], vec![]);
        for name in file.names() {
            match recognised.place(&name) {
                Place::Parameter(ours) => {
                    if weights.get(&ours).is_some() {
                        return Err(misfit(format!("it has {ours} twice, once as {name}")));
                    }
                    if let Some(array) = file.take(&name)? {
                        weights.insert(ours, array.shape, array.data)?;
                    }
                }
                Place::Third(ours, index) => {
                    thirds.entry(ours).or_default()[index] = file.take(&name)?;
                }
                Place::Training => {
                    let within = name.strip_prefix(&recognised.prefix).unwrap_or_default();
                    if recognised.layout == Layout::Mae
                        && is_of_decoder(within)
                        && let Some(array) = file.take(&name)?
                    {
                        decoder.insert(within, array.shape, array.data)?;
                    }
                    not_needed.push(name);
                }
                Place::Foreign => foreign.push(name),
                Place::Unknown => unknown.push(name),
            }
        }
        refuse(&foreign).map_err(misfit)?;
        for (name, parts) in thirds {
            let array = joined(&name, parts).map_err(misfit)?;
            weights.insert(name, array.shape, array.data)?;
        }
        let sizes = Sizes::of(&weights, stated.network.as_ref()).map_err(misfit)?;
        Ok(Self {
            layout: recognised.layout,
            guessed: recognised.guessed,
            prefix: recognised.prefix,
            weights,
            decoder,
            sizes,
            stated: stated.network,
            preprocessing: stated.preprocessing,
            classes: stated.classes,
            not_needed,
            unknown,
            path,
        })
    }

    /// The network that the weights belong to, for `classes`; `heads` where
    /// they are known.
    ///
    /// # Errors
    /// When nothing says how many heads it has.
    pub fn network(&self, heads: Option<usize>, classes: usize) -> Result<VitSpec, TrainError> {
        let network = self.sizes.network(heads, classes);
        network.map_err(|reason| self.misfit(reason))
    }

    /// Checks that a network can begin with the weights.
    ///
    /// # Errors
    /// With the options that fit, when it is another network.
    pub fn check(&self, network: &VitSpec) -> Result<(), TrainError> {
        let checked = self.sizes.check(network);
        checked.map_err(|reason| self.misfit(reason))
    }

    pub(super) fn misfit(&self, reason: String) -> TrainError {
        TrainError::Initial {
            path: self.path.clone(),
            reason,
        }
    }
}

/// What is needed of the configuration of a run, of whatever version.
#[derive(Deserialize)]
pub(super) struct Configuration {
    pub(super) network: Network,
    pub(super) preprocessing: Option<Preprocessing>,
    classes: Option<Vec<String>>,
}

impl Configuration {
    /// That of the run which wrote a file, or what is wrong with it.
    pub(super) fn of(file: &WeightsFile) -> Result<Option<Self>, String> {
        value(file, CONFIG)
    }
}

/// What a file of ours states of its network: by itself, or in the
/// configuration of its run.
#[derive(Default)]
struct Stated {
    network: Option<VitSpec>,
    preprocessing: Option<Preprocessing>,
    classes: Option<Vec<String>>,
}

impl Stated {
    fn of(file: &WeightsFile) -> Result<Self, String> {
        if file.metadata(NETWORK).is_some() {
            return Ok(Self {
                network: value(file, NETWORK)?,
                preprocessing: value(file, PREPROCESSING)?,
                classes: value(file, CLASSES)?,
            });
        }
        let Some(config) = Configuration::of(file)? else {
            if file.metadata(POSITION).is_some() {
                return Err(
                    "it is the checkpoint of a run, which does not state its network; \
                     take the run's best.safetensors"
                        .to_owned(),
                );
            }
            return Ok(Self::default());
        };
        match config.network {
            Network::Vit(network) => Ok(Self {
                network: Some(network),
                preprocessing: config.preprocessing,
                classes: config.classes,
            }),
            other => Err(format!(
                "it is of a run with --arch {}, a convolutional network; only the weights of a \
                 Vision Transformer can be taken",
                other.architecture()
            )),
        }
    }
}

/// What JSON a file's metadata have under a key.
fn value<T: DeserializeOwned>(file: &WeightsFile, key: &str) -> Result<Option<T>, String> {
    file.metadata(key)
        .map(serde_json::from_str)
        .transpose()
        .map_err(|error| format!("{key} in its metadata: {error}"))
}

/// Refuses weights that mean nothing without parts that our network has not.
fn refuse(foreign: &[String]) -> Result<(), String> {
    let Some(first) = foreign.first() else {
        return Ok(());
    };
    let registers = |name: &&String| name.contains("register_tokens") || name.contains("reg_token");
    if let Some(registers) = foreign.iter().find(registers) {
        return Err(format!(
            "its network has register tokens ({registers}), which this one has not; \
             take the weights of a network without them, for example dinov2_vits14 instead of \
             dinov2_vits14_reg"
        ));
    }
    Err(format!(
        "its network has parts that a plain Vision Transformer has not: {first}{}",
        match foreign.len() - 1 {
            0 => String::new(),
            more => format!(" and {more} more"),
        }
    ))
}

/// Query, key and value one below the other.
fn joined(name: &str, parts: [Option<NamedArray>; 3]) -> Result<NamedArray, String> {
    let [Some(query), Some(key), Some(value)] = parts else {
        return Err(format!("of {name} it has not all of query, key and value"));
    };
    if query.shape != key.shape || query.shape != value.shape || query.shape.is_empty() {
        return Err(format!("query, key and value of {name} differ in shape"));
    }
    let mut joined = query;
    joined.shape[0] *= 3;
    joined.data.extend(key.data);
    joined.data.extend(value.data);
    Ok(joined)
}
