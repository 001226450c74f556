//! A screen before a classifier, beside the classifier alone.

use std::collections::BTreeMap;
use std::fmt::Write;

use millsight_export::card::{NO_DEFECT, OutputKind, Proportion};
use millsight_export::verdict::VerdictRule;
use serde::{Deserialize, Serialize};

use super::bootstrap::{self, Compared, Interval};
use super::metrics::Confusion;
use super::operating_point::OperatingReport;
use super::report::Report;
use super::{Evaluation, bounds};
use crate::TrainError;

/// What a screen takes from a classifier, and what it spares it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CascadeReport {
    /// The classifier on every tile.
    pub alone: Report,
    /// The classifier on the tiles that the screen passes on; the others are
    /// taken for clean.
    pub cascade: Report,
    /// Tiles that are passed on.
    pub passed_on: Proportion,
    /// Clean tiles that are passed on.
    pub clean_passed_on: Proportion,
    /// Tiles of each defect class that are cleared.
    pub cleared: BTreeMap<String, Proportion>,
    /// Those of them that the classifier alone would flag.
    pub lost: u64,
    /// Balanced accuracy of the classifier alone and of the cascade.
    pub balanced_accuracy: Compared,
    /// What a tile costs.
    pub cost: Cost,
    /// The screen's threshold, with what was chosen.
    pub screen: OperatingReport,
}

/// Multiplications, each with an addition, for one tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cost {
    /// In the screen.
    pub screen: u64,
    /// In the classifier.
    pub classifier: u64,
}

impl Cost {
    /// In both for a tile in the mean, when this share of them is passed on.
    pub fn of_cascade(self, passed_on: f64) -> f64 {
        self.screen as f64 + passed_on * self.classifier as f64
    }
}

impl CascadeReport {
    /// Compares evaluations of a classifier and of a screen, with their costs, on
    /// the same tiles. `screen_point` has the screen's threshold.
    ///
    /// # Errors
    /// When they are of other tiles, or the classifier has no clean class.
    pub fn of(
        classifier: &Evaluation,
        classes: &[String],
        screen: &Evaluation,
        screen_classes: &[String],
        screen_point: OperatingReport,
        cost: Cost,
    ) -> Result<Self, TrainError> {
        if classifier.names != screen.names {
            return Err(TrainError::OtherTiles);
        }
        let no_clean_class = |classes: &[String]| TrainError::NoCleanClass {
            classes: classes.to_vec(),
        };
        let clean = classes.iter().position(|class| class == NO_DEFECT);
        let clean = clean.ok_or_else(|| no_clean_class(classes))?;
        let temperature = screen_point.calibration.temperature;
        let thresholds = &screen_point.thresholds;
        let rule = VerdictRule::new(screen_classes, OutputKind::Logits, temperature, thresholds)
            .ok_or_else(|| no_clean_class(screen_classes))?;
        let scores = screen.logits.chunks_exact(screen_classes.len());
        let passed: Vec<bool> = scores
            .map(|scores| rule.judge(&mut scores.to_vec()).flagged)
            .collect();
        let predicted: Vec<usize> = classifier
            .predicted
            .iter()
            .zip(&passed)
            .map(|(&predicted, &passed)| if passed { predicted } else { clean })
            .collect();
        let share = |of: &dyn Fn(usize) -> bool, counts: &dyn Fn(usize) -> bool| {
            let tiles: Vec<usize> = (0..passed.len()).filter(|&tile| of(tile)).collect();
            let count = tiles.iter().filter(|&&tile| counts(tile)).count();
            bounds::exact(count as u64, tiles.len() as u64)
        };
        let labels = &classifier.labels;
        let cleared = |(class, name): (usize, &String)| {
            let share = share(&|tile| labels[tile] == class, &|tile| !passed[tile]);
            (name.clone(), share)
        };
        let lost = (0..passed.len()).filter(|&tile| {
            labels[tile] != clean && classifier.predicted[tile] != clean && !passed[tile]
        });
        let right = |predicted: &[usize]| -> Vec<bool> {
            let pairs = predicted.iter().zip(labels);
            pairs.map(|(predicted, label)| predicted == label).collect()
        };
        let [alone, together] = [&classifier.predicted, &predicted].map(|all| right(all));
        let report = &classifier.report;
        let confusion = Confusion::of(classes.len(), labels, &predicted);
        let hashes = (report.weights_sha256.clone(), report.data_sha256.clone());
        Ok(Self {
            alone: report.clone(),
            cascade: Report::new(&report.split, classes, confusion, hashes),
            passed_on: share(&|_| true, &|tile| passed[tile]),
            clean_passed_on: share(&|tile| labels[tile] == clean, &|tile| passed[tile]),
            cleared: classes
                .iter()
                .enumerate()
                .filter(|(class, _)| *class != clean)
                .map(cleared)
                .collect(),
            lost: lost.count() as u64,
            balanced_accuracy: bootstrap::compare(labels, &alone, &together),
            cost,
            screen: screen_point,
        })
    }

