//! The walk of the tiles through the threads.
//!
//! ```text
//! line thread: source -> assemble --row--> workers: classify, decide --row--> record thread
//!        ^                                                                         |
//!        +------------------------------ free row buffers ------------------------+
//! ```
//!
//! All queues hold at most the number of row buffers, so nothing blocks the
//! line thread but, for sources that can wait, the lack of a free buffer.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use millsight_firmware_config::TILE_SIZE;

use crate::assemble::{Assembler, Buffers, Row, RowPixels};
use crate::classify::{Classifier, SettledRow};
use crate::flat_field::FlatField;
use crate::ledger::{Ledger, TileState, UnjudgedReason};
use crate::record::Recorder;
use crate::source::pace::Pacer;
use crate::source::{Event, Gap, Source};

/// Row buffers for rows that are being recorded while others wait.
const RECORDING_ROWS: usize = 8;

/// How often the caller is told of progress.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

/// Everything that a run needs.
pub struct Run<'a> {
    /// Where lines come from.
    pub source: Box<dyn Source>,
    /// One classifier for each worker thread.
    pub classifiers: Vec<Classifier>,
    /// Flat-field correction, where the station has one.
    pub flat_field: Option<FlatField>,
    /// Where verdicts go; `None`: they are only counted.
    pub recorder: Option<&'a mut Recorder>,
    /// Sees every row when its tiles have their final states.
    pub observe: Option<&'a mut (dyn FnMut(&SettledRow) + Send)>,
    /// How the source is driven.
    pub drive: Drive,
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
}

/// What a settled row or a gap tells the record thread.
enum Finished {
    Row(SettledRow),
    Gap(Gap),
}

/// Collects what goes wrong, each kind once with a count.
#[derive(Debug, Default)]
struct Problems(Mutex<Vec<(String, u64)>>);

impl Problems {
    fn add(&self, problem: String) {
        let mut problems = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match problems.iter_mut().find(|(known, _)| *known == problem) {
            Some((_, count)) => *count += 1,
            None => {
                tracing::error!("{problem}");
                problems.push((problem, 1));
            }
        }
    }

    fn into_list(self) -> Vec<String> {
        let problems = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        problems
            .into_iter()
            .map(|(problem, count)| match count {
                1 => problem,
                _ => format!("{problem} ({count} times)"),
            })
            .collect()
    }
}

/// Runs a source to its end and gives what went wrong, which is nothing when
/// every line was read, every tile looked at or honestly counted, and
/// everything recorded. `progress` is called about ten times a second.
pub fn run(run: Run<'_>, mut progress: impl FnMut(&Ledger)) -> Vec<String> {
    let Run {
        source,
        classifiers,
        flat_field,
        recorder,
        observe,
        drive,
        queue_rows,
        stop,
        ledger,
    } = run;
    let width = source.pixels_per_line();
    let columns = width / TILE_SIZE;
    let buffers = queue_rows + classifiers.len() + RECORDING_ROWS;
    let (free_in, free_out) = bounded::<RowPixels>(buffers);
    for _ in 0..buffers {
        let _ = free_in.send(vec![0; TILE_SIZE * width].into_boxed_slice());
    }
    let (rows_in, rows_out) = bounded::<Row>(buffers);
    // Rows without a buffer and gaps pass here too; the record thread takes
    // them at once, and the line thread may wait for it only when it can wait
    // for the source as well.
    let (finished_in, finished_out) = crossbeam_channel::unbounded::<Finished>();
    let problems = Problems::default();
    thread::scope(|scope| {
        let lines = LineThread {
            assembler: Assembler::new(
                width,
                match drive {
                    Drive::Unpaced => Buffers::Waiting(free_out),
                    Drive::Paced { .. } => Buffers::Immediate(free_out),
                },
                flat_field,
            ),
            source,
            drive,
            columns,
            queue_rows,
            waiting: rows_out.clone(),
            rows: rows_in,
            finished: finished_in.clone(),
            ledger,
            problems: &problems,
            stop,
        };
        spawn(scope, "millsight-lines", move || lines.run());
        for classifier in classifiers {
            let (rows, finished) = (rows_out.clone(), finished_in.clone());
            spawn(scope, "millsight-classify", move || {
                classify(classifier, &rows, &finished, drive, columns);
            });
        }
        drop((rows_out, finished_in));
        let problems = &problems;
        let recording = spawn(scope, "millsight-record", move || {
            settle(&finished_out, &free_in, recorder, observe, ledger, problems);
        });
        while recording
            .as_ref()
            .is_some_and(|thread| !thread.is_finished())
        {
            thread::sleep(PROGRESS_INTERVAL);
            progress(ledger);
        }
    });
    if ledger.outstanding() != 0 {
        problems.add(format!(
            "the ledger does not add up: {} tiles have no state",
            ledger.outstanding()
        ));
    }
    debug_assert_eq!(ledger.outstanding(), 0);
    problems.into_list()
}

fn spawn<'scope>(
    scope: &'scope thread::Scope<'scope, '_>,
    name: &str,
    work: impl FnOnce() + Send + 'scope,
) -> Option<thread::ScopedJoinHandle<'scope, ()>> {
    match thread::Builder::new()
        .name(name.into())
        .spawn_scoped(scope, work)
    {
        Ok(handle) => Some(handle),
        Err(error) => {
            tracing::error!("cannot start the thread {name}: {error}");
            None
        }
    }
}

