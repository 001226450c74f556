//! A model that looks on.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, bounded};
use millsight_export::card::NO_DEFECT;
use millsight_export::engine::EngineIdentity;
use millsight_export::model_file::ModelFile;
use millsight_firmware_config::{MaterialDetection, TILE_SIZE};
use serde::Serialize;

use super::{ExchangeError, ShadowStanding};
use crate::classify::{Classifier, SettledRow};
use crate::cores;
use crate::decide::Verdict;
use crate::ledger::TileState;
use crate::networks::Another;
use crate::record::now;

/// Tiles that wait for the shadow; of what comes beyond that it sees nothing.
const MOST_WAITING: usize = 64;

/// Differences that are kept with their images, the last ones.
const MOST_DIFFERENCES: usize = 40;

/// How often the shadow stands back behind the threads of the line, of which the workers
/// stand back already.
const STANDS_BACK: usize = 3;

/// What a model says of a tile.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Said {
    /// The class that it flags, or `no_defect`.
    pub class: String,
    /// Probability of its most probable class, 0 to 1.
    pub probability: f32,
}

/// A tile of which the two models say different things.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Difference {
    /// From 1 on, in the order in which they were found.
    pub number: u64,
    /// Row of the tile.
    pub row: u64,
    /// Column of the tile.
    pub column: usize,
    /// Where it begins along the piece, metres.
    pub metres: f64,
    /// What the model says that judges.
    pub active: Said,
    /// What the shadow says.
    pub shadow: Said,
    /// The tile, `[512, 512]`. Shared, because who looks takes all of them.
    #[serde(skip)]
    pub levels: Arc<[u8]>,
}

/// What a shadow says beside the model that judges.
#[derive(Debug, Clone, Default, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Comparison {
    /// Tiles that both have judged.
    pub tiles: u64,
    /// Tiles that the shadow did not see for lack of time.
    pub skipped: u64,
    /// Tiles of which both say the same.
    pub agreed: u64,
    /// Tiles that the shadow failed at.
    pub failed: u64,
    /// Tiles by what the model says that judges, and by what the shadow says.
    pub said: BTreeMap<String, BTreeMap<String, u64>>,
    /// The last tiles of which they say different things, the last one last.
    #[schema(value_type = Vec<Difference>)]
    pub differences: VecDeque<Difference>,
}

/// A model that looks on, on a thread of its own, until it is dropped.
pub(super) struct Shadow {
    file: Arc<ModelFile>,
    engine: EngineIdentity,
    difference: Option<f32>,
    since: String,
    by: String,
    told: Arc<Told>,
    thread: Option<JoinHandle<()>>,
    /// Nothing is sent: that it is gone ends the thread.
    goes_on: Option<Sender<()>>,
}

/// What the thread of a shadow tells.
#[derive(Default)]
struct Told {
    compared: Mutex<Comparison>,
    skipped: AtomicU64,
}

/// A tile that the model has judged that judges.
struct Judged {
    row: u64,
    column: usize,
    metres: f64,
    verdict: Verdict,
    levels: Vec<u8>,
}

/// Where the tiles for a shadow go.
pub(super) struct Feed {
    tiles: Sender<Judged>,
    told: Arc<Told>,
}

