#![allow(clippy::unwrap_used)]

use std::fs;
use std::sync::atomic::AtomicBool;
use std::thread;

use millsight_firmware_config::Cores;
use serde_json::Value;
use tempfile::TempDir;

use super::*;
use crate::assemble::Row;
use crate::classify::{Models, Room};
use crate::ledger::{Ledger, UnjudgedReason};
use crate::pipeline::{self, Drive, Run};
use crate::source::{Event, LineBlock, Source, SourceError};
use crate::station;

const COLUMNS: usize = 2;
const WIDTH: usize = COLUMNS * TILE_SIZE;

const GEOMETRY: Geometry = Geometry {
    lines_per_metre: 10_000.0,
    counts_per_metre: None,
    mm_per_pixel: 0.1,
    pixels_per_line: WIDTH,
    reversed: false,
};

fn description() -> RunDescription {
    let model = station::load_model(None, None).unwrap();
    RunDescription {
        station: "test".into(),
        station_toml: String::new(),
        piece: "coil 7".into(),
        engine: EngineIdentity {
            name: "embedded".into(),
            version: String::new(),
            provider: "cpu".into(),
            precision: "f32".into(),
        },
        model: ModelIdentity {
            sha256: model.sha256.clone(),
            name: model.card.name.clone(),
        },
        card: model.card,
        geometry: GEOMETRY,
        files: Vec::new(),
    }
}

fn begin(folder: &TempDir) -> Recorder {
    Recorder::begin(folder.path(), &Recording::default(), description()).unwrap()
}

/// A row that nobody has looked at, so that all of it is recorded.
fn row(number: u64) -> SettledRow {
    let row = Row {
        number,
        first_line: number * TILE_SIZE as u64,
        lines: TILE_SIZE,
        encoder: None,
        metres: 0.0,
        model: 0,
        geometry: GEOMETRY,
        timestamp: Duration::ZERO,
        completed: Instant::now(),
        pixels: Some(vec![9; WIDTH * TILE_SIZE].into_boxed_slice()),
        room: Room::default(),
    };
    SettledRow::unjudged(row, UnjudgedReason::Overload)
}

fn gap(reason: &str) -> Gap {
    Gap {
        first_line: 0,
        lines: 3,
        reason: reason.into(),
        seconds: None,
    }
}

fn summary() -> Summary {
    let RunDescription { engine, model, .. } = description();
    Ledger::new(&[]).summary(std::iter::empty(), engine, model)
}

/// What is committed, of one table.
fn exported(folder: &Path, table: &str) -> Vec<Value> {
    let mut lines = Vec::new();
    export::json_lines(folder, &mut lines).unwrap();
    let lines = String::from_utf8(lines).unwrap();
    lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|value: &Value| value["record"] == table)
        .collect()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn what_tiles_were_like_is_told_for_each_model_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let mut recorder = begin(&folder);
    let judged = |number, model, distances: [Option<f32>; COLUMNS]| {
        let mut row = row(number);
        row.row.model = model;
        row.states.fill(TileState::Judged { flagged: None });
        row.distances = distances.to_vec();
        row
    };
    recorder
        .row(&judged(0, 0, [Some(0.05), Some(9.0)]))
        .unwrap();
    recorder.row(&judged(1, 0, [Some(1.01), None])).unwrap();
    let RunDescription {
        mut model, card, ..
    } = description();
    model.sha256 = "00ff".into();
    recorder.add_model(&model, &card).unwrap();
    recorder.row(&judged(2, 1, [Some(1.01); COLUMNS])).unwrap();
    let mut flagged = judged(3, 1, [Some(1.5), None]);
    flagged.states[0] = TileState::Judged { flagged: Some(1) };
    recorder.row(&flagged).unwrap();
    recorder.finish(&mut summary(), false).unwrap();
    let lines = exported(folder.path(), "statistics");
    let found: Vec<_> = lines
        .iter()
        .map(|line| (&line["model"], &line["rows"], &line["first_row"]))
        .collect();
    let [one, two] = [1, 2].map(Value::from);
    assert_eq!(found, [(&one, &two, &Value::from(0)), (&two, &two, &two)]);
    let steps = |line: &Value| {
        let steps = line["distance"].as_array().unwrap();
        let counted = steps.iter().enumerate().filter(|(_, count)| **count != 0);
        let counted = counted.map(|(step, count)| (step, count.as_u64().unwrap()));
        assert_eq!(steps.len(), 40);
        counted.collect::<Vec<_>>()
    };
    assert_eq!(steps(&lines[0]), [(0, 1), (10, 1), (39, 1)]);
    assert_eq!(steps(&lines[1]), [(10, 2), (15, 1)]);
    let tiles = exported(folder.path(), "tile");
    let [tile] = tiles.as_slice() else {
        panic!("{tiles:?}");
    };
    assert_eq!((&tile["distance"], &tile["model"]), (&1.5.into(), &two));
}

