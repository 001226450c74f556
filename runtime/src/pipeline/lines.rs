//! The line thread: reads the source and assembles rows.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crossbeam_channel::{SendError, Sender};
use millsight_export::panics;

use super::backlog::Backlog;
use super::findings::{Findings, Notice, Problem};
use super::settle::{self, Finished};
use crate::assemble::{Assembler, Row};
use crate::classify::{Models, SettledRow};
use crate::ledger::{Ledger, UnjudgedReason};
use crate::source::pace::Pacer;
use crate::source::{Event, Gap, LineBlock, Source};

/// Most lines that arrive at one moment. A source may hand out any number at
/// once; a camera's come one after the other.
const LINES_AT_ONCE: usize = 128;

/// What the line thread works with.
pub(super) struct Lines<'a> {
    pub(super) source: Box<dyn Source>,
    /// Pixels in each line.
    pub(super) width: usize,
    pub(super) assembler: Assembler,
    pub(super) output: Output<'a>,
    /// Lines per second, where the source is held to a rate.
    pub(super) line_rate: Option<f64>,
    pub(super) ledger: &'a Ledger,
    pub(super) findings: &'a Findings,
    pub(super) stop: &'a AtomicBool,
}

impl Lines<'_> {
    /// Reads the source to its end, and closes the row in progress whatever
    /// happens on the way.
    pub(super) fn run(self) {
        let Self {
            mut source,
            width,
            assembler,
            output,
            line_rate,
            ledger,
            findings,
            stop,
        } = self;
        let mut flow = Flow {
            width,
            assembler,
            output,
            pacer: line_rate.map(Pacer::new),
            next_line: 0,
            ledger,
            findings,
            stop,
        };
        let read = catch_unwind(AssertUnwindSafe(|| read(source.as_mut(), &mut flow)));
        if let Err(panic) = read {
            let message = panics::message(&*panic);
            findings.problem(
                Problem::Panic("lines"),
                format!("the source panicked, and no more lines were read: {message}"),
            );
        }
        flow.close();
    }
}

/// Takes events from a source until it ends or fails, or until the run is
/// stopped.
fn read(source: &mut dyn Source, flow: &mut Flow<'_>) {
    while !flow.stop.load(Ordering::Relaxed) {
        if let Some(counts) = source.camera() {
            flow.ledger.set_camera(counts);
        }
        let goes_on = match source.next_event() {
            Ok(Event::Lines(block)) => flow.block(&block),
            Ok(Event::Gap(gap)) => {
                flow.gap(gap, Missing::Before);
                true
            }
            Ok(Event::Unreadable(gap)) => {
                flow.gap(gap, Missing::Unreadable);
                true
            }
            Ok(Event::Lost(gap)) => {
                flow.gap(gap, Missing::OfCamera);
                true
            }
            Ok(Event::Nothing) => true,
            Ok(Event::End) => {
                if flow.ledger.line_counts().r#in == 0 {
                    flow.findings
                        .problem(Problem::NoLines, "the source gave no line at all".into());
                }
                false
            }
            Err(error) => {
                flow.findings.problem(Problem::Source, error.to_string());
                false
            }
        };
        if !goes_on {
            break;
        }
    }
    if let Some(gap) = source.missing_at_end() {
        flow.gap(gap, Missing::OfCamera);
    }
    if let Some(counts) = source.camera() {
        flow.ledger.set_camera(counts);
    }
}

/// Why lines are missing.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Missing {
    /// The source itself knows that they were missing before.
    Before,
    /// They are there, but damaged.
    Unreadable,
    /// The camera has taken them, and they did not come whole.
    OfCamera,
    /// The source went on behind them without a word.
    Lost,
}

/// The lines on their way from the source to the rows.
struct Flow<'a> {
    width: usize,
    assembler: Assembler,
    output: Output<'a>,
    pacer: Option<Pacer>,
    /// Sequence number that the next line should have.
    next_line: u64,
    ledger: &'a Ledger,
    findings: &'a Findings,
    stop: &'a AtomicBool,
}

