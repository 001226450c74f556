//! Tests of whole runs with sources and engines that misbehave.
#![allow(clippy::unwrap_used)]

use std::collections::VecDeque;
use std::sync::{Arc, mpsc};
use std::time::Instant;

use millsight_firmware_config::{Cores, TILE_SIZE};

use super::*;
use crate::classify::Room;
use crate::source::{Event, Gap, LineBlock, SourceError};
use crate::testing::{CLASSES, classifier, clean};

mod conservation;
mod exchange;
mod overload;

/// One column of tiles.
const WIDTH: usize = TILE_SIZE;

/// What a scripted source does next.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// Gives lines: the first one's number and how many.
    Lines(u64, usize),
    /// Gives a block of so many pixels.
    Pixels(usize),
    /// Says that lines were missing before.
    Gap(u64, u64),
    /// Sets the camera's clock to so many milliseconds before the first line.
    Clock(u64),
    /// Takes its time.
    Sleep(u64),
    /// Panics.
    Panic,
}
use Step::{Clock, Lines as L, Panic, Pixels, Sleep};

struct Scripted {
    steps: VecDeque<Step>,
    pixels: Vec<u8>,
    lines: u64,
    clock: Duration,
}

impl Source for Scripted {
    fn pixels_per_line(&self) -> usize {
        WIDTH
    }

    fn expected_lines(&self) -> Option<u64> {
        None
    }

    fn next_event(&mut self) -> Result<Event<'_>, SourceError> {
        let (first_line, pixels) = match self.steps.pop_front() {
            Some(L(first_line, lines)) => (first_line, lines * WIDTH),
            Some(Pixels(pixels)) => (self.lines, pixels),
            Some(Step::Gap(first_line, lines)) => {
                return Ok(Event::Gap(Gap {
                    first_line,
                    lines,
                    reason: "lost long ago".into(),
                    seconds: None,
                }));
            }
            Some(Clock(milliseconds)) => {
                self.clock = Duration::from_millis(milliseconds);
                return self.next_event();
            }
            Some(Sleep(milliseconds)) => {
                thread::sleep(Duration::from_millis(milliseconds));
                return self.next_event();
            }
            Some(Panic) => panic!("the cable broke"),
            None => return Ok(Event::End),
        };
        self.pixels.resize(pixels, 200);
        self.lines = first_line.saturating_add((pixels / WIDTH) as u64);
        Ok(Event::Lines(LineBlock {
            first_line,
            pixels: &self.pixels,
            timestamp: self.clock.saturating_add(Duration::from_millis(self.lines)),
            encoder: None,
        }))
    }
}

fn geometry() -> Geometry {
    Geometry {
        lines_per_metre: 1000.0,
        counts_per_metre: None,
        mm_per_pixel: 0.5,
        pixels_per_line: WIDTH,
        reversed: false,
    }
}

/// How a run is made, where it is not the usual one.
struct Setting {
    classifiers: Vec<Classifier>,
    models: Arc<Models>,
    drive: Drive,
    cores: Cores,
    queue_rows: usize,
    observe: Box<dyn FnMut(&SettledRow) + Send>,
    thread: fn(&str) -> Builder,
}

impl Default for Setting {
    fn default() -> Self {
        Self {
            classifiers: vec![classifier(4, |_, tiles| clean(tiles))],
            models: Arc::default(),
            drive: Drive::Unpaced,
            cores: Cores::default(),
            queue_rows: 2,
            observe: Box::new(|_| {}),
            thread: |name| Builder::new().name(name.to_owned()),
        }
    }
}

/// Runs the steps and checks that the run ends and that its ledger adds up.
fn run_steps(steps: &[Step], setting: Setting) -> (Outcome, Ledger) {
    let source = Scripted {
        steps: steps.iter().copied().collect(),
        pixels: Vec::new(),
        lines: 0,
        clock: Duration::ZERO,
    };
    let (send, receive) = mpsc::channel();
    thread::spawn(move || {
        let mut setting = setting;
        let ledger = Ledger::new(&CLASSES.map(String::from));
        let stop = AtomicBool::new(false);
        let run = Run {
            source: Box::new(source),
            geometry: geometry(),
            classifiers: setting.classifiers,
            models: &setting.models,
            flat_field: None,
            recorder: None,
            observe: Some(&mut *setting.observe),
            drive: setting.drive,
            cores: &setting.cores,
            queue_rows: setting.queue_rows,
            stop: &stop,
            ledger: &ledger,
        };
        let outcome = run_on(run, |_| {}, setting.thread);
        let _ = send.send((outcome, ledger));
    });
    let (outcome, ledger) = receive
        .recv_timeout(Duration::from_secs(60))
        .unwrap_or_else(|_| panic!("the run did not end"));
    assert_eq!(ledger.outstanding(), 0, "{:?}", ledger.tiles());
    (outcome, ledger)
}

