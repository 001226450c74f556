//! The networks of a station, with engines that have started.

use std::collections::BTreeMap;
use std::sync::Arc;

use millsight_export::engine::{self, Engine, EngineError, EngineIdentity, EngineRequest};
use millsight_export::model_file::{ModelFile, ModelFileError};
use millsight_export::verify::{self, VerifyError};
use millsight_firmware_config::{Screen, Station};

use crate::classify::{Classifier, ClassifyError, Models, Network};
use crate::decide::{DecideError, Decider};
use crate::ledger::ModelIdentity;
use crate::station;

/// Classifiers that are ready to judge, and what they are made of.
pub struct Networks {
    /// One for each worker.
    pub classifiers: Vec<Classifier>,
    /// The models that they know.
    pub models: Arc<Models>,
    /// The classifier's model.
    pub model: ModelFile,
    /// Its classes and thresholds.
    pub decider: Decider,
    /// What runs it.
    pub engine: EngineIdentity,
    /// The screen that looks first, where there is one.
    pub screen: Option<ModelIdentity>,
    /// What was done otherwise than asked.
    pub notices: Vec<String>,
}

/// Why a station has no networks.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetworksError {
    /// The model file of the classifier.
    #[error(transparent)]
    Model(#[from] ModelFileError),
    /// The classifier's card and the station's thresholds.
    #[error(transparent)]
    Decide(#[from] DecideError),
    /// The engine of the classifier.
    #[error("the engine did not start")]
    Engine(#[source] EngineError),
    /// The classifier gives something else than its card says.
    #[error("the model does not give here what its card says")]
    Verify(#[from] VerifyError),
    /// The model file of the screen.
    #[error("the screen cannot be used")]
    ScreenModel(#[source] ModelFileError),
    /// The screen's card.
    #[error("the screen {name} cannot be used")]
    ScreenCard {
        /// The file, or the name on its card.
        name: String,
        /// What is wrong.
        #[source]
        reason: DecideError,
    },
    /// The engine of the screen.
    #[error("the screen's engine did not start")]
    ScreenEngine(#[source] EngineError),
    /// The classifier does not run.
    #[error("the classifier failed at its first run, over a black tile")]
    FirstRun(#[source] ClassifyError),
    /// The screen does not run.
    #[error("the screen failed at its first run, over a black tile")]
    ScreenFirstRun(#[source] ClassifyError),
}

/// Starts the networks of a station on the engine that is asked for, as many as
/// the station has workers.
///
/// # Errors
/// When a model cannot be used or its engine does not start.
pub fn start(station: &Station, request: &EngineRequest) -> Result<Networks, NetworksError> {
    let model = station::load_model(
        station.model.file.as_deref(),
        station.model.sidecar.as_deref(),
    )?;
    let decider = Decider::new(&model.card, &station.thresholds)?;
    let started = engine::start_for(&model, request, |running| {
        station::workers(&station.engine, running)
    })
    .map_err(NetworksError::Engine)?;
    let engine = started.identity();
    let mut notices = started.notices;
    let (screens, screen) = match &station.screen {
        Some(screen) => {
            let workers = started.engines.len();
            let (screens, identity) = screens(screen, station, request, workers, &mut notices)?;
            (screens, Some(identity))
        }
        None => (Vec::new(), None),
    };
    let mut screens = screens.into_iter();
    let batch = station::batch(&station.engine, &model, &engine);
    let detection = &station.material_detection;
    let models = Arc::new(Models::default());
    let classifiers = ready(started.engines, &model, &decider, batch)
        .map_err(NetworksError::FirstRun)?
        .into_iter()
        .map(|network| {
            Classifier::new(network, screens.next(), detection.clone())
                .with_models(Arc::clone(&models))
        })
        .collect();
    Ok(Networks {
        classifiers,
        models,
        model,
        decider,
        engine,
        screen,
        notices,
    })
}

/// Networks of a model that comes while lines do.
pub struct Another {
    /// One for each worker.
    pub networks: Vec<Network>,
    /// What runs them.
    pub engine: EngineIdentity,
    /// How far its scores are from the vectors in its card; `None`: the card has none.
    pub difference: Option<f32>,
}

/// Starts networks of another model for the workers of a station, on the engine that is
/// asked for, and compares what they give with the vectors in the model's card.
///
/// # Errors
/// When its card does not fit the station's thresholds, its engine does not start, or it
/// gives something else than its card says.
pub fn start_another(
    station: &Station,
    request: &EngineRequest,
    model: &ModelFile,
    workers: usize,
) -> Result<Another, NetworksError> {
    let decider = Decider::new(&model.card, &station.thresholds)?;
    let mut started = engine::start(model, request, workers).map_err(NetworksError::Engine)?;
    let difference = match started.engines.first_mut() {
        Some(engine) => verify::reproduce(engine.as_mut(), model)?,
        None => None,
    };
    let engine = started.identity();
    let batch = station::batch(&station.engine, model, &engine);
    let networks =
        ready(started.engines, model, &decider, batch).map_err(NetworksError::FirstRun)?;
    Ok(Another {
        networks,
        engine,
        difference,
    })
}

/// One screen for each of `workers`, and which model it is.
fn screens(
    screen: &Screen,
    station: &Station,
    request: &EngineRequest,
    workers: usize,
    notices: &mut Vec<String>,
) -> Result<(Vec<Network>, ModelIdentity), NetworksError> {
    let model = station::load_screen(screen).map_err(NetworksError::ScreenModel)?;
    let decider = Decider::new(&model.card, &BTreeMap::new()).map_err(|reason| {
        NetworksError::ScreenCard {
            name: match &screen.file {
                Some(file) => file.display().to_string(),
                None => model.card.name.clone(),
            },
            reason,
        }
    })?;
    let started = engine::start(&model, request, workers).map_err(NetworksError::ScreenEngine)?;
    let identity = started.identity();
    notices.extend(started.notices);
    let batch = station::batch(&station.engine, &model, &identity);
    let networks =
        ready(started.engines, &model, &decider, batch).map_err(NetworksError::ScreenFirstRun)?;
    Ok((networks, ModelIdentity::of(&model)))
}

/// Networks that have run, one for each engine.
fn ready(
    engines: Vec<Box<dyn Engine>>,
    model: &ModelFile,
    decider: &Decider,
    batch: usize,
) -> Result<Vec<Network>, ClassifyError> {
    let ready = |engine| {
        let mut network = Network::new(engine, &model.card, decider.clone(), batch);
        network.warm_up()?;
        Ok(network)
    };
    engines.into_iter().map(ready).collect()
}