impl Flow<'_> {
    /// Takes a block in parts, each when a camera would have delivered it.
    /// Gives `false` when it is no block of lines, so that nothing that comes
    /// from this source can be trusted.
    fn block(&mut self, block: &LineBlock<'_>) -> bool {
        let lines = block.pixels.len() / self.width.max(1);
        if lines == 0 || block.pixels.len() != lines * self.width {
            self.findings.problem(
                Problem::NoWholeLines,
                format!(
                    "the source gave {} pixels, which are no whole lines of {}; it was not read any further",
                    block.pixels.len(),
                    self.width
                ),
            );
            return false;
        }
        self.check_sequence(block.first_line);
        let mut next = 0;
        while next < lines && !self.stop.load(Ordering::Relaxed) {
            let open = self.assembler.open_lines().min(LINES_AT_ONCE);
            let part = next..(next + open).min(lines);
            self.wait(part.len() as u64);
            self.ledger.lines(part.len() as u64);
            next = part.end;
            let output = &mut self.output;
            self.assembler.lines(block, part, |row| output.row(row));
            self.next_line = block.first_line.saturating_add(next as u64);
        }
        true
    }

    /// Closes the row in progress where a line does not follow the one before.
    fn check_sequence(&mut self, first_line: u64) {
        if first_line > self.next_line {
            let hole = Gap {
                first_line: self.next_line,
                lines: first_line - self.next_line,
                reason: "missing in the source's sequence".into(),
                seconds: None,
            };
            self.gap(hole, Missing::Lost);
        } else if first_line < self.next_line {
            self.went_back(first_line, "the lines from there on were judged again");
            self.interrupt();
        }
    }

    /// Counts and records missing lines.
    fn gap(&mut self, gap: Gap, missing: Missing) {
        if gap.first_line > self.next_line && missing != Missing::Lost {
            self.check_sequence(gap.first_line);
        }
        let end = gap.first_line.saturating_add(gap.lines);
        if gap.first_line < self.next_line {
            self.went_back(gap.first_line, "they are said to be missing and have come");
        }
        self.interrupt();
        let gap = Gap {
            first_line: self.next_line,
            lines: end.saturating_sub(self.next_line),
            reason: gap.reason,
            seconds: gap.seconds,
        };
        if gap.lines == 0 {
            return;
        }
        self.wait(gap.lines);
        self.next_line = end;
        self.ledger.gap(gap.lines);
        let Gap {
            first_line,
            lines,
            reason,
            ..
        } = &gap;
        match missing {
            Missing::Before => self.findings.notice(
                Notice::Gap,
                format!("{lines} lines from line {first_line} on are missing: {reason}"),
            ),
            Missing::Unreadable => self.findings.problem(
                Problem::Unreadable,
                format!("{lines} lines from line {first_line} on could not be read: {reason}"),
            ),
            Missing::OfCamera | Missing::Lost => self.findings.problem(
                match missing {
                    Missing::OfCamera => Problem::Camera,
                    _ => Problem::Lost,
                },
                format!("{lines} lines from line {first_line} on were lost: {reason}"),
            ),
        }
        let metres = self.assembler.metres(gap.first_line);
        self.output.gap(gap, metres);
    }

    fn went_back(&self, line: u64, consequence: &str) {
        self.findings.problem(
            Problem::Sequence,
            format!(
                "the source went back to line {line} when line {} was due: {consequence}",
                self.next_line
            ),
        );
    }

    fn wait(&mut self, lines: u64) {
        if let Some(pacer) = &mut self.pacer {
            pacer.wait(lines, self.stop);
        }
    }

    fn interrupt(&mut self) {
        let output = &mut self.output;
        self.assembler.interrupt(|row| output.row(row));
    }

    /// Hands on what is left when no more lines come.
    fn close(mut self) {
        self.interrupt();
        self.output.close(self.findings);
        if let Some(shortfall) = self.pacer.and_then(|pacer| pacer.shortfall()) {
            self.findings.notice(
                Notice::Rate,
                format!(
                    "the source could not keep the line rate: it gave {:.0} lines/s instead of {:.0} \
                     and was up to {:.0} ms behind",
                    shortfall.given,
                    shortfall.wanted,
                    shortfall.largest_lag.as_secs_f64() * 1000.0
                ),
            );
        }
    }
}

