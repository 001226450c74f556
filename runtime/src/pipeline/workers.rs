//! Worker threads. Each looks at the rows that come from the line thread, and
//! in the time that is left lets the classifier look at what is still open in
//! them. So the next row never waits for more than one run of the classifier,
//! and in a burst of defects it is the classifier that falls behind and never
//! the screen.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TryRecvError, select};
use millsight_export::panics;

use super::backlog::Backlog;
use super::findings::{Findings, Problem};
use super::settle::Finished;
use crate::assemble::Row;
use crate::classify::{Classifier, SettledRow};
use crate::record::{self, JudgedLate, Keeps, Overdue};

/// How often a worker that has nothing to do looks at the backlog.
const BACKLOG_INTERVAL: Duration = Duration::from_millis(20);

/// What a worker works with.
pub(super) struct Worker<'a> {
    pub(super) classifier: Classifier,
    /// Rows at which nobody has looked.
    pub(super) rows: Receiver<Row>,
    /// Rows with open tiles, on their way from any worker to any other. There
    /// is a place for each row that has pixels.
    pub(super) open_in: Sender<SettledRow>,
    pub(super) open_out: Receiver<SettledRow>,
    pub(super) finished: Sender<Finished>,
    /// Places of the record thread's queue up to which the backlog may fill it.
    pub(super) most_told: usize,
    /// Rows that were given to the workers and are not finished.
    pub(super) unjudged_rows: &'a AtomicUsize,
    pub(super) backlog: &'a Backlog<'a>,
    pub(super) stop: &'a AtomicBool,
    pub(super) deadline: Option<Duration>,
    /// What of a row will be recorded.
    pub(super) keeps: Option<Keeps>,
    pub(super) findings: &'a Findings,
}

/// What is to be done next.
#[expect(clippy::large_enum_variant, reason = "one of them at a time")]
enum Task {
    /// Look at a row.
    Look(Row),
    /// Let the classifier look at the rows in hand.
    Judge,
    /// Judge a tile of the backlog.
    JudgeLate(Overdue),
}

impl Worker<'_> {
    /// Works until no more rows come and none is open. After a panic the rows
    /// in hand are given up, and the next ones are judged all the same.
    pub(super) fn run(mut self) {
        while let Some(task) = self.next_task() {
            let Self {
                classifier,
                open_in,
                finished,
                unjudged_rows,
                backlog,
                deadline,
                keeps,
                findings,
                ..
            } = &mut self;
            let mut hand_on = |row: SettledRow| {
                let closed = if row.is_open() {
                    // This worker itself holds the other end.
                    let sent = open_in.try_send(row);
                    sent.err().map(|refused| refused.into_inner())
                } else {
                    Some(row)
                };
                if let Some(mut row) = closed {
                    // Here, where there are many threads: compressing takes longer
                    // than recording.
                    if let Some(keeps) = keeps {
                        keeps.compress(&mut row);
                    }
                    unjudged_rows.fetch_sub(1, Ordering::Relaxed);
                    backlog.sent(&row);
                    // The record thread takes until all senders are gone.
                    let _ = finished.send(Finished::Row(row));
                }
            };
            let done = catch_unwind(AssertUnwindSafe(|| match task {
                Task::Look(row) => classifier.look(row, *deadline, &mut hand_on),
                Task::Judge => classifier.judge(*deadline, &mut hand_on),
                Task::JudgeLate(tile) => judge_late(classifier, tile, finished, findings),
            }));
            if let Err(panic) = done {
                let message = panics::message(&*panic);
                findings.problem(
                    Problem::Panic("classify"),
                    format!("the classifier panicked: {message}"),
                );
                classifier.abandon().for_each(&mut hand_on);
            }
        }
    }

    /// What comes first: a row at which nobody has looked, then open tiles, then
    /// the backlog, which is left when the run is stopped. `None` when there is
    /// nothing and nothing more comes: another worker that still has a row sees
    /// to it itself.
    fn next_task(&mut self) -> Option<Task> {
        loop {
            let rows_have_ended = match self.rows.try_recv() {
                Ok(row) => return Some(Task::Look(row)),
                Err(ended) => ended == TryRecvError::Disconnected,
            };
            while self.classifier.has_room(self.deadline)
                && let Ok(row) = self.open_out.try_recv()
            {
                self.classifier.take(row);
            }
            if self.classifier.has_rows() {
                return Some(Task::Judge);
            }
            let is_stopped = rows_have_ended && self.stop.load(Ordering::Relaxed);
            if !is_stopped
                && self.finished.len() < self.most_told
                && let Some(tile) = self.backlog.take()
            {
                return Some(Task::JudgeLate(tile));
            }
            if rows_have_ended {
                if is_stopped || self.backlog.is_done() {
                    return None;
                }
                thread::sleep(BACKLOG_INTERVAL);
                continue;
            }
            select! {
                recv(self.rows) -> row => if let Ok(row) = row {
                    return Some(Task::Look(row));
                },
                recv(self.open_out) -> row => if let Ok(row) = row {
                    self.classifier.take(row);
                },
                default(BACKLOG_INTERVAL) => {}
            }
        }
    }
}

/// Judges a tile of the backlog. What cannot be judged stays unjudged.
pub(super) fn judge_late(
    classifier: &mut Classifier,
    tile: Overdue,
    finished: &Sender<Finished>,
    findings: &Findings,
) {
    let levels = match record::read_tile(&tile.image) {
        Ok(levels) => levels,
        Err(error) => {
            let image = tile.image.display();
            findings.problem(
                Problem::Backlog,
                format!("the recorded image {image} cannot be read, so that its tile stays unjudged: {error}"),
            );
            return;
        }
    };
    match classifier.judge_alone(&levels) {
        Ok(judged) => {
            let late = JudgedLate {
                tile,
                model: judged.model,
                verdict: judged.verdict,
                probabilities: judged.probabilities.to_vec(),
                distance: judged.distance,
                settled: Instant::now(),
            };
            let _ = finished.send(Finished::Late(late));
        }
        Err(error) => findings.problem(Problem::classify(&error), error.to_string()),
    }
}
