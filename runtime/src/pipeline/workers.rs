//! Worker threads: rows come from the line thread, are judged, and go on to
//! the record thread.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};
use millsight_export::panics;

use super::findings::{Findings, Problem};
use super::settle::Finished;
use crate::assemble::Row;
use crate::classify::Classifier;

/// Judges rows until no more come. After a panic the rows in hand are given
/// up, and the next ones are judged all the same.
pub(super) fn run(
    mut classifier: Classifier,
    rows: &Receiver<Row>,
    finished: &Sender<Finished>,
    unjudged_rows: &AtomicUsize,
    deadline: Option<Duration>,
    findings: &Findings,
) {
    let mut hand_on = |row| {
        unjudged_rows.fetch_sub(1, Ordering::Relaxed);
        // The record thread takes until all senders are gone.
        let _ = finished.send(Finished::Row(row));
    };
    for row in rows {
        let judged = catch_unwind(AssertUnwindSafe(|| {
            let mut more = || rows.try_recv().ok();
            classifier.classify(row, deadline, &mut more, &mut hand_on);
        }));
        if let Err(panic) = judged {
            let message = panics::message(&*panic);
            findings.problem(
                Problem::Panic("classify"),
                format!("the classifier panicked: {message}"),
            );
            classifier.abandon().for_each(&mut hand_on);
        }
    }
}
