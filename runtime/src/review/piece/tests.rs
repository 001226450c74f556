#![allow(clippy::unwrap_used)]

use rand::RngExt;
use rand_pcg::Pcg64;

use super::*;

/// Of 4000 lines per metre.
const TILE_M: f64 = 0.128;
const TILE_MM: f64 = 128.0;

/// A tile in a row of tiles.
fn finding(row: i64, column: i64, class: &str) -> Finding {
    Finding {
        tile: row * 100 + column,
        first_line: row * TILE_SIZE as i64,
        column,
        metres: row as f64 * TILE_M,
        millimetres: (column as f64 + 0.5) * TILE_MM,
        class: (class != table::UNJUDGED).then(|| class.to_owned()),
        probability: Some(0.5 + row as f64 / 1e6),
        reviewed: None,
    }
}

fn reviewed(finding: Finding, class: &str) -> Finding {
    Finding {
        reviewed: Some(class.into()),
        ..finding
    }
}

/// Tiles at places along a column, in their order.
fn along(places: &mut [f64]) -> Vec<Finding> {
    places.sort_by(f64::total_cmp);
    let mut rows: Vec<i64> = places.iter().map(|at| (at / TILE_M) as i64).collect();
    rows.dedup();
    rows.iter()
        .map(|&row| finding(row, 3, "scrap_mark"))
        .collect()
}

#[test]
fn tiles_that_touch_are_one_defect() {
    let findings = [
        finding(0, 1, "cracks"),
        finding(1, 2, "cracks"),
        finding(1, 3, "overfill"),
        finding(2, 1, "cracks"),
        reviewed(finding(2, 3, "cracks"), "no_defect"),
        finding(3, 6, "unjudged"),
        reviewed(finding(3, 7, "unjudged"), "cracks"),
        finding(5, 1, "cracks"),
    ];
    let defects = defects::grouped(&findings, TILE_M, TILE_MM);
    let shown: Vec<_> = defects
        .iter()
        .map(|defect| (defect.class.as_deref(), defect.tiles.as_slice()))
        .collect();
    assert_eq!(
        shown,
        [
            (Some("cracks"), [1, 102, 201].as_slice()),
            (Some("overfill"), &[103]),
            (None, &[306]),
            (Some("cracks"), &[307]),
            (Some("cracks"), &[501]),
        ]
    );
    let first = &defects[0];
    assert_eq!(first.number, 1);
    let extent = [first.from_m, first.to_m, first.from_mm, first.to_mm];
    for (got, expected) in extent.iter().zip([0.0, 0.384, 128.0, 384.0]) {
        assert!((got - expected).abs() < 1e-9, "{extent:?}");
    }
    assert_eq!(first.probability, Some(0.5 + 2e-6));
    assert_eq!((defects[3].probability, defects[3].reviewed), (None, 1));

    let classes = table::classes(&findings, &defects);
    let cracks = &classes[0];
    assert_eq!(cracks.class, "cracks");
    assert_eq!((cracks.defects, cracks.tiles), (3, 5));
    assert_eq!((cracks.confirmed, cracks.false_alarms), (0, 1));
    assert_eq!(classes[2].class, "unjudged");
    assert_eq!((classes[2].defects, classes[2].tiles), (1, 1));
}

#[test]
fn lost_lines_part_what_would_touch() {
    let mut after = finding(1, 1, "cracks");
    after.first_line += 70;
    let findings = [finding(0, 1, "cracks"), after];
    assert_eq!(defects::grouped(&findings, TILE_M, TILE_MM).len(), 2);
}

#[test]
fn each_stretch_counts_what_begins_in_it() {
    let findings: Vec<_> = [0, 10, 12, 100, 700]
        .map(|row| finding(row, 0, "cracks"))
        .into();
    let defects = defects::grouped(&findings, TILE_M, TILE_MM);
    let stretches = table::stretches(&defects, 90.0);
    assert_eq!(stretches.len(), 9);
    let counts: Vec<usize> = stretches
        .iter()
        .map(|stretch| stretch.defects.values().sum())
        .collect();
    assert_eq!(counts, [3, 1, 0, 0, 0, 0, 0, 0, 1]);
    assert_eq!(table::stretches(&[], 0.0), []);
}

#[test]
fn the_marks_of_a_roll_are_found_with_their_period() {
    for (seed, period) in [(1, 0.521), (2, 1.370), (3, 2.83), (4, 0.94), (5, 6.2)] {
        let mut random = Pcg64::new(seed, 1);
        let length = 180.0;
        let mut places: Vec<f64> = (0..)
            .map(|turn| 0.4 + f64::from(turn) * period)
            .take_while(|&at| at < length)
            .filter(|_| random.random_bool(0.8))
            .collect();
        let others = places.len() / 5;
        places.extend((0..others).map(|_| random.random_range(0.0..length)));
        let marks = marks::repeating(&along(&mut places), TILE_M, TILE_MM);
        let [mark] = marks.as_slice() else {
            panic!("{period}: {marks:?}");
        };
        let error = (mark.period_mm - 1000.0 * period).abs();
        assert!(
            error < 4.0 * mark.error_mm && error < 2.0 + 2.0 * period,
            "{mark:?}"
        );
        assert_eq!((mark.class.as_str(), mark.column), ("scrap_mark", 3));
        assert!(mark.chance < 1e-4, "{mark:?}");
    }
}

#[test]
fn marks_at_random_have_no_period() {
    for seed in 0..40 {
        let mut random = Pcg64::new(seed, 2);
        let mut places: Vec<f64> = (0..120).map(|_| random.random_range(0.0..200.0)).collect();
        let marks = marks::repeating(&along(&mut places), TILE_M, TILE_MM);
        assert_eq!(marks, [], "seed {seed}");
        // Those of one bad place neither.
        let mut places: Vec<f64> = (0..12).map(|_| random.random_range(20.0..23.0)).collect();
        let marks = marks::repeating(&along(&mut places), TILE_M, TILE_MM);
        assert_eq!(marks, [], "seed {seed}");
    }
}

#[test]
fn a_mark_on_two_columns_is_told_once() {
    let mut findings = Vec::new();
    for turn in 0..60 {
        findings.push(finding(turn * 11, 4, "cracks"));
        if turn % 5 > 0 {
            findings.push(finding(turn * 11, 5, "cracks"));
        }
    }
    let marks = marks::repeating(&findings, TILE_M, TILE_MM);
    assert_eq!(marks.len(), 1, "{marks:?}");
    assert_eq!((marks[0].column, marks[0].marks), (4, 60));
    assert!((marks[0].period_mm - 1408.0).abs() < 1.0, "{marks:?}");
}
