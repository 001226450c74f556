#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use millsight_export::engine::EngineIdentity;
use millsight_firmware_config::{Recording, TILE_SIZE};
use tempfile::TempDir;

use super::*;
use crate::assemble::Row;
use crate::classify::{Room, SettledRow};
use crate::decide::Verdict;
use crate::ledger::{ModelIdentity, TileState, UnjudgedReason};
use crate::position::Geometry;
use crate::record::{JudgedLate, Recorder, RunDescription};
use crate::station;

mod accounts;
mod faults;
mod http;
mod pages;
mod uploads;

/// What a tile is recorded as: the class's index and its probability, or unjudged.
type Judged = Option<(usize, f32)>;

/// Of the shipped classifier.
const CRACKS: usize = 1;
const SCRAP_MARK: usize = 2;
const OVERFILL: usize = 3;

const GEOMETRY: Geometry = Geometry {
    lines_per_metre: 1000.0,
    counts_per_metre: None,
    mm_per_pixel: 0.1,
    pixels_per_line: TILE_SIZE,
    reversed: false,
};

fn description() -> RunDescription {
    let model = station::load_model(None, None).unwrap();
    let mut card = model.card;
    card.thresholds.clear();
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
            sha256: model.sha256,
            name: card.name.clone(),
        },
        card,
        geometry: GEOMETRY,
        files: Vec::new(),
    }
}

fn begin(folder: &Path) -> Recorder {
    Recorder::begin(folder, &Recording::default(), description()).unwrap()
}

/// Records tiles, one in a row, from row `first` on.
fn record(recorder: &mut Recorder, first: u64, tiles: &[Judged]) {
    for (number, &judged) in (first..).zip(tiles) {
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
            pixels: Some(vec![9; TILE_SIZE * TILE_SIZE].into_boxed_slice()),
            room: Room::default(),
        };
        let mut row = SettledRow::unjudged(row, UnjudgedReason::Overload);
        if let Some((class, probability)) = judged {
            let verdict = Verdict {
                class,
                probability,
                flagged: true,
            };
            row.states[0] = TileState::Judged {
                flagged: Some(class),
            };
            row.verdicts[0] = Some(verdict);
            // All of the rest says that there is no defect.
            row.probabilities = vec![0.0; 5];
            row.probabilities[0] = 1.0 - probability;
            row.probabilities[class] = probability;
        }
        recorder.row(&row).unwrap();
    }
    recorder.commit().unwrap();
}

/// A record with tiles, numbered from 1 on, and its review.
fn reviewed(tiles: &[Judged]) -> (TempDir, Recorder, Review) {
    let folder = tempfile::tempdir().unwrap();
    let mut recorder = begin(folder.path());
    record(&mut recorder, 0, tiles);
    let review = Review::open(folder.path()).unwrap();
    review.refresh().unwrap();
    (folder, recorder, review)
}

fn said(key: &str, tile: i64, class: &str) -> NewDecision {
    NewDecision {
        key: key.into(),
        tile,
        class: Some(class.into()),
        note: String::new(),
        took_ms: 1200,
    }
}

fn queue(review: &Review) -> Vec<i64> {
    review.queue(Order::Useful, None, 100).unwrap()
}

#[test]
fn the_most_useful_tiles_come_first() {
    let (_folder, _recorder, review) = reviewed(&[
        Some((OVERFILL, 0.99)),
        Some((OVERFILL, 0.52)),
        None,
        Some((CRACKS, 0.52)),
        Some((OVERFILL, 0.51)),
        None,
        Some((SCRAP_MARK, 0.80)),
    ]);
    // Unjudged; 0.02 to 0.04 from another verdict, cracks being rarer; 0.6; 0.98.
    assert_eq!(queue(&review), [3, 6, 4, 2, 5, 7, 1]);
    assert_eq!(
        review.queue(Order::Latest, None, 100).unwrap(),
        [7, 6, 5, 4, 3, 2, 1]
    );
    let waiting = review.waiting().unwrap();
    assert_eq!((waiting.unjudged, waiting.flagged), (2, 5));
}

