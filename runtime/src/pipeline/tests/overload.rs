//! More than can be judged in time: what is given up, and made up for later.

use std::fs;
use std::sync::atomic::Ordering;

use millsight_firmware_config::{Cores, MaterialDetection};
use rusqlite::Connection;
use tempfile::TempDir;

use super::*;
use crate::record::{Overdue, Recorder, database_path};
use crate::testing::{network, recorder};

/// Two thirds of the tiles are suspicious, and the classifier finds every other
/// one of those that it sees; it takes 20 ms for a tile, in which 2.5 tiles come.
fn cascade() -> Classifier {
    let screen = network(1, |run, _| match run % 3 {
        0 => vec![0.9, 0.1],
        1 => vec![0.2, 0.8],
        _ => vec![0.4, 0.6],
    });
    let classifier = network(1, |run, _| {
        thread::sleep(Duration::from_millis(20));
        match run % 2 {
            0 => vec![0.1, 0.9],
            _ => vec![0.9, 0.1],
        }
    });
    Classifier::new(classifier, Some(screen), MaterialDetection::default())
}

const LINE_RATE: f64 = 64_000.0;
const TILES: u64 = 60;

struct Recorded {
    outcome: Outcome,
    ledger: Ledger,
    folder: TempDir,
}

/// Runs the tiles at the line rate and with a record; `progress` sees the ledger
/// from time to time.
fn record(
    classifiers: Vec<Classifier>,
    mut progress: impl FnMut(&Ledger, &AtomicBool),
) -> Recorded {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::new(&CLASSES.map(String::from));
    let mut recorder: Recorder = recorder(folder.path(), geometry());
    let stop = AtomicBool::new(false);
    let lines = TILES as usize * TILE_SIZE;
    let outcome = run(
        Run {
            source: Box::new(Scripted {
                steps: [L(0, lines)].into(),
                pixels: Vec::new(),
                lines: 0,
                clock: Duration::ZERO,
            }),
            geometry: geometry(),
            classifiers,
            models: &Models::default(),
            flat_field: None,
            recorder: Some(&mut recorder),
            observe: None,
            drive: paced(LINE_RATE, 60),
            cores: &Cores::default(),
            queue_rows: TILES as usize,
            stop: &stop,
            ledger: &ledger,
        },
        |ledger| progress(ledger, &stop),
    );
    assert_eq!(ledger.outstanding(), 0, "{:?}", ledger.tiles());
    recorder.commit().unwrap();
    Recorded {
        outcome,
        ledger,
        folder,
    }
}

/// Number of recorded tiles by state, and of those with a class that is flagged.
fn recorded(folder: &TempDir) -> (u64, u64, u64) {
    let database = Connection::open(database_path(folder.path())).unwrap();
    let count = |what: &str| -> u64 {
        let sql = format!("SELECT count(*) FROM tile WHERE {what}");
        let count: i64 = database.query_row(&sql, [], |row| row.get(0)).unwrap();
        count as u64
    };
    (
        count("state = 'judged' AND reason IS NULL AND probabilities IS NOT NULL"),
        count("state = 'unjudged' AND reason = 'deadline'"),
        count("class = 'cracks'"),
    )
}

#[test]
fn what_was_not_judged_in_time_is_judged_when_there_is_time() {
    let mut unjudged = 0;
    let run = record(vec![cascade()], |ledger, _| {
        unjudged = unjudged.max(ledger.tiles().unjudged);
    });
    let tiles = run.ledger.tiles();
    assert_eq!((tiles.cleared + tiles.judged, tiles.unjudged), (TILES, 0));
    assert!(unjudged > 0 && tiles.late > 0, "{unjudged} {tiles:?}");
    let of_the_ledger = run.ledger.flagged();
    assert_eq!(of_the_ledger, tiles.judged / 2);
    let (judged, unjudged, flagged) = recorded(&run.folder);
    assert_eq!((unjudged, flagged), (0, of_the_ledger));
    // Those that were flagged in time are recorded as well.
    assert!(judged > 0 && judged >= flagged, "{judged}");
    // That it was late is said, and nothing else.
    assert_eq!(run.outcome.problems.len(), 1, "{:?}", run.outcome);
    assert!(run.outcome.problems[0].contains("after the deadline"));
}

#[test]
fn a_run_that_is_stopped_leaves_its_backlog_recorded() {
    let run = record(vec![cascade()], |ledger, stop| {
        if ledger.tiles().unjudged > 5 {
            stop.store(true, Ordering::Relaxed);
        }
    });
    let tiles = run.ledger.tiles();
    assert!(tiles.unjudged > 0, "{tiles:?}");
    assert_eq!(recorded(&run.folder).1, tiles.unjudged);
}

#[test]
fn a_tile_of_which_the_image_is_gone_stays_unjudged() {
    let folder = tempfile::tempdir().unwrap();
    let (missing, text) = (folder.path().join("gone.png"), folder.path().join("no.png"));
    fs::write(&text, "no image").unwrap();
    for image in [missing, text] {
        let findings = Findings::default();
        let (send, receive) = bounded(1);
        let overdue = Overdue {
            tile: 1,
            image: image.clone(),
            reason: UnjudgedReason::Deadline,
            suspicion: None,
            completed: Instant::now(),
        };
        let mut classifier = classifier(1, |_, tiles| clean(tiles));
        workers::judge_late(&mut classifier, overdue, &send, &findings);
        assert!(receive.try_recv().is_err());
        let problems = findings.into_outcome().problems;
        assert!(problems[0].contains("cannot be read"), "{problems:?}");
        let name = image.display().to_string();
        assert!(problems[0].contains(&name), "{problems:?}");
    }
}

#[test]
fn an_engine_that_fails_in_the_backlog_leaves_its_tiles_unjudged() {
    let screen = network(1, |_, _| vec![0.2, 0.8]);
    let classifier = network(1, |run, _| {
        thread::sleep(Duration::from_millis(20));
        match run {
            1..20 => vec![0.9, 0.1],
            20 => panic!("out of memory"),
            _ => Vec::new(),
        }
    });
    let detection = MaterialDetection::default();
    let classifier = Classifier::new(classifier, Some(screen), detection);
    let run = record(vec![classifier], |_, _| {});
    let tiles = run.ledger.tiles();
    assert_eq!((tiles.judged, tiles.unjudged), (19, 41));
    assert!(run.outcome.problems.len() >= 3, "{:?}", run.outcome);
}
