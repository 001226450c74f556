//! Confusion matrix and the figures that follow from it, as scikit-learn
//! computes them with `zero_division=0`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Counts of true and predicted classes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confusion {
    /// Rows are true classes, columns predicted ones; square.
    pub counts: Vec<Vec<u64>>,
}

/// Figures of one class.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ClassMetrics {
    /// Share of the predictions of this class that are right; 0 without any.
    pub precision: f64,
    /// Share of the class's samples that are found; 0 without any.
    pub recall: f64,
    /// Harmonic mean of precision and recall; 0 when both are.
    pub f1: f64,
    /// Samples of the class.
    pub support: u64,
}

/// Figures under the names that they have in a model card, such as
/// `val.balanced_accuracy` and `val.recall.cracks`. Of no tiles none is missed, nor
/// found: classes without any have no figures.
pub fn named(split: &str, classes: &[String], confusion: &Confusion) -> BTreeMap<String, f64> {
    let mut named = BTreeMap::new();
    for (name, value) in [
        ("accuracy", confusion.accuracy()),
        ("balanced_accuracy", confusion.balanced_accuracy()),
        ("macro_f1", confusion.macro_f1()),
    ] {
        named.insert(format!("{split}.{name}"), value);
    }
    for (class, figures) in classes.iter().zip(confusion.each()) {
        if figures.support > 0 {
            named.insert(format!("{split}.recall.{class}"), figures.recall);
            named.insert(format!("{split}.precision.{class}"), figures.precision);
        }
    }
    named
}

impl Confusion {
    /// Counts pairs of class indices, each below `classes`.
    pub fn of(classes: usize, truth: &[usize], predicted: &[usize]) -> Self {
        let mut counts = vec![vec![0; classes]; classes];
        for (&truth, &predicted) in truth.iter().zip(predicted) {
            counts[truth][predicted] += 1;
        }
        Self { counts }
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.counts.len()
    }

    /// Share of all samples that are right; 0 without samples.
    pub fn accuracy(&self) -> f64 {
        let right: u64 = (0..self.classes())
            .map(|class| self.counts[class][class])
            .sum();
        let all: u64 = self.counts.iter().flatten().sum();
        ratio(right, all)
    }

    /// Mean recall of the classes that have samples.
    pub fn balanced_accuracy(&self) -> f64 {
        mean(
            self.each()
                .filter(|class| class.support > 0)
                .map(|class| class.recall),
        )
    }

    /// Mean F1 of the classes that have samples or predictions (scikit-learn's
    /// default choice of labels).
    pub fn macro_f1(&self) -> f64 {
        mean(
            (0..self.classes())
                .filter(|&class| self.support(class) + self.predictions(class) > 0)
                .map(|class| self.class(class).f1),
        )
    }

    /// Figures of one class.
    pub fn class(&self, class: usize) -> ClassMetrics {
        let right = self.counts[class][class];
        let (support, predictions) = (self.support(class), self.predictions(class));
        ClassMetrics {
            precision: ratio(right, predictions),
            recall: ratio(right, support),
            f1: ratio(2 * right, support + predictions),
            support,
        }
    }

    /// Figures of every class.
    pub fn each(&self) -> impl Iterator<Item = ClassMetrics> + '_ {
        (0..self.classes()).map(|class| self.class(class))
    }

    fn support(&self, class: usize) -> u64 {
        self.counts[class].iter().sum()
    }

    fn predictions(&self, class: usize) -> u64 {
        self.counts.iter().map(|row| row[class]).sum()
    }
}

/// Index of the largest of each row's `classes` scores; the first of equals.
pub fn most_probable(scores: &[f32], classes: usize) -> Vec<usize> {
    scores
        .chunks_exact(classes)
        .map(|row| {
            let mut best = 0;
            for (class, score) in row.iter().enumerate() {
                if *score > row[best] {
                    best = class;
                }
            }
            best
        })
        .collect()
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0u64), |(sum, count), value| (sum + value, count + 1));
    if count == 0 { 0.0 } else { sum / count as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_absent_from_the_truth_do_not_count_in_balanced_accuracy() {
        let confusion = Confusion::of(4, &[0, 0, 1, 1], &[0, 2, 1, 1]);
        assert_eq!(confusion.balanced_accuracy(), 0.75);
        assert_eq!(confusion.accuracy(), 0.75);
        // Class 2 is predicted, so that its F1 of 0 counts; class 3 is not.
        assert!((confusion.macro_f1() - (2.0 / 3.0 + 1.0) / 3.0).abs() < 1e-12);
        let never = confusion.class(3);
        assert_eq!((never.precision, never.recall, never.f1), (0.0, 0.0, 0.0));
    }

    #[test]
    fn nothing_gives_zero_and_not_nan() {
        let confusion = Confusion::of(2, &[], &[]);
        assert_eq!(confusion.accuracy(), 0.0);
        assert_eq!(confusion.balanced_accuracy(), 0.0);
        assert_eq!(confusion.macro_f1(), 0.0);
    }

    #[test]
    fn the_largest_score_wins() {
        assert_eq!(most_probable(&[0.1, 0.3, 0.2, 5.0, -1.0, 5.0], 3), [1, 0]);
    }
}