#[test]
fn pages_follow_one_another_even_if_their_last_tile_was_decided() {
    let tiles: Vec<Judged> = (0..40)
        .map(|number| match number % 4 {
            0 => None,
            class => Some((class, 0.5 + 0.012 * number as f32)),
        })
        .collect();
    let (_folder, _recorder, review) = reviewed(&tiles);
    for order in [Order::Useful, Order::Latest] {
        let all = review.queue(order, None, 100).unwrap();
        assert_eq!(all.len(), 40);
        let (mut paged, mut after) = (Vec::new(), None);
        loop {
            let page = review.queue(order, after, 7).unwrap();
            let Some(&last) = page.last() else { break };
            let key = format!("{order:?} {last}");
            let decided = review.decide("anna", &said(&key, last, "cracks"), 0.0);
            decided.unwrap();
            after = Some(last);
            paged.extend(page);
        }
        assert_eq!(paged, all);
        for decision in review.last_of("anna", 100).unwrap() {
            let key = format!("undo {}", decision.id);
            review.undo("anna", decision.id, &key).unwrap();
        }
    }
}

#[test]
fn tiles_come_as_they_are_recorded_and_change_when_they_are_judged_late() {
    let (folder, mut recorder, review) = reviewed(&[None, None, None]);
    assert_eq!(review.refresh().unwrap(), 0);
    record(&mut recorder, 3, &[Some((CRACKS, 0.9))]);
    assert_eq!(review.refresh().unwrap(), 1);
    assert_eq!(queue(&review), [1, 2, 3, 4]);

    review.decide("anna", &said("a", 3, "cracks"), 0.0).unwrap();
    let overdue: Vec<_> = recorder.take_overdue().collect();
    for (tile, (class, probability)) in
        overdue
            .into_iter()
            .zip([(0, 0.9), (CRACKS, 0.6), (CRACKS, 0.7)])
    {
        let mut probabilities = vec![0.0; 5];
        probabilities[0] = 1.0 - probability;
        probabilities[class] = probability;
        let judged = JudgedLate {
            model: 0,
            tile,
            verdict: Verdict {
                class,
                probability,
                flagged: class != 0,
            },
            probabilities,
            distance: None,
            settled: Instant::now(),
        };
        recorder.judged_late(&judged).unwrap();
    }
    recorder.commit().unwrap();
    assert_eq!(review.refresh().unwrap(), 3);
    // The first is no defect after all, the third was decided.
    assert_eq!(queue(&review), [2, 4]);
    assert_eq!(review.decisions(3).unwrap().len(), 1);
    // Another program sees the same.
    assert_eq!(queue(&Review::open(folder.path()).unwrap()), [2, 4]);
}

#[test]
fn a_repeated_request_is_one_decision() {
    let (_folder, _recorder, review) = reviewed(&[None, None]);
    let first = review.decide("anna", &said("a", 1, "cracks"), 0.0).unwrap();
    let second = review.decide("anna", &said("a", 1, "cracks"), 0.0).unwrap();
    assert_eq!(first, second);
    assert_eq!(review.decisions(1).unwrap(), std::slice::from_ref(&first));
    assert!(!first.is_blind && first.reviewer == "anna" && first.took_ms == 1200);
    assert_eq!(first.class.as_deref(), Some("cracks"));
    assert_eq!(first.model_sha256.len(), 64);
    assert_eq!(queue(&review), [2]);
    let other = review.decide("anna", &said("a", 2, "cracks"), 0.0);
    assert!(matches!(other, Err(ReviewError::KeyInUse(_))));
}

#[test]
fn what_is_undone_waits_again_and_stays_on_record() {
    let (_folder, _recorder, review) = reviewed(&[None]);
    let first = review.decide("anna", &said("a", 1, "cracks"), 1.0).unwrap();
    let second = review
        .decide("bela", &said("b", 1, "overfill"), 1.0)
        .unwrap();
    for (reviewer, decision, reason) in [
        ("bela", first.id, "another reviewer's"),
        ("anna", 77, "there is none"),
    ] {
        let refused = review
            .undo(reviewer, decision, "u")
            .unwrap_err()
            .to_string();
        assert!(refused.contains(reason), "{refused}");
    }
    assert!(review.undo("anna", first.id, "u").unwrap().is_undone);
    assert!(queue(&review).is_empty(), "another decision still holds");
    assert!(review.undo("anna", first.id, "u").unwrap().is_undone);
    let twice = review.undo("anna", first.id, "v").unwrap_err().to_string();
    assert!(twice.contains("undone already"), "{twice}");
    review.undo("bela", second.id, "w").unwrap();
    assert_eq!(queue(&review), [1]);
    let all = review.decisions(1).unwrap();
    assert_eq!(all.len(), 2);
    assert!(all.iter().all(|decision| decision.is_undone));
    assert!(review.last_of("anna", 10).unwrap().is_empty());
}

