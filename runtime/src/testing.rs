//! What tests of several modules share: workers with engines that do what a
//! test says.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::Path;

use millsight_export::card::{
    ElementType, InputSpec, ModelCard, NO_DEFECT, OutputKind, OutputSpec, Preprocessing, Provenance,
};
use millsight_export::engine::{Batch, Engine, EngineError, EngineIdentity};
use millsight_firmware_config::{MaterialDetection, Recording};

use crate::classify::{Classifier, Network};
use crate::decide::Decider;
use crate::ledger::ModelIdentity;
use crate::position::Geometry;
use crate::record::{Recorder, RunDescription};

/// An engine that calls a function for every run. It is given the number of
/// the run, from 1 on, and of the tiles, and gives the scores; no scores are a
/// failure. The tiles of a run are 1, 2, … from the training data.
struct Scripted<F> {
    runs: usize,
    script: F,
    distances: Vec<f32>,
    identity: EngineIdentity,
}

impl<F> Engine for Scripted<F>
where
    F: FnMut(usize, usize) -> Vec<f32> + Send,
{
    fn identity(&self) -> &EngineIdentity {
        &self.identity
    }

    fn run(&mut self, _: Batch<'_>, tiles: usize, out: &mut Vec<f32>) -> Result<(), EngineError> {
        self.runs += 1;
        *out = (self.script)(self.runs, tiles);
        if out.is_empty() {
            return Err(EngineError::Run("no".into()));
        }
        self.distances = (1..=tiles).map(|place| place as f32).collect();
        Ok(())
    }

    fn distances(&self) -> &[f32] {
        &self.distances
    }
}

/// Classes of the model that [`classifier`] runs.
pub(crate) const CLASSES: [&str; 2] = [NO_DEFECT, "cracks"];

/// Card of that model.
pub(crate) fn card() -> ModelCard {
    ModelCard {
        schema: ModelCard::SCHEMA,
        name: "test".into(),
        architecture: "vit".into(),
        classes: CLASSES.map(String::from).to_vec(),
        input: InputSpec {
            name: "tile".into(),
            width: 8,
            height: 8,
            channels: 1,
            element: ElementType::U8,
        },
        output: OutputSpec {
            name: "probabilities".into(),
            kind: OutputKind::Probabilities,
            distance: None,
        },
        preprocessing: Preprocessing::imagenet(),
        thresholds: BTreeMap::new(),
        calibration: None,
        provenance: Provenance::default(),
    }
}

fn identity() -> EngineIdentity {
    EngineIdentity {
        name: "scripted".into(),
        version: String::new(),
        provider: "cpu".into(),
        precision: "f32".into(),
    }
}

/// A network that gives `batch` tiles at once to a scripted engine.
pub(crate) fn network(
    batch: usize,
    script: impl FnMut(usize, usize) -> Vec<f32> + Send + 'static,
) -> Network {
    let card = card();
    let engine = Scripted {
        runs: 0,
        script,
        distances: Vec::new(),
        identity: identity(),
    };
    let decider = Decider::new(&card, &BTreeMap::new()).unwrap();
    Network::new(Box::new(engine), &card, decider, batch)
}

/// A worker that gives `batch` tiles at once to a scripted engine.
pub(crate) fn classifier(
    batch: usize,
    script: impl FnMut(usize, usize) -> Vec<f32> + Send + 'static,
) -> Classifier {
    Classifier::new(network(batch, script), None, MaterialDetection::default())
}

/// Scores of tiles without a defect.
pub(crate) fn clean(tiles: usize) -> Vec<f32> {
    [0.75, 0.25].repeat(tiles)
}

/// A recorder of a run that begins in `folder`.
pub(crate) fn recorder(folder: &Path, geometry: Geometry) -> Recorder {
    let description = RunDescription {
        station: "test".into(),
        station_toml: String::new(),
        piece: "coil".into(),
        engine: identity(),
        model: ModelIdentity {
            sha256: String::new(),
            name: "test".into(),
        },
        card: card(),
        geometry,
        files: Vec::new(),
    };
    Recorder::begin(folder, &Recording::default(), description).unwrap()
}