#[test]
fn a_group_is_committed_when_it_is_old_enough_and_its_images_get_their_names_then() {
    let folder = tempfile::tempdir().unwrap();
    let mut recorder = begin(&folder);
    assert_eq!(recorder.commit_due(), None);
    let before = Instant::now();
    recorder.row(&row(0)).unwrap();
    let due = recorder.commit_due().unwrap();
    assert!(due >= before + COMMIT_INTERVAL && due <= Instant::now() + COMMIT_INTERVAL);
    let tiles = folder.path().join("tiles/1");
    assert!(
        names(&tiles)
            .iter()
            .all(|name| name.starts_with(".partial-")),
        "an image has its name before it is synced"
    );
    assert!(exported(folder.path(), "tile").is_empty());
    thread::sleep(due.saturating_duration_since(Instant::now()));
    recorder.commit_if_due().unwrap();
    assert_eq!(recorder.commit_due(), None);
    assert_eq!(names(&tiles), ["0000000_0.png", "0000000_1.png"]);
    let recorded = exported(folder.path(), "tile");
    assert_eq!(recorded.len(), COLUMNS);
    for tile in recorded {
        let image = folder.path().join(tile["image"].as_str().unwrap());
        assert_eq!(image::open(image).unwrap().into_luma8().as_raw()[0], 9);
    }
}

#[test]
fn commits_reach_the_disk_before_they_are_reported() {
    let folder = tempfile::tempdir().unwrap();
    let recorder = begin(&folder);
    let pragma = |name| -> String {
        let value = recorder
            .database
            .pragma_query_value(None, name, |row| row.get::<_, rusqlite::types::Value>(0));
        format!("{:?}", value.unwrap())
    };
    assert_eq!(pragma("journal_mode"), "Text(\"wal\")");
    // 2 is FULL: in WAL mode only that syncs the log with every commit.
    assert_eq!(pragma("synchronous"), "Integer(2)");
}

/// A piece that stands still behind its first row of tiles.
struct Standing {
    record: PathBuf,
    pixels: Vec<u8>,
    events: usize,
}

impl Source for Standing {
    fn pixels_per_line(&self) -> usize {
        WIDTH
    }

    fn expected_lines(&self) -> Option<u64> {
        None
    }

    fn next_event(&mut self) -> Result<Event<'_>, SourceError> {
        self.events += 1;
        if self.events == 1 {
            return Ok(Event::Lines(LineBlock {
                first_line: 0,
                pixels: &self.pixels,
                timestamp: Duration::ZERO,
                encoder: None,
            }));
        }
        let start = Instant::now();
        while exported(&self.record, "tile").len() < COLUMNS {
            assert!(
                start.elapsed() < 40 * COMMIT_INTERVAL,
                "rows wait for other rows to be committed"
            );
            thread::sleep(COMMIT_INTERVAL / 5);
        }
        Ok(Event::End)
    }
}

#[test]
fn rows_are_committed_although_no_more_come() {
    let folder = tempfile::tempdir().unwrap();
    let mut recorder = begin(&folder);
    let outcome = pipeline::run(
        Run {
            source: Box::new(Standing {
                record: folder.path().to_path_buf(),
                pixels: vec![200; WIDTH * TILE_SIZE],
                events: 0,
            }),
            classifiers: Vec::new(),
            models: &Models::default(),
            flat_field: None,
            recorder: Some(&mut recorder),
            observe: None,
            // No row may wait: all are left unjudged, and so recorded.
            drive: Drive::Paced {
                line_rate: 400_000.0,
                deadline: Duration::from_secs(60),
            },
            cores: &Cores::default(),
            queue_rows: 0,
            geometry: GEOMETRY,
            stop: &AtomicBool::new(false),
            ledger: &Ledger::new(&[]),
        },
        |_| (),
    );
    assert!(outcome.problems.is_empty(), "{outcome:?}");
}