/// A run of which exactly one problem is expected, with the given parts.
fn one_problem(steps: &[Step], setting: Setting, parts: &[&str]) -> Ledger {
    let (outcome, ledger) = run_steps(steps, setting);
    assert_eq!(outcome.problems.len(), 1, "{outcome:?}");
    for part in parts {
        assert!(outcome.problems[0].contains(part), "{outcome:?}");
    }
    ledger
}

fn paced(line_rate: f64, deadline_ms: u64) -> Drive {
    Drive::Paced {
        line_rate,
        deadline: Duration::from_millis(deadline_ms),
    }
}

#[test]
fn a_thread_that_cannot_be_bound_to_its_core_runs_all_the_same() {
    let setting = Setting {
        cores: Cores {
            lines: Some(1023),
            ..Cores::default()
        },
        ..Setting::default()
    };
    let (outcome, ledger) = run_steps(&[L(0, 700)], setting);
    assert!(outcome.problems.is_empty(), "{outcome:?}");
    assert_eq!(outcome.notices.len(), 1, "{outcome:?}");
    let expected = "the thread millsight-lines could not be bound to core 1023";
    assert!(outcome.notices[0].starts_with(expected), "{outcome:?}");
    assert_eq!(ledger.tiles().judged, ledger.tiles().total);
}

#[test]
fn a_run_without_a_fault_says_nothing() {
    let (outcome, ledger) = run_steps(&[L(0, 700), L(700, 900)], Setting::default());
    assert_eq!(outcome, Outcome::default());
    let tiles = ledger.tiles();
    assert_eq!((tiles.total, tiles.judged, tiles.padded), (4, 4, 1));
}

