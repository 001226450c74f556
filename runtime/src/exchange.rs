//! Another model takes over while lines come.
//!
//! A model that is offered first runs in the shadow of the one that judges: it is shown
//! the same tiles as time permits, and nothing follows from what it says. When it is
//! promoted, it judges the rows that are assembled from then on (see
//! [`Models`](crate::classify::Models)); the one before is kept, so that it can be
//! called back at once.

mod shadow;

#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use millsight_export::engine::{EngineIdentity, EngineRequest};
use millsight_export::model_file::ModelFile;
use millsight_firmware_config::Station;

use crate::classify::{Models, SettledRow};
use crate::ledger::ModelIdentity;
use crate::networks::{self, NetworksError};
use crate::record::now;
pub use shadow::{Comparison, Difference, Said};
use shadow::{Feed, Shadow};

/// The models of a run, and who may take over.
pub struct Exchange {
    station: Station,
    request: EngineRequest,
    workers: usize,
    models: Arc<Models>,
    state: Mutex<State>,
    /// Where the tiles of the shadow go. Apart from the rest, so that the thread that
    /// records never waits for an engine that starts.
    feed: Mutex<Option<Feed>>,
}

struct State {
    active: Used,
    previous: Option<Used>,
    shadow: Option<Shadow>,
}

/// A model that judges, or did.
#[derive(Clone)]
pub struct Used {
    /// Its number in the run.
    pub number: usize,
    /// The model.
    pub file: Arc<ModelFile>,
    /// Since when, RFC 3339 in UTC.
    pub since: String,
    /// Who promoted it or called it back; `None`: the run began with it.
    pub by: Option<String>,
}

/// How matters stand.
pub struct Standing {
    /// The model that judges.
    pub active: Used,
    /// The one before it.
    pub previous: Option<Used>,
    /// The one in its shadow.
    pub shadow: Option<ShadowStanding>,
}

/// A model in the shadow of another.
pub struct ShadowStanding {
    /// The model.
    pub file: Arc<ModelFile>,
    /// What runs it.
    pub engine: EngineIdentity,
    /// How far its scores are here from the vectors in its card; `None`: the card has none.
    pub difference: Option<f32>,
    /// Since when, RFC 3339 in UTC.
    pub since: String,
    /// Who offered it.
    pub by: String,
    /// What it says beside the one that judges.
    pub compared: Comparison,
}

/// Why a model cannot take over.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExchangeError {
    /// It distinguishes other classes.
    #[error(
        "the model {name} has the classes {got}, but this run counts {expected}: stop the run and \
         begin it with this model instead"
    )]
    Classes {
        /// Name of the model.
        name: String,
        /// Its classes.
        got: String,
        /// The classes of the run.
        expected: String,
    },
    /// It judges already.
    #[error("the model {0} judges already")]
    Active(String),
    /// It does not run.
    #[error(transparent)]
    Networks(#[from] NetworksError),
    /// The thread of the shadow cannot be started.
    #[error("no thread can be started for the model: {0}")]
    Thread(std::io::Error),
    /// There is no model in the shadow.
    #[error("no model runs in shadow; load one first")]
    NoShadow,
    /// There is no model to call back.
    #[error("no other model has judged in this run")]
    NoPrevious,
}

impl Exchange {
    /// The models of a run that begins with `file` and has so many workers.
    pub fn new(
        station: Station,
        request: EngineRequest,
        workers: usize,
        models: Arc<Models>,
        file: ModelFile,
    ) -> Self {
        Self {
            station,
            request,
            workers,
            models,
            state: Mutex::new(State {
                active: Used {
                    number: 0,
                    file: Arc::new(file),
                    since: now(),
                    by: None,
                },
                previous: None,
                shadow: None,
            }),
            feed: Mutex::default(),
        }
    }

    /// How matters stand.
    pub fn standing(&self) -> Standing {
        let state = self.state();
        Standing {
            active: state.active.clone(),
            previous: state.previous.clone(),
            shadow: state.shadow.as_ref().map(Shadow::standing),
        }
    }

