//! The record thread: final states enter the ledger, are recorded, and the
//! buffers go back to the line thread.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use millsight_export::panics;

use super::findings::{Findings, Problem};
use crate::assemble::RowBuffer;
use crate::classify::SettledRow;
use crate::ledger::{Ledger, TileState};
use crate::record::{RecordError, Recorder};
use crate::source::Gap;

/// What the record thread is told.
#[expect(clippy::large_enum_variant, reason = "nearly all of them are rows")]
pub(super) enum Finished {
    /// A row whose tiles have their states.
    Row(SettledRow),
    /// Lines that are missing, and where on the piece.
    Gap { gap: Gap, metres: f64 },
}

/// What the record thread works with.
pub(super) struct Settler<'a> {
    pub(super) recorder: Option<&'a mut Recorder>,
    pub(super) observe: Option<&'a mut (dyn FnMut(&SettledRow) + Send)>,
    pub(super) free: Sender<RowBuffer>,
    pub(super) deadline: Option<Duration>,
    pub(super) ledger: &'a Ledger,
    pub(super) findings: &'a Findings,
}

impl Settler<'_> {
    /// Settles what comes until nobody sends any more.
    pub(super) fn run(mut self, finished: &Receiver<Finished>) {
        loop {
            // What was recorded is committed in time even when nothing follows.
            let due = self
                .recorder
                .as_ref()
                .and_then(|recorder| recorder.commit_due());
            let received = match due {
                Some(due) => finished.recv_deadline(due),
                None => finished.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match received {
                Ok(Finished::Gap { gap, metres }) => {
                    self.record(|recorder| recorder.gap(&gap, metres));
                }
                Ok(Finished::Row(row)) => self.row(row),
                Err(RecvTimeoutError::Timeout) => self.record(Recorder::commit_if_due),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn row(&mut self, mut row: SettledRow) {
        enter(&row, self.deadline, self.ledger);
        for error in row.problems.drain(..) {
            self.findings
                .problem(Problem::classify(&error), error.to_string());
        }
        if let Some(observe) = &mut self.observe
            && let Err(panic) = catch_unwind(AssertUnwindSafe(|| observe(&row)))
        {
            let message = panics::message(&*panic);
            self.findings.problem(
                Problem::Panic("observe"),
                format!("what observed the run panicked and was left out from then on: {message}"),
            );
            self.observe = None;
        }
        self.record(|recorder| recorder.row(&row));
        if let Some(buffer) = row.into_buffer() {
            let _ = self.free.send(buffer);
        }
    }

    /// Lets the recorder work. After a panic nothing is known of its state, so
    /// that it is not called again: what follows is only counted.
    pub(super) fn record(&mut self, work: impl FnOnce(&mut Recorder) -> Result<(), RecordError>) {
        let Some(recorder) = &mut self.recorder else {
            return;
        };
        match catch_unwind(AssertUnwindSafe(|| work(recorder))) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => self
                .findings
                .problem(Problem::record(&error), format!("not recorded: {error}")),
            Err(panic) => {
                let message = panics::message(&*panic);
                self.findings.problem(
                    Problem::Panic("record"),
                    format!(
                        "the recorder panicked and nothing was recorded from then on: {message}"
                    ),
                );
                self.recorder = None;
            }
        }
    }
}

/// Enters the states of a row's tiles into the ledger.
pub(super) fn enter(row: &SettledRow, deadline: Option<Duration>, ledger: &Ledger) {
    debug_assert!(!row.is_open(), "a tile of {:?} has no state", row.row);
    debug_assert_eq!(row.states.len(), row.row.columns());
    let judged = row
        .states
        .iter()
        .filter(|state| matches!(state, TileState::Judged { .. }))
        .count() as u64;
    if judged > 0 {
        let latency = row.settled.saturating_duration_since(row.row.completed);
        ledger.latency(latency, judged);
        if deadline.is_some_and(|deadline| latency > deadline) {
            ledger.late(judged);
        }
    }
    for &state in &row.states {
        ledger.settle(state);
    }
}