impl Feed {
    /// Sends the tiles of a row that were judged. It never waits.
    pub(super) fn row(&self, row: &SettledRow) {
        let Some(pixels) = row.row.pixels.as_deref() else {
            return;
        };
        let width = row.states.len() * TILE_SIZE;
        for (column, state) in row.states.iter().enumerate() {
            let (TileState::Judged { .. }, Some(verdict)) = (state, row.verdicts[column]) else {
                continue;
            };
            let is_sent = !self.tiles.is_full() && {
                let lines = pixels.chunks_exact(width);
                let tile = lines.flat_map(|line| &line[column * TILE_SIZE..][..TILE_SIZE]);
                let judged = Judged {
                    row: row.row.number,
                    column,
                    metres: row.row.metres,
                    verdict,
                    levels: tile.copied().collect(),
                };
                self.tiles.try_send(judged).is_ok()
            };
            if !is_sent {
                self.told.skipped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

impl Shadow {
    /// Starts the thread of a model with one network.
    pub(super) fn start(
        file: ModelFile,
        another: Another,
        detection: MaterialDetection,
        by: &str,
    ) -> Result<(Self, Feed), ExchangeError> {
        let Another {
            networks,
            engine,
            difference,
        } = another;
        let told = Arc::new(Told::default());
        let (tiles, waiting) = bounded(MOST_WAITING);
        let (goes_on, ends) = bounded::<()>(0);
        let classes = file.card.classes.clone();
        let thread = {
            let told = Arc::clone(&told);
            let classifiers: Vec<Classifier> = networks
                .into_iter()
                .map(|network| Classifier::new(network, None, detection.clone()))
                .collect();
            thread::Builder::new()
                .name("millsight-shadow".into())
                .spawn(move || {
                    (0..STANDS_BACK).for_each(|_| cores::stand_back());
                    for classifier in classifiers {
                        look_on(classifier, &classes, &waiting, &ends, &told);
                    }
                })
                .map_err(ExchangeError::Thread)?
        };
        let shadow = Self {
            file: Arc::new(file),
            engine,
            difference,
            since: now(),
            by: by.to_owned(),
            told: Arc::clone(&told),
            thread: Some(thread),
            goes_on: Some(goes_on),
        };
        Ok((shadow, Feed { tiles, told }))
    }

    /// The model.
    pub(super) fn file(&self) -> Arc<ModelFile> {
        Arc::clone(&self.file)
    }

    pub(super) fn standing(&self) -> ShadowStanding {
        let mut compared = self.told.compared().clone();
        compared.skipped = self.told.skipped.load(Ordering::Relaxed);
        ShadowStanding {
            file: Arc::clone(&self.file),
            engine: self.engine.clone(),
            difference: self.difference,
            since: self.since.clone(),
            by: self.by.clone(),
            compared,
        }
    }
}

impl Drop for Shadow {
    fn drop(&mut self) {
        drop(self.goes_on.take());
        if let Some(thread) = self.thread.take() {
            // One that panicked has ended as well.
            let _ = thread.join();
        }
    }
}

impl Told {
    fn compared(&self) -> MutexGuard<'_, Comparison> {
        self.compared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Judges what comes until nobody wants to know any more.
fn look_on(
    mut classifier: Classifier,
    classes: &[String],
    waiting: &Receiver<Judged>,
    ends: &Receiver<()>,
    told: &Told,
) {
    loop {
        let tile = crossbeam_channel::select_biased! {
            recv(ends) -> _ => return,
            recv(waiting) -> tile => match tile {
                Ok(tile) => tile,
                Err(_) => return,
            },
        };
        let verdict = classifier
            .judge_alone(&tile.levels)
            .map(|judged| judged.verdict);
        let mut compared = told.compared();
        match verdict {
            Ok(verdict) => compared.note(classes, tile, verdict),
            Err(error) => {
                if compared.failed == 0 {
                    tracing::error!("the model in shadow failed: {error}");
                }
                compared.failed += 1;
            }
        }
    }
}

impl Comparison {
    fn note(&mut self, classes: &[String], tile: Judged, verdict: Verdict) {
        let (active, shadow) = (said(classes, tile.verdict), said(classes, verdict));
        self.tiles += 1;
        let by_active = self.said.entry(active.class.clone()).or_default();
        *by_active.entry(shadow.class.clone()).or_default() += 1;
        if active.class == shadow.class {
            self.agreed += 1;
            return;
        }
        if self.differences.len() == MOST_DIFFERENCES {
            self.differences.pop_front();
        }
        self.differences.push_back(Difference {
            number: self.tiles - self.agreed,
            row: tile.row,
            column: tile.column,
            metres: tile.metres,
            active,
            shadow,
            levels: tile.levels.into(),
        });
    }
}

fn said(classes: &[String], verdict: Verdict) -> Said {
    let class = match verdict.flagged {
        true => classes.get(verdict.class).map_or(NO_DEFECT, String::as_str),
        false => NO_DEFECT,
    };
    Said {
        class: class.to_owned(),
        probability: verdict.probability,
    }
}