    /// Lets a model run in the shadow of the one that judges, in the place of another
    /// that did.
    ///
    /// # Errors
    /// When it has other classes, or does not run.
    pub fn offer(&self, file: ModelFile, by: &str) -> Result<(), ExchangeError> {
        let active = Arc::clone(&self.state().active.file);
        let (name, classes) = (&file.card.name, &file.card.classes);
        if file.sha256 == active.sha256 {
            return Err(ExchangeError::Active(name.clone()));
        }
        if *classes != active.card.classes {
            return Err(ExchangeError::Classes {
                name: name.clone(),
                got: classes.join(", "),
                expected: active.card.classes.join(", "),
            });
        }
        let another = networks::start_another(&self.station, &self.request, &file, 1)?;
        let detection = self.station.material_detection.clone();
        let (shadow, feed) = Shadow::start(file, another, detection, by)?;
        let mut state = self.state();
        let before = state.shadow.replace(shadow);
        *self.feed() = Some(feed);
        drop(state);
        // Its thread has ended when this returns; nothing waits for it meanwhile.
        drop(before);
        Ok(())
    }

    /// Ends the shadow.
    ///
    /// # Errors
    /// When there is none.
    pub fn dismiss(&self) -> Result<(), ExchangeError> {
        let mut state = self.state();
        let shadow = state.shadow.take();
        *self.feed() = None;
        drop(state);
        shadow.map(drop).ok_or(ExchangeError::NoShadow)
    }

    /// Lets the model in shadow judge the rows that are assembled from now on.
    ///
    /// # Errors
    /// When there is none, or it does not run for all workers; then nothing changes.
    pub fn promote(&self, by: &str) -> Result<Used, ExchangeError> {
        let file = self.state().shadow.as_ref().map(Shadow::file);
        let file = file.ok_or(ExchangeError::NoShadow)?;
        let networks =
            networks::start_another(&self.station, &self.request, &file, self.workers)?.networks;
        let mut state = self.state();
        // Someone else may have changed it while the engines started.
        let is_same = state
            .shadow
            .as_ref()
            .is_some_and(|shadow| Arc::ptr_eq(&shadow.file(), &file));
        if !is_same {
            return Err(ExchangeError::NoShadow);
        }
        let number = self
            .models
            .add(ModelIdentity::of(&file), file.card.clone(), networks);
        self.models.choose(number);
        let promoted = Used {
            number,
            file,
            since: now(),
            by: Some(by.to_owned()),
        };
        state.previous = Some(std::mem::replace(&mut state.active, promoted.clone()));
        *self.feed() = None;
        let shadow = state.shadow.take();
        drop(state);
        drop(shadow);
        Ok(promoted)
    }

    /// Calls back the model that judged before.
    ///
    /// # Errors
    /// When there is none.
    pub fn roll_back(&self, by: &str) -> Result<Used, ExchangeError> {
        let mut state = self.state();
        let previous = state.previous.take().ok_or(ExchangeError::NoPrevious)?;
        self.models.choose(previous.number);
        let called_back = Used {
            since: now(),
            by: Some(by.to_owned()),
            ..previous
        };
        state.previous = Some(std::mem::replace(&mut state.active, called_back.clone()));
        Ok(called_back)
    }

    /// The file of a model that judges, or did before, by its SHA-256.
    pub fn file(&self, sha256: &str) -> Option<Arc<ModelFile>> {
        let state = self.state();
        let used = [Some(&state.active), state.previous.as_ref()];
        let mut files = used.into_iter().flatten().map(|used| &used.file);
        files.find(|file| file.sha256 == sha256).cloned()
    }

    /// The station, and on what its models run.
    pub fn engine(&self) -> (Station, EngineRequest) {
        (self.station.clone(), self.request.clone())
    }

    /// Shows a row to the model in shadow, where there is one.
    pub fn row(&self, row: &SettledRow) {
        if let Some(feed) = &*self.feed() {
            feed.row(row);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn feed(&self) -> MutexGuard<'_, Option<Feed>> {
        self.feed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