#[test]
fn an_image_that_fails_fails_alone_and_nothing_is_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let mut recorder = begin(&folder);
    let taken = folder.path().join("tiles/1/0000000_0.png");
    fs::write(&taken, b"of someone else").unwrap();
    recorder.row(&row(0)).unwrap();
    let error = recorder.commit().unwrap_err().to_string();
    assert!(error.contains("without them"), "{error}");
    assert_eq!(fs::read(&taken).unwrap(), b"of someone else");
    let tiles = exported(folder.path(), "tile");
    assert_eq!(tiles.len(), COLUMNS);
    assert!(tiles[0]["image"].is_null());
    assert!(tiles[0]["image_problem"].is_string());
    assert_eq!(tiles[1]["image"], "tiles/1/0000000_1.png");
    assert!(tiles[1]["image_problem"].is_null());
    let mut summary = summary();
    recorder.finish(&mut summary, false).unwrap();
    let expected = Recorded {
        tiles: 2,
        images: 1,
        images_lost: 1,
        ..Recorded::default()
    };
    assert_eq!(summary.recorded, Some(expected));
    assert!(!summary.problems.is_empty());
    let run = &exported(folder.path(), "run")[0];
    assert_eq!(run["status"], "complete_with_problems");
    assert_eq!(run["summary"]["recorded"]["images_lost"], 1);
}

#[test]
fn what_a_failed_commit_loses_is_counted_and_the_next_group_is_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let mut recorder = begin(&folder);
    recorder.row(&row(0)).unwrap();
    // A piece that does not exist makes the commit itself fail.
    let defer = "PRAGMA defer_foreign_keys = ON";
    recorder.database.execute_batch(defer).unwrap();
    let piece = std::mem::replace(&mut recorder.piece, 999);
    recorder.gap(&gap("lost"), 0.0).unwrap();
    assert!(matches!(recorder.commit(), Err(RecordError::Write { .. })));
    assert!(names(&folder.path().join("tiles/1")).is_empty());
    recorder.piece = piece;
    recorder.row(&row(1)).unwrap();
    recorder.gap(&gap("kept"), 0.0).unwrap();
    let mut summary = summary();
    recorder.finish(&mut summary, false).unwrap();
    let expected = Recorded {
        tiles: 2,
        tiles_lost: 2,
        images: 2,
        images_lost: 0,
        gaps: 1,
        gaps_lost: 1,
        ..Recorded::default()
    };
    assert_eq!(summary.recorded, Some(expected));
    assert!(
        summary.problems[0].contains("2 of 4 tiles"),
        "{:?}",
        summary.problems
    );
    assert_eq!(exported(folder.path(), "tile").len(), 2);
    assert_eq!(exported(folder.path(), "gap")[0]["reason"], "kept");
}

#[test]
fn a_database_that_is_full_loses_what_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let mut recorder = begin(&folder);
    let pages: i64 = recorder
        .database
        .pragma_query_value(None, "page_count", |row| row.get(0))
        .unwrap();
    recorder
        .database
        .pragma_update_and_check(None, "max_page_count", pages + 2, |_| Ok(()))
        .unwrap();
    let long = "x".repeat(2_000);
    let refused = (0..20)
        .filter(|_| recorder.gap(&gap(&long), 0.0).is_err())
        .count();
    assert!(refused > 0);
    let kept = {
        let _ = recorder.commit();
        recorder.recorded
    };
    assert_eq!(kept.gaps + kept.gaps_lost, 20);
    assert_eq!(exported(folder.path(), "gap").len() as u64, kept.gaps);
}

