//! Metrics against scikit-learn.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use millsight_tests::golden::{self, GoldenCase};
use millsight_trainer::evaluate::metrics::{ClassMetrics, Confusion};
use serde_json::Value;

fn numbers(value: &Value) -> Vec<f64> {
    let values = value.as_array().expect("a list");
    values.iter().map(|value| value.as_f64().unwrap()).collect()
}

/// The confusion matrix of one set: counted from labels and predictions where
/// the case has them, else as published.
fn confusion(case: &GoldenCase, set: &str, expected: &Value) -> Confusion {
    let published: Vec<Vec<u64>> =
        serde_json::from_value(expected["confusion_rows_true_cols_pred"].clone()).unwrap();
    let (truth, predicted) = (format!("{set}.true"), format!("{set}.pred"));
    if !case.has(&truth) {
        return Confusion { counts: published };
    }
    let indices = |name: &str| -> Vec<usize> {
        let labels = case.integers(name).into_iter();
        labels
            .map(|label| usize::try_from(label).unwrap())
            .collect()
    };
    let counted = Confusion::of(published.len(), &indices(&truth), &indices(&predicted));
    assert_eq!(counted.counts, published, "{set}");
    counted
}

/// Rows become columns.
fn transposed(confusion: &Confusion) -> Confusion {
    let classes = 0..confusion.classes();
    let column = |column: usize| confusion.counts.iter().map(|row| row[column]).collect();
    Confusion {
        counts: classes.map(column).collect(),
    }
}

/// Our value for a figure that a manifest names; `None` for an unknown one.
fn figure(confusion: &Confusion, name: &str) -> Option<Vec<f64>> {
    let each = |of: fn(ClassMetrics) -> f64| confusion.each().map(of).collect::<Vec<f64>>();
    let mean = |values: Vec<f64>| vec![values.iter().sum::<f64>() / values.len() as f64];
    Some(match name {
        "accuracy" => vec![confusion.accuracy()],
        // Each sample has one class and one prediction.
        "micro_f1" => vec![confusion.accuracy()],
        "balanced_accuracy_sklearn" => vec![confusion.balanced_accuracy()],
        "transposed_balanced_accuracy" => vec![transposed(confusion).balanced_accuracy()],
        "macro_f1_present_labels" => vec![confusion.macro_f1()],
        "macro_f1_all_labels" => mean(each(|class| class.f1)),
        "macro_recall_all_labels" => mean(each(|class| class.recall)),
        "macro_precision_all_labels" => mean(each(|class| class.precision)),
        "weighted_f1" => {
            let support: f64 = each(|class| class.support as f64).iter().sum();
            let weighted = each(|class| class.f1 * class.support as f64);
            vec![weighted.iter().sum::<f64>() / support]
        }
        "precision" => each(|class| class.precision),
        "recall" => each(|class| class.recall),
        "f1" => each(|class| class.f1),
        "support" => each(|class| class.support as f64),
        _ => return None,
    })
}

/// Checks what a manifest says of figures that were printed in a publication,
/// rounded; `false` for something else.
fn check_published(confusion: &Confusion, expected: &Value, name: &str) -> bool {
    let rounded = |value: f64, digits: i32| (value * 10f64.powi(digits)).round();
    match name {
        // Given, not computed; what agrees with it is stated below.
        "published_balanced_accuracy_pct" | "published_macro_f1" => true,
        "balanced_accuracy_agrees" => {
            let published = expected["published_balanced_accuracy_pct"]
                .as_f64()
                .unwrap();
            let ours = confusion.balanced_accuracy() * 100.0;
            let agrees = rounded(ours, 2) == rounded(published, 2);
            assert_eq!(expected[name].as_bool(), Some(agrees));
            true
        }
        "macro_f1_agrees_with" => {
            let mut agreeing = numbers(&expected["published_macro_f1"]);
            let ours = rounded(confusion.macro_f1(), 4);
            agreeing.retain(|published| rounded(*published, 4) == ours);
            assert_eq!(numbers(&expected[name]), agreeing);
            true
        }
        _ => false,
    }
}

fn check_set(case: &GoldenCase, set: &str, expected: &Value, tolerance: f64) {
    let confusion = confusion(case, set, expected);
    for (name, value) in expected.as_object().expect("figures") {
        let label = format!("{} {set} {name}", case.manifest.case);
        let Some(got) = figure(&confusion, name) else {
            let known = name == "confusion_rows_true_cols_pred"
                || check_published(&confusion, expected, name);
            assert!(known, "{label}: no test checks it");
            continue;
        };
        let expected = match value {
            Value::Array(_) => numbers(value),
            value => vec![value.as_f64().expect(&label)],
        };
        assert_eq!(got.len(), expected.len(), "{label}");
        for (got, expected) in got.iter().zip(&expected) {
            assert!(
                (got - expected).abs() <= tolerance,
                "{label}: {got} instead of {expected}"
            );
        }
    }
}

#[test]
fn figures_equal_scikit_learn() {
    for case in golden::cases("metrics") {
        if let Some(entry) = case.expected().next() {
            case.unknown(&entry.name);
        }
        let scalars = case.manifest.scalars.as_object().expect("scalars");
        for name in scalars.keys() {
            if !matches!(name.as_str(), "expected" | "tolerance") {
                case.unknown(name);
            }
        }
        let tolerance = scalars["tolerance"].as_f64().expect("a tolerance");
        let sets = scalars["expected"].as_object().expect("sets");
        assert!(!sets.is_empty(), "{} expects nothing", case.manifest.case);
        for (set, expected) in sets {
            check_set(&case, set, expected, tolerance);
        }
    }
}
