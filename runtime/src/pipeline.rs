//! The walk of the tiles through the threads.
//!
//! ```text
//! line thread: source -> assemble --row--> workers: screen, classify --row--> record thread
//!        ^                                 |  ^ rows with                          |
//!        |                                 +--+ open tiles                         |
//!        +------------------------------ free row buffers ------------------------+
//! ```
//!
//! All queues are bounded, and none blocks the line thread but, for sources
//! that can wait, the lack of a free buffer. No thread stops taking from its
//! queue before the queue is closed, whatever fails or panics around it, so
//! that every row comes to the record thread and is counted there.
//!
//! A tile that cannot be judged in time is recorded as unjudged, with its image,
//! and comes back to the workers as [`backlog`] when they have time for it.

mod backlog;
mod findings;
mod lines;
mod settle;
#[cfg(test)]
mod tests;
mod workers;

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::thread::{self, Builder, Scope};
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, bounded};
use millsight_export::panics;
use millsight_firmware_config::{Cores, Deadlines, RECORDING_ROWS};

use crate::assemble::{Assembler, Buffers, Row, RowBuffer};
use crate::classify::{Classifier, Models, SettledRow};
use crate::cores;
use crate::flat_field::FlatField;
use crate::ledger::{Ledger, TileState, UnjudgedReason};
use crate::position::Geometry;
use crate::record::Recorder;
use crate::source::Source;
use backlog::Backlog;
use findings::{Findings, Notice, Problem};
use lines::{Lines, Output};
use settle::{Finished, Settler};
use workers::Worker;

/// Gaps and rows without an image that may wait to be recorded one by one
/// while the disk stalls; beyond that they are summed up.
const MOST_WAITING_NOTES: usize = 1024;

/// How often the caller is told of progress.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

/// Everything that a run needs.
pub struct Run<'a> {
    /// Where lines come from.
    pub source: Box<dyn Source>,
    /// How the source's lines lie on the material.
    pub geometry: Geometry,
    /// One classifier for each worker thread.
    pub classifiers: Vec<Classifier>,
    /// The models that the classifiers know.
    pub models: &'a Models,
    /// Flat-field correction, where the station has one.
    pub flat_field: Option<FlatField>,
    /// Where verdicts go; `None`: they are only counted.
    pub recorder: Option<&'a mut Recorder>,
    /// Sees every row when its tiles have their final states.
    pub observe: Option<&'a mut (dyn FnMut(&SettledRow) + Send)>,
    /// How the source is driven.
    pub drive: Drive,
    /// Processor cores of the threads.
    pub cores: &'a Cores,
    /// Rows that may wait for a worker.
    pub queue_rows: usize,
    /// Set to end the run early; what has entered is still judged.
    pub stop: &'a AtomicBool,
    /// Counts.
    pub ledger: &'a Ledger,
}

/// How the source is driven.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Drive {
    /// As fast as the tiles are judged; nothing is ever left unjudged for
    /// lack of time.
    Unpaced,
    /// At a line rate, as a camera: what cannot be judged in time is counted
    /// as unjudged, and the source is never held up.
    Paced {
        /// Lines per second.
        line_rate: f64,
        /// Longest time from the last line of a tile to its verdict.
        deadline: Duration,
    },
    /// By a camera, at its own rate: as with [`Drive::Paced`] what cannot be judged in
    /// time is counted as unjudged.
    Camera {
        /// Lines per second, which the camera has by itself.
        line_rate: f64,
        /// Longest time from the last line of a tile to its verdict.
        deadline: Duration,
    },
}

impl Drive {
    /// At a line rate, with the deadline of a station.
    pub fn paced(line_rate: f64, deadlines: &Deadlines) -> Self {
        let deadline = verdict_deadline(deadlines);
        Drive::Paced {
            line_rate,
            deadline,
        }
    }

    /// By a camera that has a line rate, with the deadline of a station.
    pub fn camera(line_rate: f64, deadlines: &Deadlines) -> Self {
        let deadline = verdict_deadline(deadlines);
        Drive::Camera {
            line_rate,
            deadline,
        }
    }

