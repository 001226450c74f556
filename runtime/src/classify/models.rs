//! The classifier's models of a run: with which it began, and those that took its place
//! while lines came.
//!
//! The line thread numbers each row with the model that judges it, and the workers keep
//! to that: all tiles of a row are judged by one model, and rows that are under way when
//! another takes over are judged by the one before. So no tile is lost, and none is
//! judged twice.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use millsight_export::card::ModelCard;

use super::Network;
use crate::ledger::ModelIdentity;

/// Networks that a worker keeps: of the model that judges now, and of the one before,
/// which may be asked for again at once.
const KEPT: usize = 2;

/// The models of a run by their numbers, from 0 on.
#[derive(Default)]
pub struct Models {
    current: AtomicUsize,
    added: Mutex<Vec<Added>>,
}

/// A model that came while lines came: its number is its place, from 1 on.
struct Added {
    identity: ModelIdentity,
    card: ModelCard,
    /// Those that no worker has taken yet.
    networks: Vec<Network>,
}

impl Models {
    /// Number of the model that judges the rows that are assembled now.
    pub fn current(&self) -> usize {
        self.current.load(Ordering::Acquire)
    }

    /// Adds a model with the classes of the first and a network for each worker; gives
    /// its number. It judges nothing yet.
    pub fn add(&self, identity: ModelIdentity, card: ModelCard, networks: Vec<Network>) -> usize {
        let mut added = self.lock();
        added.push(Added {
            identity,
            card,
            networks,
        });
        added.len()
    }

    /// Lets a model that was added, or the first, judge the rows that are assembled from
    /// now on.
    pub fn choose(&self, number: usize) {
        self.current.store(number, Ordering::Release);
    }

    /// What a model that was added is.
    pub fn described(&self, number: usize) -> Option<(ModelIdentity, ModelCard)> {
        let added = self.lock();
        let found = added.get(number.checked_sub(1)?)?;
        Some((found.identity.clone(), found.card.clone()))
    }

    /// A network of a model that was added, for a worker that has none of it.
    fn network(&self, number: usize) -> Option<Network> {
        let mut added = self.lock();
        added.get_mut(number.checked_sub(1)?)?.networks.pop()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Added>> {
        self.added.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The networks of a worker, one of each model, the last one that was asked for last.
pub(super) struct OfWorker(Vec<(usize, Network)>);

impl OfWorker {
    pub(super) fn new(first: Network) -> Self {
        Self(vec![(0, first)])
    }

    /// The network that was asked for last.
    pub(super) fn last(&self) -> &Network {
        // There is always one.
        &self.0[self.0.len() - 1].1
    }

    /// The same, to let it run.
    pub(super) fn last_mut(&mut self) -> &mut Network {
        let last = self.0.len() - 1;
        &mut self.0[last].1
    }

    /// Makes the network of a model the last one; `false` where there is none.
    pub(super) fn ask_for(&mut self, number: usize, models: &Models) -> bool {
        if self.0.last().is_some_and(|(known, _)| *known == number) {
            return true;
        }
        let known = self.0.iter().position(|(known, _)| *known == number);
        let found = match known {
            Some(place) => Some(self.0.remove(place)),
            None => models.network(number).map(|network| (number, network)),
        };
        let Some(found) = found else {
            return false;
        };
        self.0.push(found);
        if self.0.len() > KEPT {
            self.0.remove(0);
        }
        true
    }
}