#[test]
fn nothing_is_ever_changed_or_deleted() {
    let (_folder, _recorder, review) = reviewed(&[None]);
    review.decide("anna", &said("a", 1, "cracks"), 0.0).unwrap();
    for sql in [
        "UPDATE decision SET class = 'overfill'",
        "DELETE FROM decision",
    ] {
        let error = review.database.execute(sql, []).unwrap_err().to_string();
        assert!(error.contains("never"), "{error}");
    }
    let record = review.database.execute("DELETE FROM record.tile", []);
    assert!(record.is_err(), "the record is read only");
}

#[test]
fn two_reviewers_of_one_tile_are_both_kept() {
    let (folder, mut recorder, review) = reviewed(&[None]);
    thread::scope(|scope| {
        for reviewer in ["anna", "bela", "cyd"] {
            let folder = folder.path();
            scope.spawn(move || {
                let review = Review::open(folder).unwrap();
                for number in 0..20 {
                    let key = format!("{reviewer} {number}");
                    review
                        .decide(reviewer, &said(&key, 1, "cracks"), 0.5)
                        .unwrap();
                }
            });
        }
        // The line goes on recording meanwhile.
        for number in 1..40 {
            record(&mut recorder, number, &[None]);
        }
    });
    let decisions = review.decisions(1).unwrap();
    assert_eq!(decisions.len(), 60);
    assert_eq!(decisions.iter().filter(|one| !one.is_blind).count(), 1);
    assert_eq!(review.refresh().unwrap(), 39);
}

#[test]
fn some_tiles_come_back_once_others_were_decided() {
    let tiles = vec![None; 60];
    let (_folder, _recorder, review) = reviewed(&tiles);
    for tile in 1..=60 {
        let key = format!("{tile}");
        review
            .decide("anna", &said(&key, tile, "cracks"), 0.2)
            .unwrap();
        for again in review.due_again(10).unwrap() {
            assert!(again + 20 <= tile, "{again} came back after {tile}");
        }
    }
    let due = review.due_again(100).unwrap();
    assert!((3..=20).contains(&due.len()), "{due:?}");
    let blind = review
        .decide("bela", &said("b", due[0], "overfill"), 1.0)
        .unwrap();
    assert!(blind.is_blind);
    assert!(!review.due_again(100).unwrap().contains(&due[0]));
}

#[test]
fn what_cannot_be_decided_is_refused_in_words() {
    let (_folder, _recorder, review) = reviewed(&[None]);
    let class = review.decide("anna", &said("a", 1, "rust"), 0.0);
    let class = class.unwrap_err().to_string();
    for part in ["rust", "no_defect", "scrap_mark_ii"] {
        assert!(class.contains(part), "{class}");
    }
    let tile = review.decide("anna", &said("a", 7, "cracks"), 0.0);
    assert!(matches!(tile, Err(ReviewError::NoTile(7))));
    assert!(review.decisions(1).unwrap().is_empty());
    let cannot_tell = NewDecision {
        class: None,
        ..said("a", 1, "")
    };
    assert_eq!(
        review.decide("anna", &cannot_tell, 0.0).unwrap().class,
        None
    );
}

#[test]
fn a_decision_is_on_the_disk_when_it_is_answered() {
    let (folder, _recorder, review) = reviewed(&[None, None]);
    review.decide("anna", &said("a", 1, "cracks"), 0.0).unwrap();
    // What a killed program leaves: the files as they are now.
    let left = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file()
            && path
                .extension()
                .is_some_and(|ending| ending != "sqlite-shm")
        {
            fs::copy(&path, left.path().join(path.file_name().unwrap())).unwrap();
        }
    }
    let found = Review::open(left.path()).unwrap();
    assert_eq!(found.decisions(1).unwrap(), review.decisions(1).unwrap());
    assert_eq!(queue(&found), [2]);
}

#[test]
fn a_full_disk_refuses_a_decision_and_loses_none() {
    let (_folder, _recorder, review) = reviewed(&[None]);
    review.decide("anna", &said("a", 1, "cracks"), 0.0).unwrap();
    let pages: i64 = review
        .database
        .pragma_query_value(None, "page_count", |row| row.get(0))
        .unwrap();
    let limit = |pages: i64| {
        let set = format!("PRAGMA max_page_count = {pages}");
        review.database.query_row(&set, [], |_| Ok(())).unwrap();
    };
    limit(pages);
    let long = NewDecision {
        note: "x".repeat(100_000),
        ..said("b", 1, "overfill")
    };
    let full = review.decide("anna", &long, 0.0).unwrap_err().to_string();
    assert!(full.contains("space left on its disk"), "{full}");
    assert_eq!(review.decisions(1).unwrap().len(), 1);
    limit(pages + 1000);
    review.decide("anna", &long, 0.0).unwrap();
    assert_eq!(review.decisions(1).unwrap().len(), 2);
}