    /// Lines per second at which lines come, where something decides that.
    pub fn line_rate(self) -> Option<f64> {
        match self {
            Drive::Unpaced => None,
            Drive::Paced { line_rate, .. } | Drive::Camera { line_rate, .. } => Some(line_rate),
        }
    }

    fn deadline(self) -> Option<Duration> {
        match self {
            Drive::Unpaced => None,
            Drive::Paced { deadline, .. } | Drive::Camera { deadline, .. } => Some(deadline),
        }
    }
}

fn verdict_deadline(deadlines: &Deadlines) -> Duration {
    Duration::from_secs_f64(deadlines.verdict_ms / 1000.0)
}

/// What is to be said of a run, beside its counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// What went wrong, each kind once: nothing when every line was read,
    /// every verdict was in time and everything was recorded.
    pub problems: Vec<String>,
    /// What is worth knowing and no fault of the run.
    pub notices: Vec<String>,
}

/// Runs a source to its end. `progress` is called about ten times a second.
pub fn run(run: Run<'_>, progress: impl FnMut(&Ledger)) -> Outcome {
    run_on(run, progress, |name| Builder::new().name(name.to_owned()))
}

/// Runs a source on threads that `thread` describes.
fn run_on(
    run: Run<'_>,
    mut progress: impl FnMut(&Ledger),
    thread: impl Fn(&str) -> Builder,
) -> Outcome {
    let Run {
        source,
        geometry,
        classifiers,
        models,
        flat_field,
        recorder,
        observe,
        drive,
        cores,
        queue_rows,
        stop,
        ledger,
    } = run;
    let workers = classifiers.len();
    let buffers = queue_rows + workers + RECORDING_ROWS;
    let (free_in, free_out) = bounded::<RowBuffer>(buffers);
    for _ in 0..buffers {
        let _ = free_in.send(RowBuffer::new(geometry.pixels_per_line, ledger.classes()));
    }
    let (rows_in, rows_out) = bounded::<Row>(buffers);
    let (open_in, open_out) = bounded::<SettledRow>(buffers);
    // There are no more rows with pixels than buffers, and the line thread
    // tells what has none, and the workers judge the backlog, only while these
    // leave places: so nobody ever waits for one.
    let most_told = buffers + MOST_WAITING_NOTES;
    let (finished_in, finished_out) = bounded::<Finished>(most_told + buffers + workers);
    let findings = Findings::default();
    let unjudged_rows = AtomicUsize::new(0);
    let keeps_overdue = recorder
        .as_ref()
        .is_some_and(|recorder| recorder.keeps_overdue());
    let backlog = Backlog::new(keeps_overdue, ledger);
    let keeps = recorder.as_ref().map(|recorder| recorder.keeps());
    // Nothing is sent: that the record thread ends is what the receiver sees.
    let (recording, recorded) = bounded::<()>(0);
    thread::scope(|scope| {
        let (findings, unjudged_rows, backlog) = (&findings, &unjudged_rows, &backlog);
        let settler = Settler {
            recorder,
            observe: observe.map(|observe| observe as &mut (dyn FnMut(&SettledRow) + Send)),
            free: free_in,
            deadline: drive.deadline(),
            models,
            backlog,
            overdue: 0,
            ledger,
            findings,
        };
        let lines = Lines {
            source,
            width: geometry.pixels_per_line,
            assembler: Assembler::new(
                geometry,
                match drive {
                    Drive::Unpaced => Buffers::Waiting(free_out),
                    Drive::Paced { .. } | Drive::Camera { .. } => Buffers::Immediate(free_out),
                },
                flat_field,
            ),
            output: Output {
                rows: rows_in,
                models,
                finished: finished_in.clone(),
                paced: drive != Drive::Unpaced,
                most_unjudged: queue_rows + workers,
                most_told,
                unjudged_rows,
                backlog,
                pending: None,
                unrecorded_rows: 0,
                ledger,
            },
            line_rate: match drive {
                Drive::Unpaced | Drive::Camera { .. } => None,
                Drive::Paced { line_rate, .. } => Some(line_rate),
            },
            ledger,
            findings,
            stop,
        };
        // The line thread comes last: when a thread cannot start, no line has
        // entered, and the others end because nobody sends to them.
        let started = (|| {
            let name = "millsight-record";
            let on = On {
                thread: thread(name),
                name,
                core: cores.record,
            };
            start(scope, on, findings, move || {
                settler.run(&finished_out);
                drop(recording);
            })?;
            for (number, classifier) in classifiers.into_iter().enumerate() {
                let worker = Worker {
                    classifier,
                    rows: rows_out.clone(),
                    open_in: open_in.clone(),
                    open_out: open_out.clone(),
                    finished: finished_in.clone(),
                    most_told,
                    unjudged_rows,
                    backlog,
                    stop,
                    deadline: drive.deadline(),
                    keeps,
                    findings,
                };
                let name = "millsight-classify";
                let on = On {
                    thread: thread(name),
                    name,
                    core: cores.of_worker(number),
                };
                // In a burst, lines must be taken and images recorded: what has no
                // verdict in time is judged later, and what has no image never.
                start(scope, on, findings, move || {
                    cores::stand_back();
                    worker.run();
                })?;
            }
            drop((rows_out, finished_in));
            let name = "millsight-lines";
            let on = On {
                thread: thread(name),
                name,
                core: cores.lines,
            };
            start(scope, on, findings, move || lines.run())
        })();
        if let Err(NotStarted { name, error }) = started {
            findings.problem(
                Problem::Thread,
                format!("the thread {name} cannot start, so that nothing was inspected: {error}"),
            );
        }
        while recorded.recv_timeout(PROGRESS_INTERVAL) == Err(RecvTimeoutError::Timeout) {
            progress(ledger);
        }
    });
    close_accounts(ledger, &findings, drive);
    findings.into_outcome()
}

