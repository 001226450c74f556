//! The record thread: final states enter the ledger, are recorded, and the
//! buffers go back to the line thread.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;
use std::{iter, mem};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use millsight_export::panics;

use super::backlog::Backlog;
use super::findings::{Findings, Problem};
use crate::assemble::RowBuffer;
use crate::classify::{Models, SettledRow};
use crate::ledger::{Ledger, TileState};
use crate::record::{JudgedLate, RecordError, Recorder};
use crate::source::Gap;

/// What the record thread is told.
#[expect(clippy::large_enum_variant, reason = "nearly all of them are rows")]
pub(super) enum Finished {
    /// A row whose tiles have their states.
    Row(SettledRow),
    /// Lines that are missing, and where on the piece.
    Gap { gap: Gap, metres: f64 },
    /// A tile of the backlog has its verdict.
    Late(JudgedLate),
}

/// What the record thread works with.
pub(super) struct Settler<'a> {
    pub(super) recorder: Option<&'a mut Recorder>,
    pub(super) observe: Option<&'a mut (dyn FnMut(&SettledRow) + Send)>,
    pub(super) free: Sender<RowBuffer>,
    pub(super) deadline: Option<Duration>,
    pub(super) models: &'a Models,
    pub(super) backlog: &'a Backlog<'a>,
    /// Overdue tiles of the rows that wait to be committed.
    pub(super) overdue: usize,
    pub(super) ledger: &'a Ledger,
    pub(super) findings: &'a Findings,
}

/// However the record thread ends, nothing comes back from it.
impl Drop for Settler<'_> {
    fn drop(&mut self) {
        self.backlog.close();
    }
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
                Ok(Finished::Late(judged)) => self.judged_late(&judged),
                Err(RecvTimeoutError::Timeout) => self.record(Recorder::commit_if_due),
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.fill_backlog();
        }
    }

    /// What is durable can be judged from the record.
    fn fill_backlog(&mut self) {
        match &mut self.recorder {
            // What waits to be committed is on its way.
            Some(recorder) if recorder.commit_due().is_some() => {
                self.backlog.recorded(0, recorder.take_overdue());
            }
            Some(recorder) => {
                let tiles = mem::take(&mut self.overdue);
                self.backlog.recorded(tiles, recorder.take_overdue());
            }
            None => self
                .backlog
                .recorded(mem::take(&mut self.overdue), iter::empty()),
        }
    }

    fn judged_late(&mut self, judged: &JudgedLate) {
        let verdict = judged.verdict;
        let flagged = verdict.flagged.then_some(verdict.class);
        self.ledger.judged_late(judged.tile.reason, flagged);
        let latency = judged
            .settled
            .saturating_duration_since(judged.tile.completed);
        self.ledger.latency(latency, 1);
        self.know(judged.model);
        self.record(|recorder| recorder.judged_late(judged));
    }

    fn row(&mut self, mut row: SettledRow) {
        enter(&row, self.deadline, self.ledger);
        self.overdue += row.overdue();
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
        self.know(row.row.model);
        self.record(|recorder| recorder.row(&row));
        if let Some(buffer) = row.into_buffer() {
            let _ = self.free.send(buffer);
        }
    }

    /// Lets the recorder know the models up to the one of a given number.
    fn know(&mut self, model: usize) {
        let models = self.models;
        self.record(|recorder| {
            while recorder.models() <= model
                && let Some((identity, card)) = models.described(recorder.models())
            {
                recorder.add_model(&identity, &card)?;
            }
            Ok(())
        });
    }

    /// Lets the recorder work. After a panic nothing is known of its state, so
    /// that it is not called again: what follows is only counted.
    pub(super) fn record(&mut self, work: impl FnOnce(&mut Recorder) -> Result<(), RecordError>) {
        let Some(recorder) = &mut self.recorder else {
            return;
        };
        let recorded = catch_unwind(AssertUnwindSafe(|| work(recorder)));
        if !matches!(recorded, Ok(Ok(()))) {
            self.ledger.record_failed();
        }
        match recorded {
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
