//! Tests of a worker with engines that are made for them.
#![allow(clippy::unwrap_used)]

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;
use crate::position::Geometry;
use crate::testing::{classifier, clean, network};

const WIDTH: usize = 2 * TILE_SIZE;

/// A row of two tiles, each bright or dark.
fn row(number: u64, bright: [bool; 2]) -> Row {
    let mut pixels = vec![0; TILE_SIZE * WIDTH].into_boxed_slice();
    for line in pixels.chunks_exact_mut(WIDTH) {
        for (tile, bright) in line.chunks_exact_mut(TILE_SIZE).zip(bright) {
            tile.fill(if bright { 200 } else { 0 });
        }
    }
    Row {
        number,
        first_line: number * TILE_SIZE as u64,
        lines: TILE_SIZE,
        encoder: None,
        metres: number as f64,
        model: 0,
        geometry: Geometry {
            lines_per_metre: TILE_SIZE as f64,
            counts_per_metre: None,
            mm_per_pixel: 0.5,
            pixels_per_line: WIDTH,
            reversed: false,
        },
        timestamp: Duration::ZERO,
        completed: Instant::now(),
        pixels: Some(pixels),
        room: Room::default(),
    }
}

/// Looks at all rows, and then lets the classifier run until none is open.
fn run(classifier: &mut Classifier, rows: Vec<Row>, deadline: Option<Duration>) -> Vec<SettledRow> {
    let mut open = VecDeque::new();
    let mut settled = Vec::new();
    let mut hand_on = |row: SettledRow| match row.is_open() {
        true => open.push_back(row),
        false => settled.push(row),
    };
    for row in rows {
        classifier.look(row, deadline, &mut hand_on);
    }
    while !open.is_empty() || classifier.has_rows() {
        while classifier.has_room(deadline)
            && let Some(row) = open.pop_front()
        {
            classifier.take(row);
        }
        classifier.judge(deadline, &mut |row| settled.push(row));
    }
    settled.sort_by_key(|row| row.row.number);
    settled
}

const JUDGED: TileState = TileState::Judged { flagged: None };
const FAILED: TileState = TileState::Unjudged(UnjudgedReason::EngineError);

#[test]
fn a_batch_is_filled_from_several_rows_and_never_exceeded() {
    let (send, sizes) = crossbeam_channel::unbounded();
    let mut classifier = classifier(4, move |_, tiles| {
        send.send(tiles).unwrap();
        clean(tiles)
    });
    let bright = [
        [true, false],
        [false, false],
        [true, true],
        [true, true],
        [false, false],
        [true, false],
    ];
    let rows = bright.iter().enumerate().map(|(i, &b)| row(i as u64, b));
    let settled = run(&mut classifier, rows.collect(), None);
    drop(classifier);
    assert_eq!(sizes.iter().collect::<Vec<_>>(), [4, 2]);
    for (number, (row, bright)) in settled.iter().zip(bright).enumerate() {
        assert_eq!(row.row.number, number as u64);
        let expected = bright.map(|bright| {
            if bright {
                JUDGED
            } else {
                TileState::Background
            }
        });
        assert_eq!(row.states, expected);
    }
}

#[test]
fn a_failure_affects_only_the_tiles_that_went_through_at_that_time() {
    let mut classifier = classifier(2, |run, tiles| match run {
        1 => clean(tiles),
        2 => Vec::new(),
        3 => panic!("broken"),
        4 => vec![f32::NAN, 0.0, 0.75, 0.25],
        // Scores of one tile only.
        _ => clean(1),
    });
    let rows = (0..5).map(|number| row(number, [true, true]));
    let settled = run(&mut classifier, rows.collect(), None);
    let states: Vec<_> = settled.iter().map(|row| row.states.clone()).collect();
    assert_eq!(
        states,
        [
            [JUDGED, JUDGED],
            [FAILED, FAILED],
            [FAILED, FAILED],
            [FAILED, JUDGED],
            [FAILED, FAILED],
        ]
    );
    let problems: Vec<_> = settled
        .iter()
        .flat_map(|row| row.problems.iter().map(ToString::to_string))
        .collect();
    // What is not judged has no distance, not even that of a tile before it.
    let distances: Vec<_> = settled.iter().map(|row| row.distances.clone()).collect();
    let none = vec![None, None];
    let both = vec![Some(1.0), Some(2.0)];
    assert_eq!(
        distances,
        [
            both,
            none.clone(),
            none.clone(),
            vec![None, Some(2.0)],
            none
        ]
    );
    assert_eq!(problems.len(), 4);
    assert!(problems[1].contains("broken"), "{}", problems[1]);
}