/// A thread that the operating system refused.
struct NotStarted {
    name: &'static str,
    error: io::Error,
}

/// Which thread is to be started.
struct On {
    thread: Builder,
    name: &'static str,
    /// The processor core that it is bound to.
    core: Option<usize>,
}

/// Starts a thread of which a panic becomes a problem.
fn start<'scope>(
    scope: &'scope Scope<'scope, '_>,
    On { thread, name, core }: On,
    findings: &'scope Findings,
    work: impl FnOnce() + Send + 'scope,
) -> Result<(), NotStarted> {
    let guarded = move || {
        if let Some(core) = core.filter(|&core| !cores::bind(core)) {
            let said = format!(
                "the thread {name} could not be bound to core {core}: it ran where the system put it"
            );
            findings.notice(Notice::Core, said);
        }
        if let Err(panic) = catch_unwind(AssertUnwindSafe(work)) {
            let message = panics::message(&*panic);
            findings.problem(
                Problem::Panic(name),
                format!("the thread {name} panicked: {message}"),
            );
        }
    };
    match thread.spawn_scoped(scope, guarded) {
        Ok(_) => Ok(()),
        Err(error) => Err(NotStarted { name, error }),
    }
}

/// Looks at the counts when all threads have ended. Tiles that were lost on
/// the way, which only a fault of the program can cause, get their state here.
fn close_accounts(ledger: &Ledger, findings: &Findings, drive: Drive) {
    let outstanding = ledger.outstanding();
    if outstanding != 0 {
        findings.problem(
            Problem::Ledger,
            format!("the ledger did not add up: {outstanding} tiles had no state"),
        );
    }
    for _ in 0..outstanding {
        ledger.settle(TileState::Unjudged(UnjudgedReason::Fault));
    }
    let late = ledger.tiles().late;
    if let (Some(deadline), true) = (drive.deadline(), late > 0) {
        findings.problem(
            Problem::Late,
            format!(
                "{late} verdicts came after the deadline of {} ms",
                deadline.as_secs_f64() * 1000.0
            ),
        );
    }
}