    /// The report as plain text.
    pub fn table(&self) -> String {
        let Self { alone, cascade, .. } = self;
        let mut text = format!(
            "{} tiles of the {} part{:>12}{:>12}\n",
            alone.tiles, alone.split, "alone", "cascade"
        );
        let mut row = |name: &str, alone: f64, cascade: f64| {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{name:<28}{alone:>12.4}{cascade:>12.4}");
        };
        let accuracy = &self.balanced_accuracy;
        row(
            "balanced accuracy",
            accuracy.first.value,
            accuracy.second.value,
        );
        row(
            "  from, at 95 % confidence",
            accuracy.first.lower,
            accuracy.second.lower,
        );
        row("  to", accuracy.first.upper, accuracy.second.upper);
        row("macro F1", alone.macro_f1, cascade.macro_f1);
        for (alone, cascade) in alone.classes.iter().zip(&cascade.classes) {
            let name = format!("recall of {}", alone.name);
            row(&name, alone.metrics.recall, cascade.metrics.recall);
        }
        let passed_on = self.passed_on.rate().unwrap_or_default();
        let millions =
            [self.cost.classifier as f64, self.cost.of_cascade(passed_on)].map(|count| count / 1e6);
        row("million multiply-adds a tile", millions[0], millions[1]);
        let Interval {
            value,
            lower,
            upper,
        } = accuracy.difference;
        let _ = writeln!(
            text,
            "\nbalanced accuracy of the cascade less that of the classifier alone: {value:+.4} \
             ({lower:+.4} to {upper:+.4})"
        );
        let _ = writeln!(text, "passed on        {}", self.passed_on);
        let _ = writeln!(text, "clean, passed on {}", self.clean_passed_on);
        for (class, cleared) in &self.cleared {
            let _ = writeln!(text, "{class}, cleared: {cleared}");
        }
        let _ = writeln!(
            text,
            "of the cleared defects the classifier alone would flag {}\n\nthe screen: {}",
            self.lost,
            self.screen.table()
        );
        text
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::evaluate::metrics::most_probable;

    fn names(classes: &[&str]) -> Vec<String> {
        classes.iter().map(|&class| class.to_owned()).collect()
    }

    fn evaluation(classes: &[&str], labels: &[usize], logits: &[f32]) -> Evaluation {
        let predicted = most_probable(logits, classes.len());
        let confusion = Confusion::of(classes.len(), labels, &predicted);
        let hashes = ("w".to_owned(), "d".to_owned());
        Evaluation {
            names: (0..labels.len()).map(|tile| tile.to_string()).collect(),
            labels: labels.to_vec(),
            kinds: labels
                .iter()
                .map(|&label| classes[label].to_owned())
                .collect(),
            predicted,
            logits: logits.to_vec(),
            report: Report::new("val", &names(classes), confusion, hashes),
        }
    }

    const COST: Cost = Cost {
        screen: 2_000_000,
        classifier: 10_000_000,
    };

    /// Six tiles: three clean, of which the screen passes one on; two cracks, of
    /// which it clears one that the classifier would flag; an overfill.
    #[test]
    fn what_the_screen_clears_is_taken_for_clean() {
        let classes = ["no_defect", "cracks", "overfill"];
        let classifier = evaluation(
            &classes,
            &[0, 0, 0, 1, 1, 2],
            &[
                [2.0, 0.0, 0.0],
                [0.0, 1.0, 0.0],
                [3.0, 0.0, 0.0],
                [0.0, 2.0, 0.0],
                [0.0, 2.0, 0.0],
                [0.0, 0.0, 2.0],
            ]
            .concat(),
        );
        let binary = ["no_defect", "defect"];
        let screen = evaluation(
            &binary,
            &[0, 0, 0, 1, 1, 1],
            &[
                [1.0, 0.0],
                [2.0, 0.0],
                [0.0, 1.0],
                [0.0, 1.0],
                [1.0, 0.0],
                [0.0, 2.0],
            ]
            .concat(),
        );
        let mut point = OperatingReport::choose(&screen, &names(&binary), 0.1).unwrap();
        point.thresholds.clear();
        let (all, two) = (names(&classes), names(&binary));
        let report =
            CascadeReport::of(&classifier, &all, &screen, &two, point.clone(), COST).unwrap();
        let count = |share: &Proportion| (share.count, share.of);
        assert_eq!(count(&report.passed_on), (3, 6));
        assert_eq!(count(&report.clean_passed_on), (1, 3));
        assert_eq!(count(&report.cleared["cracks"]), (1, 2));
        assert_eq!(count(&report.cleared["overfill"]), (0, 1));
        assert_eq!(report.lost, 1);
        // The false alarm of the second tile is cleared, and one crack with it.
        let recall = |report: &Report| -> Vec<f64> {
            let classes = report.classes.iter();
            classes.map(|class| class.metrics.recall).collect()
        };
        assert_eq!(recall(&report.alone), [2.0 / 3.0, 1.0, 1.0]);
        assert_eq!(recall(&report.cascade), [1.0, 0.5, 1.0]);
        let text = report.table();
        assert!(text.contains("recall of cracks"), "{text}");
        // Half of the tiles are passed on.
        assert!(
            text.contains("million multiply-adds a tile     10.0000      7.0000"),
            "{text}"
        );
        let difference = report.balanced_accuracy.difference.value;
        let expected = report.cascade.balanced_accuracy - report.alone.balanced_accuracy;
        assert!((difference - expected).abs() < 1e-12);

        let mut other = screen.clone();
        other.names[0] = "elsewhere".into();
        let error = CascadeReport::of(&classifier, &all, &other, &two, point, COST).unwrap_err();
        assert!(error.to_string().contains("other tiles"), "{error}");
    }
}