#[test]
fn a_thread_that_cannot_start_stops_the_run_before_the_first_line() {
    for name in ["millsight-record", "millsight-classify", "millsight-lines"] {
        let threads: [fn(&str) -> Builder; 3] = [
            |name| refused(name, "millsight-record"),
            |name| refused(name, "millsight-classify"),
            |name| refused(name, "millsight-lines"),
        ];
        let thread = threads
            .into_iter()
            .find(|thread| thread(name).spawn(|| {}).is_err())
            .unwrap();
        let setting = Setting {
            thread,
            ..Setting::default()
        };
        let ledger = one_problem(&[L(0, 512)], setting, &[name, "cannot start"]);
        assert_eq!(ledger.line_counts().r#in, 0);
    }
}

/// A thread that no system can give when its name is `wanted`.
fn refused(name: &str, wanted: &str) -> Builder {
    let thread = Builder::new();
    if name == wanted {
        thread.stack_size(usize::MAX / 4)
    } else {
        thread
    }
}

#[test]
fn a_source_that_panics_ends_the_run_and_what_came_is_judged() {
    let ledger = one_problem(
        &[L(0, 512), L(512, 100), Panic],
        Setting::default(),
        &["the source panicked", "the cable broke"],
    );
    assert_eq!((ledger.tiles().judged, ledger.tiles().padded), (2, 1));
}

#[test]
fn an_observer_that_panics_is_left_out_and_the_count_goes_on() {
    let setting = Setting {
        observe: Box::new(|row| assert_ne!(row.row.number, 1, "unlucky")),
        ..Setting::default()
    };
    let ledger = one_problem(&[L(0, 2048)], setting, &["observed", "unlucky"]);
    assert_eq!(ledger.tiles().judged, 4);
}

#[test]
fn an_engine_that_panics_leaves_its_tiles_unjudged() {
    let setting = Setting {
        classifiers: vec![classifier(1, |run, tiles| {
            assert_ne!(run, 2, "out of memory");
            clean(tiles)
        })],
        ..Setting::default()
    };
    let ledger = one_problem(&[L(0, 2048)], setting, &["engine", "out of memory"]);
    assert_eq!((ledger.tiles().judged, ledger.tiles().unjudged), (3, 1));
}

/// Panics when it is dropped.
struct Mine;

impl Drop for Mine {
    fn drop(&mut self) {
        panic!("stepped on");
    }
}

#[test]
fn a_worker_that_panics_at_its_end_is_a_problem() {
    let mine = Mine;
    let setting = Setting {
        classifiers: vec![classifier(1, move |_, tiles| {
            let _ = &mine;
            clean(tiles)
        })],
        ..Setting::default()
    };
    one_problem(
        &[L(0, 2048)],
        setting,
        &["millsight-classify", "stepped on"],
    );
}

#[test]
fn without_workers_the_run_ends_and_every_tile_is_counted() {
    let setting = Setting {
        classifiers: Vec::new(),
        ..Setting::default()
    };
    let (_, ledger) = run_steps(&[L(0, 512 * 40)], setting);
    assert_eq!(ledger.tiles().unjudged, 40);
}

#[test]
fn a_source_without_lines_is_a_problem() {
    one_problem(&[], Setting::default(), &["no line at all"]);
}

#[test]
fn blocks_that_hold_no_whole_lines_end_the_run() {
    for pixels in [0, WIDTH - 1, 3 * WIDTH + 7] {
        let ledger = one_problem(
            &[L(0, 100), Pixels(pixels), L(100, 100)],
            Setting::default(),
            &["no whole lines"],
        );
        assert_eq!(ledger.line_counts().r#in, 100);
    }
}

#[test]
fn lines_that_go_back_are_a_problem_and_never_joined() {
    // Once wholly behind, once overlapping.
    for again in [0, 50] {
        let ledger = one_problem(
            &[L(0, 100), L(again, 100)],
            Setting::default(),
            &["went back", "when line 100 was due"],
        );
        assert_eq!(ledger.line_counts().r#in, 200);
        assert_eq!(ledger.tiles().padded, 2, "two rows, not one");
        assert_eq!(ledger.line_counts().missing, 0);
    }
}

#[test]
fn lines_that_a_source_loses_are_a_problem() {
    let ledger = one_problem(
        &[L(0, 100), L(150, 100)],
        Setting::default(),
        &["50 lines from line 100 on were lost"],
    );
    assert_eq!(ledger.line_counts().missing, 50);
    assert_eq!((ledger.line_counts().gaps, ledger.tiles().total), (1, 2));
}

#[test]
fn lines_that_were_missing_before_are_a_notice() {
    let steps = [L(0, 100), Step::Gap(100, 50), L(150, 100)];
    let (outcome, ledger) = run_steps(&steps, Setting::default());
    assert_eq!(outcome.problems, [""; 0]);
    let notice = "50 lines from line 100 on are missing: lost long ago";
    assert_eq!(outcome.notices, [notice]);
    assert_eq!((ledger.line_counts().gaps, ledger.tiles().total), (1, 2));
}

#[test]
fn a_gap_that_contradicts_the_lines_is_a_problem() {
    // It is said to begin before what has come: 20 lines are truly missing.
    let steps = [L(0, 100), Step::Gap(80, 40), L(120, 100)];
    let ledger = one_problem(&steps, Setting::default(), &["went back to line 80"]);
    assert_eq!(ledger.line_counts().missing, 20);
    // It begins behind the line that is due: 10 lines more are missing.
    let steps = [L(0, 100), Step::Gap(110, 40), L(150, 100)];
    let ledger = one_problem(&steps, Setting::default(), &["10 lines from line 100"]);
    assert_eq!(ledger.line_counts().missing, 50);
    // It lies wholly before.
    let steps = [L(0, 100), Step::Gap(10, 40), L(100, 100)];
    let ledger = one_problem(&steps, Setting::default(), &["went back to line 10"]);
    assert_eq!((ledger.line_counts().missing, ledger.tiles().total), (0, 2));
}

#[test]
fn line_numbers_at_the_end_of_all_numbers_are_counted() {
    let (outcome, ledger) = run_steps(
        &[Step::Gap(0, u64::MAX - 10), L(u64::MAX - 10, 512)],
        Setting::default(),
    );
    assert_eq!(outcome.notices.len(), 1, "{outcome:?}");
    assert_eq!(ledger.tiles().judged, 1);
}

#[test]
fn verdicts_after_the_deadline_are_kept_and_counted() {
    let setting = Setting {
        classifiers: vec![classifier(1, |_, tiles| {
            thread::sleep(Duration::from_millis(120));
            clean(tiles)
        })],
        drive: paced(20_000.0, 60),
        queue_rows: 50,
        ..Setting::default()
    };
    let ledger = one_problem(
        &[L(0, 10 * 512)],
        setting,
        &["verdicts came after the deadline of 60 ms"],
    );
    let tiles = ledger.tiles();
    assert!(tiles.late >= 1 && tiles.late == tiles.judged, "{tiles:?}");
    assert!(tiles.unjudged > 0, "those behind it could not be in time");
}

#[test]
fn a_large_block_at_a_line_rate_is_no_more_than_its_lines() {
    let setting = Setting {
        classifiers: vec![classifier(1, |_, tiles| {
            thread::sleep(Duration::from_millis(20));
            clean(tiles)
        })],
        drive: paced(4_000.0, 2_000),
        ..Setting::default()
    };
    let (outcome, ledger) = run_steps(&[L(0, 8 * 512)], setting);
    assert_eq!(ledger.tiles().judged, 8, "{outcome:?}");
}

#[test]
fn a_gap_takes_its_time_at_a_line_rate() {
    let setting = Setting {
        drive: paced(1_000.0, 10_000),
        ..Setting::default()
    };
    let begun = Instant::now();
    run_steps(&[L(0, 10), Step::Gap(10, 300), L(310, 10)], setting);
    assert!(begun.elapsed() >= Duration::from_millis(300));
}

#[test]
fn a_source_that_misses_its_line_rate_is_told() {
    let setting = Setting {
        drive: paced(100_000.0, 10_000),
        ..Setting::default()
    };
    let (outcome, _) = run_steps(&[L(0, 512), Sleep(300), L(512, 512)], setting);
    assert_eq!(outcome.problems, [""; 0]);
    assert_eq!(outcome.notices.len(), 1, "{outcome:?}");
    assert!(
        outcome.notices[0].contains("instead of 100000"),
        "{outcome:?}"
    );
}

#[test]
fn a_stalled_record_thread_costs_no_memory_and_no_count() {
    let ledger = Ledger::new(&CLASSES.map(String::from));
    let (rows, _rows_out) = bounded(1);
    let (finished, finished_out) = bounded(4);
    let findings = Findings::default();
    let models = Models::default();
    let mut output = Output {
        rows,
        models: &models,
        finished,
        paced: true,
        most_unjudged: 1,
        most_told: 2,
        unjudged_rows: &AtomicUsize::new(0),
        backlog: &Backlog::new(false, &ledger),
        pending: None,
        unrecorded_rows: 0,
        ledger: &ledger,
    };
    for number in 0..1000 {
        let row = Row {
            number,
            first_line: number * 512,
            lines: 512,
            encoder: None,
            metres: 0.0,
            model: 0,
            geometry: geometry(),
            timestamp: Duration::ZERO,
            completed: Instant::now(),
            pixels: None,
            room: Room::default(),
        };
        output.row(row);
        let gap = Gap {
            first_line: number * 512,
            lines: 3,
            reason: "lost".into(),
            seconds: None,
        };
        output.gap(gap, 0.0);
    }
    assert_eq!(finished_out.len(), 2);
    output.close(&findings);
    drop(output);
    let (mut rows, mut missing) = (0, 0);
    for told in finished_out {
        match told {
            Finished::Row(row) => {
                rows += 1;
                settle::enter(&row, None, &ledger);
            }
            Finished::Gap { gap, .. } => missing += gap.lines,
            Finished::Late(judged) => panic!("{judged:?}"),
        }
    }
    assert_eq!((rows, missing), (1, 3000));
    assert_eq!(ledger.tiles().unjudged, 1000);
    assert_eq!(ledger.outstanding(), 0);
    let problems = findings.into_outcome().problems;
    assert!(problems[0].contains("999 rows"), "{problems:?}");
}

#[test]
fn a_recorder_that_panics_is_left_out_and_the_run_is_marked() {
    let ledger = Ledger::new(&CLASSES.map(String::from));
    let findings = Findings::default();
    let folder = tempfile::tempdir().unwrap();
    let mut recorder = crate::testing::recorder(folder.path(), geometry());
    let models = Models::default();
    let mut settler = Settler {
        recorder: Some(&mut recorder),
        models: &models,
        observe: None,
        free: bounded(1).0,
        deadline: None,
        backlog: &Backlog::new(true, &ledger),
        overdue: 0,
        ledger: &ledger,
        findings: &findings,
    };
    settler.record(|_| panic!("disk on fire"));
    settler.record(|_| panic!("called again"));
    drop(settler);
    assert_eq!(ledger.record_failures(), 1);
    let problems = findings.into_outcome().problems;
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].contains("disk on fire"), "{problems:?}");
}