/// Reads the source and assembles rows.
struct LineThread<'a> {
    source: Box<dyn Source>,
    assembler: Assembler,
    drive: Drive,
    columns: usize,
    queue_rows: usize,
    rows: Sender<Row>,
    waiting: Receiver<Row>,
    finished: Sender<Finished>,
    ledger: &'a Ledger,
    problems: &'a Problems,
    stop: &'a AtomicBool,
}

impl LineThread<'_> {
    fn run(self) {
        let Self {
            mut source,
            mut assembler,
            drive,
            columns,
            queue_rows,
            rows,
            waiting,
            finished,
            ledger,
            problems,
            stop,
        } = self;
        let width = source.pixels_per_line();
        let paced = matches!(drive, Drive::Paced { .. });
        let hand_on = |row: Row| {
            ledger.enter(columns as u64, row.is_padded());
            let reason = if row.pixels.is_none() {
                Some(UnjudgedReason::ImageLost)
            } else if paced && waiting.len() >= queue_rows {
                Some(UnjudgedReason::Overload)
            } else {
                None
            };
            // Neither send can fail or block: the receivers outlive this
            // thread and there are no more rows than places.
            let _ = match reason {
                Some(reason) => finished
                    .send(Finished::Row(SettledRow::unjudged(row, columns, reason)))
                    .is_ok(),
                None => rows.send(row).is_ok(),
            };
        };
        let mut pacer = match drive {
            Drive::Paced { line_rate, .. } => Some(Pacer::new(line_rate)),
            Drive::Unpaced => None,
        };
        let mut next_line = 0;
        while !stop.load(Ordering::Relaxed) {
            let gap = match source.next_event() {
                Ok(Event::Lines(block)) => {
                    let lines = (block.pixels.len() / width) as u64;
                    if let Some(pacer) = &mut pacer {
                        pacer.wait(lines);
                    }
                    ledger.lines(lines);
                    let hole = block.first_line.saturating_sub(next_line);
                    if hole > 0 {
                        ledger.gap(hole);
                        assembler.interrupt(hand_on);
                        let _ = finished.send(Finished::Gap(Gap {
                            first_line: next_line,
                            lines: hole,
                            reason: "missing in the source's sequence".into(),
                        }));
                    }
                    next_line = block.first_line + lines;
                    assembler.lines(&block, hand_on);
                    continue;
                }
                Ok(Event::Gap(gap)) => gap,
                Ok(Event::Unreadable(gap)) => {
                    problems.add(format!(
                        "{} lines from line {} on could not be read: {}",
                        gap.lines, gap.first_line, gap.reason
                    ));
                    gap
                }
                Ok(Event::End) => break,
                Err(error) => {
                    problems.add(error.to_string());
                    break;
                }
            };
            ledger.gap(gap.lines);
            next_line = gap.first_line + gap.lines;
            assembler.interrupt(hand_on);
            tracing::warn!(
                "{} lines are missing from line {}: {}",
                gap.lines,
                gap.first_line,
                gap.reason
            );
            let _ = finished.send(Finished::Gap(gap));
        }
        assembler.interrupt(hand_on);
    }
}

/// One worker: judges rows until no more come.
fn classify(
    mut classifier: Classifier,
    rows: &Receiver<Row>,
    finished: &Sender<Finished>,
    drive: Drive,
    columns: usize,
) {
    for row in rows {
        let late = match drive {
            Drive::Paced { deadline, .. } => row.completed.elapsed() > deadline,
            Drive::Unpaced => false,
        };
        let settled = if late {
            SettledRow::unjudged(row, columns, UnjudgedReason::Deadline)
        } else {
            classifier.classify(row)
        };
        if finished.send(Finished::Row(settled)).is_err() {
            return;
        }
    }
}

/// Enters final states into the ledger, records, and frees the buffers.
fn settle(
    finished: &Receiver<Finished>,
    free: &Sender<RowPixels>,
    mut recorder: Option<&mut Recorder>,
    mut observe: Option<&mut (dyn FnMut(&SettledRow) + Send)>,
    ledger: &Ledger,
    problems: &Problems,
) {
    loop {
        // A row that was recorded must not wait for the next one to come.
        let next = match recorder.as_ref().and_then(|recorder| recorder.commit_due()) {
            Some(due) => finished.recv_deadline(due),
            None => finished.recv().map_err(RecvTimeoutError::from),
        };
        let next = match next {
            Ok(next) => Some(next),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => break,
        };
        let recorded = match next {
            None => recorder.as_mut().map(|recorder| recorder.commit_if_due()),
            Some(Finished::Gap(gap)) => recorder.as_mut().map(|recorder| recorder.gap(&gap)),
            Some(Finished::Row(mut row)) => {
                enter(&row, ledger);
                if let Some(observe) = &mut observe {
                    observe(&row);
                }
                if let Some(problem) = row.problem.take() {
                    problems.add(problem);
                }
                let recorded = recorder.as_mut().map(|recorder| recorder.row(&row));
                if let Some(pixels) = row.row.pixels.take() {
                    let _ = free.send(pixels);
                }
                recorded
            }
        };
        if let Some(Err(error)) = recorded {
            problems.add(format!("not recorded: {error}"));
        }
    }
}

fn enter(row: &SettledRow, ledger: &Ledger) {
    let judged = row
        .states
        .iter()
        .filter(|state| matches!(state, TileState::Judged { .. }))
        .count() as u64;
    if judged > 0 {
        let latency = row.settled.saturating_duration_since(row.row.completed);
        ledger.latency(latency, judged);
    }
    for &state in &row.states {
        ledger.settle(state);
    }
}
