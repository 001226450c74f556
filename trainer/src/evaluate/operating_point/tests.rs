#![allow(clippy::unwrap_used)]

use millsight_export::verdict::softmax;

use super::*;
use crate::evaluate::metrics::{Confusion, most_probable};
use crate::evaluate::report::Report;

fn classes() -> Vec<String> {
    ["no_defect", "cracks", "overfill"]
        .map(str::to_owned)
        .to_vec()
}

/// An evaluation of tiles with these labels and logits.
fn evaluation(split: &str, tiles: &[(usize, [f32; 3])]) -> Evaluation {
    let labels: Vec<usize> = tiles.iter().map(|(label, _)| *label).collect();
    let logits: Vec<f32> = tiles.iter().flat_map(|(_, logits)| *logits).collect();
    let predicted = most_probable(&logits, 3);
    let confusion = Confusion::of(3, &labels, &predicted);
    Evaluation {
        names: labels.iter().map(|_| String::new()).collect(),
        kinds: labels
            .iter()
            .map(|&label| classes()[label].clone())
            .collect(),
        labels,
        predicted,
        logits,
        report: Report::new(split, &classes(), confusion, ("w".into(), "d".into())),
    }
}

/// Of 400 cracks every hundredth looks clean; 100 clean tiles, of which ten
/// look like cracks.
fn tiles() -> Vec<(usize, [f32; 3])> {
    let crack = |number: usize| match number % 100 {
        0 => (1, [3.0, -3.0 - number as f32 / 100.0, 0.0]),
        _ => (1, [0.0, 2.0 + number as f32 / 20.0, -1.0]),
    };
    let clean = |number: usize| match number % 10 {
        0 => (0, [0.0, 1.0, 0.0]),
        _ => (0, [4.0, 0.0, 0.0]),
    };
    (0..400).map(crack).chain((0..100).map(clean)).collect()
}

#[test]
fn a_threshold_leaves_out_as_many_tiles_as_the_rate_allows_and_no_more() {
    let val = evaluation("val", &tiles());
    for (rate, tolerated) in [(0.01, 0), (0.02, 2), (0.03, 5)] {
        let report = OperatingReport::choose(&val, &classes(), rate).unwrap();
        let point = report.operating_point.classes["cracks"];
        assert_eq!(
            (point.tiles, point.tolerated, point.proven),
            (400, tolerated, true),
            "{rate}"
        );
        let threshold = report.thresholds["cracks"];
        let mut own: Vec<f32> = val
            .logits
            .chunks(3)
            .zip(&val.labels)
            .filter(|(_, label)| **label == 1)
            .map(|(logits, _)| {
                let mut scores = logits.to_vec();
                softmax(&mut scores, report.calibration.temperature);
                scores[1]
            })
            .collect();
        own.sort_by(f32::total_cmp);
        let below = own.iter().filter(|&&own| own < threshold).count() as u64;
        assert_eq!(below, tolerated, "{rate}");
        // The next tile would be left out by a threshold a little higher.
        assert!(threshold * 1.1 > own[tolerated as usize], "{rate}");
        let figures = &report.operating_point.parts["val"];
        let missed = figures.classes["cracks"].missed;
        assert!(missed.count <= tolerated && missed.of == 400);
        assert!(missed.upper <= rate, "{missed:?}");
    }
}

#[test]
fn false_alarms_are_counted_on_each_part() {
    let val = evaluation("val", &tiles());
    let mut report = OperatingReport::choose(&val, &classes(), 0.03).unwrap();
    let alarms = report.operating_point.parts["val"].false_alarms;
    assert_eq!(alarms.of, 100);
    // A threshold of some crack with the logits (0, 2, -1): ten clean tiles at
    // (0, 1, 0) are less probable, so that none is flagged.
    assert_eq!(alarms.count, 0);
    let test = [
        (0, [0.0, 9.0, 0.0]),
        (0, [9.0, 0.0, 0.0]),
        (1, [9.0, 0.0, 0.0]),
    ];
    report.look_at(&evaluation("test", &test), &classes());
    let test = &report.operating_point.parts["test"];
    assert_eq!((test.false_alarms.count, test.false_alarms.of), (1, 2));
    let cracks = &test.classes["cracks"];
    assert_eq!((cracks.missed.count, cracks.missed.of), (1, 1));
    assert_eq!(cracks.false_alarms.count, 1);
    assert_eq!(test.classes["overfill"].missed.of, 0);
}

