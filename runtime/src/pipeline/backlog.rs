//! Tiles that were not judged in time. Their images are recorded, and the
//! workers judge them when they have nothing else to do: those at which nobody
//! has looked first, then the most suspicious.

use std::cmp::Ordering as Order;
use std::collections::BinaryHeap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::classify::SettledRow;
use crate::ledger::Ledger;
use crate::record::Overdue;

/// Tiles that wait until there is time.
pub(super) struct Backlog<'a> {
    ledger: &'a Ledger,
    waiting: Mutex<BinaryHeap<Waiting>>,
    /// Tiles that are on their way to the record, and may come back from there.
    recording: AtomicUsize,
    /// Whether a record thread takes tiles and gives them back.
    is_open: AtomicBool,
}

/// A tile with its place in the order.
struct Waiting(Overdue);

impl Waiting {
    fn urgency(&self) -> f32 {
        self.0.suspicion.unwrap_or(f32::INFINITY)
    }
}

impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> Order {
        // Among equals the oldest.
        let age = other.0.tile.cmp(&self.0.tile);
        self.urgency().total_cmp(&other.urgency()).then(age)
    }
}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<Order> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Order::Equal
    }
}

impl Eq for Waiting {}

impl<'a> Backlog<'a> {
    /// An empty backlog. One that is not open stays empty, because no images
    /// are recorded.
    pub(super) fn new(is_open: bool, ledger: &'a Ledger) -> Self {
        Self {
            ledger,
            waiting: Mutex::default(),
            recording: AtomicUsize::new(0),
            is_open: AtomicBool::new(is_open),
        }
    }

    /// Notes that a row goes to the record; must come before it is sent.
    pub(super) fn sent(&self, row: &SettledRow) {
        self.recording.fetch_add(row.overdue(), Ordering::SeqCst);
    }

    /// Notes that `tiles` that were sent have been recorded or lost, and takes
    /// those that can be judged.
    pub(super) fn recorded(&self, tiles: usize, overdue: impl Iterator<Item = Overdue>) {
        let mut waiting = self.lock();
        waiting.extend(overdue.map(Waiting));
        self.ledger.set_backlog(waiting.len());
        drop(waiting);
        self.recording.fetch_sub(tiles, Ordering::SeqCst);
    }

    /// The tile that is to be judged next.
    pub(super) fn take(&self) -> Option<Overdue> {
        let mut waiting = self.lock();
        let next = waiting.pop();
        self.ledger.set_backlog(waiting.len());
        next.map(|waiting| waiting.0)
    }

    /// Whether nothing waits and nothing more comes, unless rows are sent.
    pub(super) fn is_done(&self) -> bool {
        let comes =
            self.is_open.load(Ordering::SeqCst) && self.recording.load(Ordering::SeqCst) > 0;
        // In this order: what was on its way may wait by now.
        !comes && self.lock().is_empty()
    }

    /// Notes that nothing comes back from the record any more.
    pub(super) fn close(&self) {
        self.is_open.store(false, Ordering::SeqCst);
    }

    fn lock(&self) -> MutexGuard<'_, BinaryHeap<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Instant;

    use super::*;
    use crate::ledger::UnjudgedReason;

    #[test]
    fn what_nobody_has_seen_comes_first_and_then_the_most_suspicious() {
        let overdue = |(tile, suspicion)| Overdue {
            tile,
            image: PathBuf::new(),
            reason: UnjudgedReason::Deadline,
            suspicion,
            completed: Instant::now(),
        };
        let tiles = [
            (1, Some(0.2)),
            (2, None),
            (3, Some(0.9)),
            (4, None),
            (5, Some(0.2)),
        ];
        let ledger = Ledger::new(&[]);
        let backlog = Backlog::new(true, &ledger);
        backlog.recording.fetch_add(5, Ordering::SeqCst);
        assert!(!backlog.is_done());
        backlog.recorded(5, tiles.into_iter().map(overdue));
        assert!(!backlog.is_done());
        assert_eq!(ledger.backlog(), 5);
        let order: Vec<_> = std::iter::from_fn(|| backlog.take())
            .map(|o| o.tile)
            .collect();
        assert_eq!(order, [2, 4, 3, 1, 5]);
        assert!(backlog.is_done());
    }
}
