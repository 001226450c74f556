//! No decision is lost or invented, whatever happens at once or goes wrong.

use std::collections::BTreeSet;

use super::*;

#[test]
fn two_reviewers_who_decide_at_once_are_both_kept() {
    const TILES: i64 = 40;
    let (folder, _recorder, review) = reviewed(&vec![Some((CRACKS, 0.9)); TILES as usize]);
    let decide = |who: &'static str| {
        let folder = folder.path().to_path_buf();
        move || {
            let review = Review::open(&folder).unwrap();
            for tile in 1..=TILES {
                let new = said(&format!("{who} {tile}"), tile, "cracks");
                review.decide(who, &new, 0.0).unwrap();
            }
        }
    };
    let both = ["anna", "bela"].map(|who| thread::spawn(decide(who)));
    for reviewer in both {
        reviewer.join().unwrap();
    }
    for tile in 1..=TILES {
        let decisions = review.decisions(tile).unwrap();
        let who: BTreeSet<&str> = decisions.iter().map(|one| one.reviewer.as_str()).collect();
        assert_eq!((decisions.len(), who.len()), (2, 2), "{decisions:?}");
        // Whoever came second has not seen that the tile was decided.
        let blind: Vec<bool> = decisions.iter().map(|one| one.is_blind).collect();
        assert_eq!(blind, [false, true], "{decisions:?}");
    }
    assert!(queue(&review).is_empty());
}

#[test]
fn the_same_request_twice_at_once_is_one_decision() {
    let (folder, _recorder, review) = reviewed(&[None]);
    let send = || {
        let folder = folder.path().to_path_buf();
        thread::spawn(move || {
            let review = Review::open(&folder).unwrap();
            review
                .decide("anna", &said("k", 1, "cracks"), 0.0)
                .unwrap()
                .id
        })
    };
    let ids: BTreeSet<i64> = [send(), send(), send()]
        .map(|sent| sent.join().unwrap())
        .into();
    assert_eq!(ids.len(), 1);
    assert_eq!(review.decisions(1).unwrap().len(), 1);
}

#[test]
fn a_clock_that_jumps_changes_no_order() {
    let (folder, _recorder, review) = reviewed(&[None, None, None]);
    // What a clock says that was set back after the first decision, and far ahead after
    // the second.
    let clock = [
        "2026-03-01T10:00:00Z",
        "1970-01-01T00:00:01Z",
        "2190-01-01T00:00:00Z",
    ];
    for (tile, made) in (1..).zip(clock) {
        let values = rusqlite::params![format!("k{tile}"), tile, made, tile == 2];
        review
            .database
            .execute(
                "INSERT INTO decision (key, tile, made, reviewer, class, note, model_sha256, \
                 took_ms, is_blind) VALUES (?1, ?2, ?3, 'anna', 'cracks', '', '', 900, ?4)",
                values,
            )
            .unwrap();
        review
            .database
            .execute("UPDATE candidate SET is_open = 0 WHERE tile = ?1", [tile])
            .unwrap();
    }
    let last = review.last_of("anna", 10).unwrap();
    let order: Vec<i64> = last.iter().map(|one| one.tile).collect();
    assert_eq!(order, [3, 2, 1]);
    review.undo("anna", last[0].id, "u").unwrap();
    assert_eq!(queue(&review), [3]);
    let next = review
        .decide("anna", &said("k4", 3, "overfill"), 0.0)
        .unwrap();
    assert!(next.id > last[0].id);
    assert_eq!(review.last_of("anna", 1).unwrap(), [next]);
    let labels = folder.path().join("labels");
    assert_eq!(review.export_labels(&labels).unwrap().tiles, 3);
}