#[test]
fn too_few_tiles_get_a_threshold_that_misses_none_and_no_tiles_get_none() {
    let few = [
        (0, [2.0, 0.0, 0.0]),
        (1, [0.0, 2.0, 0.0]),
        (1, [1.0, 0.5, 0.0]),
        (0, [0.0, 0.2, 0.0]),
    ];
    let report = OperatingReport::choose(&evaluation("val", &few), &classes(), 0.01).unwrap();
    let point = report.operating_point.classes["cracks"];
    assert_eq!((point.tiles, point.tolerated), (2, 0));
    assert!(!point.proven && point.tiles_needed == 368);
    let missed = report.operating_point.parts["val"].classes["cracks"].missed;
    assert_eq!(missed.count, 0);
    assert!(missed.upper > 0.01);
    assert!(!report.thresholds.contains_key("overfill"));
    let text = report.table();
    assert!(
        text.contains("not proven, for which 368 tiles are needed: cracks (2);"),
        "{text}"
    );
    assert!(
        text.contains("without a tile in the val part, for which 368 are needed: overfill;"),
        "{text}"
    );
}

/// A few tiles that are all far from doubt do not say that every such defect is:
/// a threshold as high as theirs would clear what is flagged without one.
#[test]
fn too_few_tiles_never_make_a_threshold_above_one_half() {
    let few = [
        (0, [4.0, 0.0, 0.0]),
        (0, [0.0, 0.2, 0.0]),
        (1, [0.0, 6.0, 0.0]),
        (1, [0.0, 7.0, 0.0]),
    ];
    let report = OperatingReport::choose(&evaluation("val", &few), &classes(), 0.01).unwrap();
    assert!(!report.operating_point.classes["cracks"].proven);
    assert_eq!(report.thresholds.get("cracks"), None);
    let missed = report.operating_point.parts["val"].classes["cracks"].missed;
    assert_eq!(missed.count, 0);
}

/// A screen tells cracks and overfill from no defect, but not from each other.
#[test]
fn of_a_screen_the_kinds_of_defects_are_counted() {
    let mut screened = evaluation("val", &tiles());
    for (tile, kind) in screened.kinds.iter_mut().enumerate().take(400) {
        *kind = if tile % 4 == 0 { "rust" } else { "pits" }.to_owned();
    }
    let report = OperatingReport::choose(&screened, &classes(), 0.03).unwrap();
    let figures = &report.operating_point.parts["val"];
    let missed = figures.classes["cracks"].missed;
    let kinds = &figures.kinds;
    assert_eq!((kinds["rust"].of, kinds["pits"].of), (100, 300));
    // Those that look clean are every hundredth.
    assert_eq!(kinds["rust"].count, 4);
    assert_eq!(kinds["rust"].count + kinds["pits"].count, missed.count);
    assert!(report.table().contains("  rust"), "{}", report.table());
}

#[test]
fn a_rate_is_a_share_and_something_must_be_clean() {
    let val = evaluation("val", &tiles());
    for bad in [0.0, 1.0, -0.1, f64::NAN] {
        let error = OperatingReport::choose(&val, &classes(), bad).unwrap_err();
        assert!(error.to_string().contains("above 0 and below 1"), "{error}");
    }
    let mut other = classes();
    other[0] = "fine".into();
    let error = OperatingReport::choose(&val, &other, 0.1).unwrap_err();
    assert!(error.to_string().contains("no class no_defect"), "{error}");
}

#[test]
fn a_report_is_read_as_it_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("operating-point.json");
    assert_eq!(OperatingReport::load(&path).unwrap(), None);
    let val = evaluation("val", &tiles());
    let report = OperatingReport::choose(&val, &classes(), 0.02).unwrap();
    report.save(&path).unwrap();
    let read = OperatingReport::load(&path).unwrap().unwrap();
    assert_eq!(read, report);
    std::fs::write(&path, "{}").unwrap();
    let error = OperatingReport::load(&path).unwrap_err().to_string();
    assert!(error.contains("operating-point.json"), "{error}");
}
