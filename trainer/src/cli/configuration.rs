//! The complete configuration of a new run, from what the options ask for.

use std::path::{Path, PathBuf};

use miette::{IntoDiagnostic, Result};
use millsight_export::card::Preprocessing;
use millsight_trainer::TrainError;
use millsight_trainer::data::table::Table;
use millsight_trainer::data::tiles::TileForm;
use millsight_trainer::model::network::Network;
use millsight_trainer::model::precision::Precision;
use millsight_trainer::optimise::adamw::AdamWConfig;
use millsight_trainer::provenance;
use millsight_trainer::run::config::{Method, PinnedWeights, RunConfig};
use millsight_trainer::weights::backbone::Backbone;
use millsight_trainer::weights::screen::ScreenWeights;

use super::network::{Architecture, NetworkArgs};

/// What a network begins with, in a file.
pub enum Initial {
    /// Weights of a Vision Transformer.
    Vit(Box<Backbone>),
    /// Weights of a screen.
    Screen(ScreenWeights),
}

impl Initial {
    /// Reads the file of a network of this architecture.
    fn open(path: &Path, architecture: Architecture) -> Result<Self> {
        match architecture {
            Architecture::Vit => Backbone::open(path).map(|backbone| Self::Vit(backbone.into())),
            Architecture::Screen => ScreenWeights::open(path).map(Self::Screen),
            Architecture::YoloClsN => Err(TrainError::NeedsVit { option: "--init" }),
        }
        .into_diagnostic()
    }

    /// That of a Vision Transformer.
    pub fn vit(&self) -> Option<&Backbone> {
        match self {
            Self::Vit(backbone) => Some(backbone),
            Self::Screen(_) => None,
        }
    }

    /// That of a screen.
    pub fn screen(&self) -> Option<&ScreenWeights> {
        match self {
            Self::Vit(_) => None,
            Self::Screen(screen) => Some(screen),
        }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        match self {
            Self::Vit(backbone) => &backbone.path,
            Self::Screen(screen) => &screen.path,
        }
    }

    /// How the images were prepared that it has learnt from.
    pub fn preprocessing(&self) -> Option<&Preprocessing> {
        match self {
            Self::Vit(backbone) => backbone.preprocessing.as_ref(),
            Self::Screen(screen) => screen.preprocessing.as_ref(),
        }
    }
}

/// What the options of a command say, whatever its method.
pub struct Asked<'a> {
    pub table: &'a Path,
    pub data_root: &'a Option<PathBuf>,
    pub network: &'a NetworkArgs,
    pub architecture: Architecture,
    pub init: Option<&'a Path>,
    pub epochs: usize,
    pub batch_size: usize,
    pub optimiser: AdamWConfig,
    pub seed: u64,
    pub shard_size: usize,
    pub precision: Precision,
}

impl Asked<'_> {
    /// The configuration; `learnt` says which network learns what, from the
    /// table, which it may relabel, and the weights that it begins with.
    pub fn config(
        self,
        learnt: impl FnOnce(&mut Table, Option<&Initial>) -> Result<(Network, Method)>,
    ) -> Result<RunConfig> {
        let mut table = Table::read(self.table).into_diagnostic()?;
        let init = self
            .init
            .map(|file| Initial::open(file, self.architecture))
            .transpose()?;
        let (network, method) = learnt(&mut table, init.as_ref())?;
        let root = super::absolute_data_root(self.data_root, self.table)?;
        let colour = self.network.colour(&table);
        let form = TileForm::of(&network, colour);
        Ok(RunConfig {
            network,
            layer_scale: self.network.layer_scale(),
            colour,
            classes: table.classes(),
            preprocessing: self
                .network
                .preprocessing(&table, &root, form, init.as_ref())?,
            table: super::absolute(self.table)?,
            table_sha256: table.sha256,
            data_root: root,
            initial_weights: self
                .init
                .map(|file| PinnedWeights::of(&super::absolute(file)?).into_diagnostic())
                .transpose()?,
            epochs: self.epochs,
            batch_size: self.batch_size,
            optimiser: self.optimiser,
            method,
            seed: self.seed,
            shard_size: self.shard_size,
            precision: self.precision,
            git_revision: provenance::git_revision(),
            command: provenance::command_line(
                std::env::args_os().map(|word| word.to_string_lossy().into_owned()),
            ),
        })
    }
}

/// Number of elements of all parameters together.
pub fn elements(parameters: impl IntoIterator<Item = (String, Vec<usize>)>) -> usize {
    let elements = |(_, shape): (String, Vec<usize>)| shape.iter().product::<usize>();
    parameters.into_iter().map(elements).sum()
}
