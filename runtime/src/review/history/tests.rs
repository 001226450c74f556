#![allow(clippy::unwrap_used)]

use super::*;

#[test]
fn shifts_begin_at_six_fourteen_and_twenty_two_by_the_clock_on_the_wall() {
    let utc = SignedDuration::ZERO;
    for (moment, begun) in [
        ("2026-03-01T06:00:00Z", "2026-03-01T06:00:00Z"),
        ("2026-03-01T05:59:59.9Z", "2026-02-28T22:00:00Z"),
        ("2026-03-01T13:10:00Z", "2026-03-01T06:00:00Z"),
        ("2026-03-01T23:00:00Z", "2026-03-01T22:00:00Z"),
    ] {
        assert_eq!(beginning(moment, SHIFT_HOURS, utc), begun);
    }
    let berlin = SignedDuration::from_hours(1);
    assert_eq!(
        beginning("2026-03-01T05:10:00Z", SHIFT_HOURS, berlin),
        "2026-03-01T05:00:00Z"
    );
    assert_eq!(
        beginning("2026-03-01T04:10:00Z", 24, berlin),
        "2026-02-28T05:00:00Z"
    );
    assert_eq!(beginning("yesterday", 24, utc), "yesterday");
}

#[test]
fn distances_are_those_of_the_last_model() {
    let counted = |model, distance: [u64; 2]| Counted {
        piece: 1,
        name: "coil".into(),
        moment: "2026-03-01T06:00:00Z".into(),
        background: 0,
        cleared: 0,
        judged: distance.iter().sum(),
        unjudged: 0,
        flagged: BTreeMap::new(),
        suspicion: Vec::new(),
        brightness: Vec::new(),
        distance: distance.to_vec(),
        model,
    };
    let mut sum = Sum::default();
    sum.add(&counted(1, [5, 1]));
    sum.add(&counted(1, [2, 0]));
    assert_eq!(sum.distance, [7, 1]);
    sum.add(&counted(2, [0, 3]));
    assert_eq!((sum.distance.as_slice(), sum.model), (&[0, 3][..], 2));
    assert_eq!(sum.tiles, 11);
}

#[test]
fn what_changes_has_a_high_stability_index() {
    let mut reference = drift::Reference::default();
    let first = reference.beside(&[500, 300, 200]);
    assert_eq!(first.stability_index, None);
    assert_eq!(first.before, [0; 0]);
    assert!((first.mean.unwrap() - (0.5 * 0.5 + 0.3 * 1.5 + 0.2 * 2.5) / 3.0).abs() < 1e-12);
    let same = reference.beside(&[505, 297, 198]);
    assert_eq!(same.before, [500, 300, 200]);
    let same = same.stability_index.unwrap();
    assert!(same < 0.001, "{same}");
    // 0.2 ln 0.4 and so on: by hand.
    let expected = (0.2 - 0.5025) * (0.2f64 / 0.5025).ln()
        + (0.3 - 0.2985) * (0.3f64 / 0.2985).ln()
        + (0.5 - 0.199) * (0.5f64 / 0.199).ln();
    let other = reference.beside(&[200, 300, 500]).stability_index.unwrap();
    assert!((other - expected).abs() < 1e-12 && other > 0.25, "{other}");
    assert_eq!(reference.beside(&[1, 0, 0]).stability_index, None);
    assert_eq!(reference.beside(&[]).mean, None);
}