#[test]
fn what_a_crash_leaves_is_tidied_up_by_the_next_run() {
    let folder = tempfile::tempdir().unwrap();
    let mut recorder = begin(&folder);
    recorder.row(&row(0)).unwrap();
    recorder.commit().unwrap();
    // Without `finish` a run stays as a crash leaves it.
    drop(recorder);
    let leftover = folder.path().join("tiles/1/.partial-aBcDeF");
    fs::write(&leftover, b"half an image").unwrap();
    assert_eq!(exported(folder.path(), "run")[0]["status"], "running");
    let recorder = begin(&folder);
    assert!(!leftover.exists());
    assert!(folder.path().join("tiles/1/0000000_0.png").exists());
    let mut summary = summary();
    recorder.finish(&mut summary, true).unwrap();
    let runs = exported(folder.path(), "run");
    assert_eq!(runs[0]["status"], "crashed");
    assert_eq!(
        (&runs[1]["id"], &runs[1]["status"]),
        (&2.into(), &"stopped".into())
    );
}

#[test]
fn images_without_a_database_keep_their_names() {
    let folder = tempfile::tempdir().unwrap();
    let old = folder.path().join("tiles/3");
    fs::create_dir_all(&old).unwrap();
    fs::write(old.join("0000000_0.png"), b"old").unwrap();
    let mut recorder = begin(&folder);
    recorder.row(&row(0)).unwrap();
    recorder.commit().unwrap();
    assert_eq!(fs::read(old.join("0000000_0.png")).unwrap(), b"old");
    assert_eq!(exported(folder.path(), "run")[0]["id"], 4);
    assert_eq!(
        exported(folder.path(), "tile")[0]["image"],
        "tiles/4/0000000_0.png"
    );
}

#[test]
fn the_database_counts_towards_the_disk_budget() {
    let folder = tempfile::tempdir().unwrap();
    let recording = Recording {
        disk_budget_gib: 1.0 / 1024.0,
        ..Recording::default()
    };
    let mut recorder = Recorder::begin(folder.path(), &recording, description()).unwrap();
    recorder.row(&row(0)).unwrap();
    recorder.commit().unwrap();
    recorder.gap(&gap(&"x".repeat(1 << 20)), 0.0).unwrap();
    recorder.commit().unwrap();
    let error = recorder.row(&row(1)).unwrap_err();
    assert!(matches!(error, RecordError::Budget { .. }), "{error}");
    recorder.commit().unwrap();
    let tiles = exported(folder.path(), "tile");
    assert_eq!(tiles.len(), 2 * COLUMNS, "verdicts are kept all the same");
    assert!(tiles[2]["image"].is_null());
    let problem = tiles[2]["image_problem"].as_str().unwrap();
    assert!(problem.contains("budget"), "{problem}");
}

#[test]
fn tiles_of_a_folder_are_recorded_with_their_file() {
    let folder = tempfile::tempdir().unwrap();
    let description = RunDescription {
        files: vec!["tiles/a.png".into(), "tiles/b.png".into()],
        ..description()
    };
    let recording = Recording::default();
    let mut recorder = Recorder::begin(folder.path(), &recording, description).unwrap();
    recorder.row(&row(1)).unwrap();
    recorder.commit().unwrap();
    assert_eq!(exported(folder.path(), "tile")[0]["file"], "tiles/b.png");
}

#[test]
fn records_of_other_formats_and_other_files_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let path = database_path(folder.path());
    let opened = || Recorder::begin(folder.path(), &Recording::default(), description());
    let exported = || export::json_lines(folder.path(), &mut Vec::new());
    begin(&folder).finish(&mut summary(), false).unwrap();
    for format in [0, 99] {
        Connection::open(&path)
            .unwrap()
            .pragma_update(None, "user_version", format)
            .unwrap();
        let found = format!("format {format}");
        let messages = [
            opened().err().unwrap().to_string(),
            exported().unwrap_err().to_string(),
        ];
        for message in messages {
            assert!(message.contains(&found), "{message}");
        }
    }
    fs::write(&path, b"").unwrap();
    let message = exported().unwrap_err().to_string();
    assert!(message.contains("holds no record"), "{message}");
    fs::write(&path, "this is no database".repeat(100)).unwrap();
    let messages = [
        opened().err().unwrap().to_string(),
        exported().unwrap_err().to_string(),
    ];
    for message in messages {
        assert!(message.contains("damaged or no record"), "{message}");
        assert!(!message.contains("space"), "{message}");
    }
}