#[test]
fn verdicts_come_with_probabilities_and_position() {
    let mut classifier = classifier(8, |_, _| vec![0.25, 0.75]);
    let settled = run(&mut classifier, vec![row(3, [false, true])], None);
    let tiles: Vec<_> = settled[0].tiles().collect();
    assert_eq!(tiles[0].state, TileState::Background);
    assert!(tiles[0].verdict.is_none() && tiles[0].probabilities.is_empty());
    let verdict = tiles[1].verdict.unwrap();
    assert!(verdict.flagged && verdict.class == 1);
    assert_eq!(tiles[1].probabilities, [0.25, 0.75]);
    assert_eq!(tiles[1].position.metres, 3.0);
    assert_eq!(tiles[1].position.millimetres, 384.0);
}

/// A screen that passes on those tiles of which `suspicious` says so, by the
/// number of its run; without any answer it fails.
fn cascade(
    suspicious: impl Fn(usize) -> Option<Vec<bool>> + Send + 'static,
) -> (Classifier, crossbeam_channel::Receiver<usize>) {
    let (send, seen) = crossbeam_channel::unbounded();
    let screen = network(8, move |run, tiles| {
        let suspicious = suspicious(run).unwrap_or_default();
        let scores = suspicious.iter().take(tiles);
        scores
            .flat_map(|&suspicious| {
                if suspicious {
                    [0.25, 0.75]
                } else {
                    [0.75, 0.25]
                }
            })
            .collect()
    });
    let classifier = network(8, move |_, tiles| {
        send.send(tiles).unwrap();
        clean(tiles)
    });
    let detection = MaterialDetection::default();
    (Classifier::new(classifier, Some(screen), detection), seen)
}

#[test]
fn the_classifier_sees_what_the_screen_does_not_clear() {
    let (mut classifier, seen) = cascade(|run| match run {
        1 => Some(vec![true, false]),
        2 => Some(vec![false, false]),
        _ => Some(vec![true, true]),
    });
    let bright = [[true, true], [true, true], [false, true]];
    let rows = bright.iter().enumerate().map(|(i, &b)| row(i as u64, b));
    let settled = run(&mut classifier, rows.collect(), None);
    drop(classifier);
    let states: Vec<_> = settled.iter().map(|row| row.states.clone()).collect();
    assert_eq!(
        states,
        [
            [JUDGED, TileState::Cleared],
            [TileState::Cleared, TileState::Cleared],
            [TileState::Background, JUDGED],
        ]
    );
    assert_eq!(seen.iter().sum::<usize>(), 2);
    assert!(settled[1].verdicts.iter().all(Option::is_none));
}

#[test]
fn what_a_screen_fails_at_the_classifier_sees() {
    let (mut classifier, seen) = cascade(|run| match run {
        1 => None,
        2 => panic!("broken"),
        // Scores of one tile only.
        _ => Some(vec![false]),
    });
    let rows = (0..3).map(|number| row(number, [true, true]));
    let settled = run(&mut classifier, rows.collect(), None);
    drop(classifier);
    for row in &settled {
        assert_eq!(row.states, [JUDGED, JUDGED]);
        assert_eq!(row.problems.len(), 1);
    }
    assert_eq!(seen.iter().sum::<usize>(), 6);
}

#[test]
fn a_row_that_cannot_be_in_time_is_left_until_the_estimate_has_faded() {
    let deadline = Some(Duration::from_millis(60));
    let mut classifier = classifier(2, |run, tiles| {
        if run == 1 {
            std::thread::sleep(Duration::from_millis(200));
        }
        clean(tiles)
    });
    let mut judge = |number| {
        let rows = vec![row(number, [true, true])];
        run(&mut classifier, rows, deadline)[0].states[0]
    };
    assert_eq!(judge(0), JUDGED, "nothing is known of the cost yet");
    assert_eq!(judge(1), TileState::Unjudged(UnjudgedReason::Deadline));
    assert!((2..20).any(|number| judge(number) == JUDGED));
}

#[test]
fn a_batch_is_not_filled_where_that_would_make_it_late() {
    let (send, sizes) = crossbeam_channel::unbounded();
    let mut classifier = classifier(8, move |_, tiles| {
        send.send(tiles).unwrap();
        std::thread::sleep(Duration::from_millis(20 * tiles as u64));
        clean(tiles)
    });
    let rows = || (0..4).map(|number| row(number, [true, false])).collect();
    // Nothing is known yet, so that the first batch takes all; after it, four
    // tiles are known to take 80 ms.
    run(&mut classifier, rows(), Some(Duration::from_secs(10)));
    run(&mut classifier, rows(), Some(Duration::from_millis(120)));
    drop(classifier);
    let sizes: Vec<_> = sizes.iter().collect();
    assert_eq!(sizes[..2], [4, 1], "{sizes:?}");
}