#[test]
fn what_is_no_review_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let missing = Review::open(folder.path()).err().unwrap().to_string();
    assert!(missing.contains("holds no record"), "{missing}");
    assert!(!review_path(folder.path()).exists());
    drop(begin(folder.path()));
    let other = rusqlite::Connection::open(review_path(folder.path())).unwrap();
    other.execute_batch("CREATE TABLE other (a)").unwrap();
    let error = Review::open(folder.path()).err().unwrap().to_string();
    assert!(error.contains("format 0"), "{error}");
}

#[test]
fn a_tile_is_shown_with_what_is_known_of_it_and_with_its_neighbours() {
    let (folder, _recorder, review) = reviewed(&[None, Some((CRACKS, 0.75)), None, None]);
    let tiles = review.tiles(&[2, 99, 1]).unwrap();
    assert_eq!(tiles.len(), 2);
    let tile = &tiles[0];
    assert_eq!((tile.id, tile.row, tile.column), (2, 1, 0));
    assert_eq!(
        (tile.class.as_deref(), tile.probability),
        (Some("cracks"), Some(0.75))
    );
    assert_eq!(tile.classes.len(), tile.probabilities.len());
    assert_eq!(tile.piece_name, "coil 7");
    assert_eq!(tiles[1].reason.as_deref(), Some("overload"));
    let neighbours = review.neighbours(tile).unwrap();
    let places: Vec<_> = neighbours.iter().map(|one| (one.id, one.rows)).collect();
    assert_eq!(places, [(1, -1), (3, 1)]);
    let image = review.image(2).unwrap().unwrap();
    assert!(image.starts_with(folder.path()) && image.is_file());
    assert_eq!(review.image(99).unwrap(), None);
}

#[test]
fn an_image_outside_the_record_is_none() {
    let (folder, recorder, review) = reviewed(&[None]);
    drop(recorder);
    let record = crate::record::database_path(folder.path());
    let record = rusqlite::Connection::open(record).unwrap();
    for path in ["/etc/passwd", "../secret.png", "tiles/../../secret.png"] {
        record
            .execute("UPDATE tile SET image = ?1", [path])
            .unwrap();
        assert_eq!(review.image(1).unwrap(), None, "{path}");
    }
}

#[test]
fn labels_are_what_reviewers_agree_on() {
    let tiles = [None, Some((CRACKS, 0.75)), None, None, None];
    let (folder, _recorder, review) = reviewed(&tiles);
    for (key, reviewer, tile, class) in [
        ("a", "anna", 1, "overfill"),
        ("b", "anna", 2, "cracks"),
        ("c", "bela", 2, "cracks"),
        ("d", "anna", 3, "cracks"),
        ("e", "bela", 3, "no_defect"),
        ("f", "anna", 4, "cracks"),
    ] {
        review
            .decide(reviewer, &said(key, tile, class), 0.0)
            .unwrap();
    }
    let cannot_tell = NewDecision {
        class: None,
        ..said("g", 5, "")
    };
    review.decide("anna", &cannot_tell, 0.0).unwrap();
    let taken_back = review.last_of("anna", 2).unwrap()[1].id;
    review.undo("anna", taken_back, "h").unwrap();

    let out = folder.path().join("labels");
    let exported = review.export_labels(&out).unwrap();
    let counts = (exported.tiles, exported.disputed, exported.cannot_tell);
    assert_eq!(counts, (2, 1, 1));
    let image = out.join("cracks/run1piece1_0000001_0.png");
    assert_eq!(image::open(image).unwrap().to_luma8().as_raw()[0], 9);
    let table = fs::read_to_string(out.join(TABLE)).unwrap();
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 3, "{table}");
    assert!(lines[0].starts_with("path,label,group,reviewer,decisions,predicted"));
    assert!(
        lines[1].starts_with("overfill/run1piece1_0000000_0.png,overfill,run1piece1,anna,1,,,")
    );
    assert!(
        lines[2].contains(",cracks,run1piece1,bela,2,cracks,0.75,"),
        "{table}"
    );
    // Again, nothing changes.
    assert_eq!(review.export_labels(&out).unwrap(), exported);
}
