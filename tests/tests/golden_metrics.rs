//! Metrics against scikit-learn.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use millsight_tests::golden::{self, GoldenCase};
use millsight_trainer::evaluate::metrics::Confusion;
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

#[test]
fn figures_equal_scikit_learn() {
    let mut run = 0;
    for case in golden::cases("metrics") {
        let scalars = &case.manifest.scalars;
        let tolerance = scalars["tolerance"].as_f64().expect("a tolerance");
        for (set, expected) in scalars["expected"].as_object().expect("sets") {
            run += 1;
            let confusion = confusion(&case, set, expected);
            let near = |name: &str, got: f64| {
                let expected = expected[name].as_f64().expect(name);
                assert!(
                    (got - expected).abs() <= tolerance,
                    "{} {set} {name}: {got} instead of {expected}",
                    case.manifest.case
                );
            };
            near("accuracy", confusion.accuracy());
            near("balanced_accuracy_sklearn", confusion.balanced_accuracy());
            near("macro_f1_present_labels", confusion.macro_f1());
            let all: Vec<_> = confusion.each().collect();
            let mean = |values: Vec<f64>| values.iter().sum::<f64>() / values.len() as f64;
            near(
                "macro_f1_all_labels",
                mean(all.iter().map(|class| class.f1).collect()),
            );
            for (name, got) in [
                (
                    "precision",
                    all.iter().map(|class| class.precision).collect(),
                ),
                ("recall", all.iter().map(|class| class.recall).collect()),
                ("f1", all.iter().map(|class| class.f1).collect()),
                (
                    "support",
                    all.iter()
                        .map(|class| class.support as f64)
                        .collect::<Vec<_>>(),
                ),
            ] {
                for (got, expected) in got.iter().zip(numbers(&expected[name])) {
                    assert!((got - expected).abs() <= tolerance, "{set} {name}");
                }
            }
        }
    }
    assert!(run > 0, "no set was checked");
}