#[test]
fn background_is_told_however_late_it_is() {
    let mut classifier = classifier(2, |_, tiles| clean(tiles));
    let mut late = row(0, [false, true]);
    late.completed -= Duration::from_secs(1);
    let settled = run(&mut classifier, vec![late], Some(Duration::from_millis(60)));
    let deadline = TileState::Unjudged(UnjudgedReason::Deadline);
    assert_eq!(settled[0].states, [TileState::Background, deadline]);
}

#[test]
fn rows_in_hand_survive_a_panic_of_the_worker() {
    let mut classifier = classifier(4, |_, tiles| clean(tiles));
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        classifier.look(row(0, [true, true]), None, &mut |_| panic!("no place"));
    }));
    assert!(outcome.is_err(), "a row that was handed on is not in hand");
    assert_eq!(classifier.abandon().count(), 0);
    let mut open = None;
    classifier.look(row(1, [true, true]), None, &mut |row| open = Some(row));
    classifier.take(open.unwrap());
    let abandoned: Vec<_> = classifier.abandon().collect();
    assert_eq!(abandoned.len(), 1);
    let fault = TileState::Unjudged(UnjudgedReason::Fault);
    assert_eq!(abandoned[0].states, [fault, fault]);
    assert!(abandoned[0].row.pixels.is_some() && !abandoned[0].is_open());
}

#[test]
fn the_most_suspicious_tile_comes_first_and_the_late_ones_are_left() {
    let screen = network(8, |_, _| vec![0.4, 0.6, 0.1, 0.9]);
    let classifier = network(1, |_, tiles| {
        std::thread::sleep(Duration::from_millis(100));
        clean(tiles)
    });
    let mut classifier = Classifier::new(classifier, Some(screen), MaterialDetection::default());
    let first = run(&mut classifier, vec![row(0, [true, true])], None);
    assert_eq!(first[0].states, [JUDGED, JUDGED]);
    let deadline = Some(Duration::from_millis(150));
    let settled = run(&mut classifier, vec![row(1, [true, true])], deadline);
    let late = TileState::Unjudged(UnjudgedReason::Deadline);
    assert_eq!(settled[0].states, [late, JUDGED]);
    assert_eq!(settled[0].suspicions, [Some(0.6), Some(0.9)]);
}

#[test]
fn a_screen_never_waits_for_more_than_a_short_run_of_the_classifier() {
    let (send, sizes) = crossbeam_channel::unbounded();
    let screen = network(8, |_, tiles| [0.25, 0.75].repeat(tiles));
    let classifier = network(8, move |_, tiles| {
        send.send(tiles).unwrap();
        std::thread::sleep(Duration::from_millis(8 * tiles as u64));
        clean(tiles)
    });
    let mut classifier = Classifier::new(classifier, Some(screen), MaterialDetection::default());
    let rows = || (0..3).map(|number| row(number, [true, true])).collect();
    run(&mut classifier, rows(), None);
    let sizes = || sizes.try_iter().collect::<Vec<_>>();
    assert_eq!(sizes(), [6], "nothing is known of the cost yet");
    run(&mut classifier, rows(), None);
    assert_eq!(sizes(), [1; 6]);
}

#[test]
fn memory_goes_round_with_the_rows() {
    let mut classifier = classifier(4, |_, tiles| clean(tiles));
    let mut settled = run(&mut classifier, vec![row(0, [true, true])], None);
    let buffer = settled.remove(0).into_buffer().unwrap();
    let again = Row {
        pixels: Some(buffer.pixels),
        room: buffer.room,
        ..row(1, [true, true])
    };
    let settled = run(&mut classifier, vec![again], None);
    assert_eq!(settled[0].states, [JUDGED, JUDGED]);
    assert_eq!(settled[0].probabilities, [0.75, 0.25, 0.75, 0.25]);
}

#[test]
fn a_tile_is_material_as_soon_as_enough_of_it_is() {
    let detection = MaterialDetection {
        enabled: true,
        minimum_level: 16,
        minimum_share: 0.5,
    };
    let mut tile = row(0, [false, false]);
    let bright = |row: &mut Row, pixels: usize| {
        let levels = row.pixels.as_mut().unwrap();
        levels.fill(15);
        let firsts = levels
            .chunks_exact_mut(WIDTH)
            .flat_map(|line| &mut line[..TILE_SIZE]);
        firsts.take(pixels).for_each(|level| *level = 16);
    };
    for (lines, pixels, expected) in [
        (TILE_SIZE, TILE_SIZE * TILE_SIZE / 2, false),
        (TILE_SIZE, TILE_SIZE * TILE_SIZE / 2 - 1, true),
        (100, 100 * TILE_SIZE / 2, false),
        (100, 100 * TILE_SIZE / 2 - 1, true),
    ] {
        tile.lines = lines;
        bright(&mut tile, pixels);
        let pixels = tile.pixels.as_deref().unwrap();
        assert_eq!(is_background(&detection, &tile, pixels, 0), expected);
    }
}