/// Where rows and gaps go.
pub(super) struct Output<'a> {
    pub(super) rows: Sender<Row>,
    pub(super) models: &'a Models,
    pub(super) finished: Sender<Finished>,
    /// Whether the source cannot wait.
    pub(super) paced: bool,
    /// Rows that may wait for a verdict at a time.
    pub(super) most_unjudged: usize,
    /// Places of the record thread's queue up to which this thread fills it.
    pub(super) most_told: usize,
    /// Rows that were given to the workers and have no verdict yet.
    pub(super) unjudged_rows: &'a AtomicUsize,
    pub(super) backlog: &'a Backlog<'a>,
    /// Gaps that found no place yet, as one.
    pub(super) pending: Option<PendingGaps>,
    /// Rows without an image that were counted and found no place.
    pub(super) unrecorded_rows: u64,
    pub(super) ledger: &'a Ledger,
}

/// Gaps that wait until the record thread takes them.
pub(super) struct PendingGaps {
    /// The first gap, with the lines of all of them.
    gap: Gap,
    metres: f64,
    count: u64,
}

impl Output<'_> {
    /// Counts a row and gives it to the workers, or says why it cannot be.
    pub(super) fn row(&mut self, mut row: Row) {
        row.model = self.models.current();
        self.ledger.enter(row.columns() as u64, row.is_padded());
        self.tell_pending();
        if row.pixels.is_none() {
            self.tell_row(SettledRow::unjudged(row, UnjudgedReason::ImageLost));
        } else if self.paced && self.unjudged_rows.load(Ordering::Relaxed) >= self.most_unjudged {
            self.tell_row(SettledRow::unjudged(row, UnjudgedReason::Overload));
        } else {
            self.unjudged_rows.fetch_add(1, Ordering::Relaxed);
            // There are no more rows with pixels than places, and the workers
            // take until this sender is gone: when they do not, they are dead.
            if let Err(SendError(row)) = self.rows.send(row) {
                self.tell_row(SettledRow::unjudged(row, UnjudgedReason::Fault));
            }
        }
    }

    /// Sends a row past the workers. One without pixels is only counted when
    /// the record thread lags behind.
    fn tell_row(&mut self, row: SettledRow) {
        let told = if row.row.pixels.is_none() && self.is_crowded() {
            self.unrecorded_rows += 1;
            Err(Finished::Row(row))
        } else {
            self.backlog.sent(&row);
            let sent = self.finished.send(Finished::Row(row));
            sent.map_err(|SendError(finished)| finished)
        };
        if let Err(Finished::Row(row)) = told {
            settle::enter(&row, None, self.ledger);
        }
    }

    /// Records a gap that has been counted.
    pub(super) fn gap(&mut self, gap: Gap, metres: f64) {
        match &mut self.pending {
            Some(pending) => {
                pending.gap.lines = pending.gap.lines.saturating_add(gap.lines);
                pending.count += 1;
            }
            None => {
                self.pending = Some(PendingGaps {
                    gap,
                    metres,
                    count: 1,
                });
            }
        }
        self.tell_pending();
    }

    fn tell_pending(&mut self) {
        if !self.is_crowded()
            && let Some(pending) = self.pending.take()
        {
            // Without a record thread the gaps are still counted.
            let _ = self.finished.send(pending.into_finished());
        }
    }

    /// Whether a source that cannot wait would be held up: only then things
    /// are summed up instead of being told one by one.
    fn is_crowded(&self) -> bool {
        self.paced && self.finished.len() >= self.most_told
    }

    /// Tells the rest; now it may take its time.
    pub(super) fn close(&mut self, findings: &Findings) {
        if let Some(pending) = self.pending.take() {
            let _ = self.finished.send(pending.into_finished());
        }
        if self.unrecorded_rows > 0 {
            findings.problem(
                Problem::Unrecorded,
                format!(
                    "{} rows without an image are counted, but not in the record: it could not be written fast enough",
                    self.unrecorded_rows
                ),
            );
        }
    }
}

impl PendingGaps {
    fn into_finished(self) -> Finished {
        let Self {
            mut gap,
            metres,
            count,
        } = self;
        if count > 1 {
            gap.reason = format!(
                "{count} gaps, told as one because the record could not be written fast enough; the first: {}",
                gap.reason
            );
        }
        Finished::Gap { gap, metres }
    }
}
