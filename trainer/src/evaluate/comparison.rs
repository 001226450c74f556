//! Several classifiers on the same tiles.

use std::fmt::Write;
use std::path::Path;

use millsight_export::durable::replace_file;
use serde::Serialize;
use statrs::distribution::{Binomial, DiscreteCDF};

use super::Evaluation;
use super::bootstrap::{self, Interval};
use super::report::Report;
use crate::TrainError;

/// Several classifiers on the same tiles.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// Each by itself.
    pub networks: Vec<Judged>,
    /// Each pair of them, the first before the second.
    pub pairs: Vec<Pair>,
}

/// A classifier that was judged.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Judged {
    /// What it is called.
    pub name: String,
    /// Balanced accuracy with the bounds of the bootstrap.
    pub balanced_accuracy: Interval,
    /// All figures.
    pub report: Report,
}

/// Two classifiers beside each other.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Pair {
    /// Name of the first.
    pub first: String,
    /// Name of the second.
    pub second: String,
    /// By how much the second's balanced accuracy is above the first's.
    pub difference: Interval,
    /// Tiles that the first alone has right.
    pub first_alone: u64,
    /// Tiles that the second alone has right.
    pub second_alone: u64,
    /// How probable it is that they differ in so many tiles, or more unevenly, when
    /// neither is better ([`mcnemar`]).
    pub p: f64,
}

/// The exact McNemar test (McNemar, Psychometrika 12, 1947; two-sided, by the binomial
/// distribution): of the tiles that one of two classifiers alone has right, either should
/// have half when neither is better.
pub fn mcnemar(first_alone: u64, second_alone: u64) -> f64 {
    let tail = Binomial::new(0.5, first_alone + second_alone)
        .map_or(1.0, |binomial| binomial.cdf(first_alone.min(second_alone)));
    (2.0 * tail).min(1.0)
}

/// Names of the classes, in the order of the logits.
fn classes(evaluation: &Evaluation) -> Vec<&str> {
    let classes = evaluation.report.classes.iter();
    classes.map(|class| class.name.as_str()).collect()
}

impl Comparison {
    /// Compares what classifiers, by their names, say of the same tiles; two at least.
    ///
    /// # Errors
    /// When they were given other tiles, or know other classes.
    pub fn of(named: &[(String, Evaluation)]) -> Result<Self, TrainError> {
        for (name, evaluation) in named.iter().skip(1) {
            let (first_name, first) = &named[0];
            let what = if classes(evaluation) != classes(first) {
                "classes"
            } else if evaluation.names != first.names || evaluation.labels != first.labels {
                "tiles"
            } else {
                continue;
            };
            return Err(TrainError::NotComparable {
                first: first_name.clone(),
                second: name.clone(),
                what,
            });
        }
        let right = |evaluation: &Evaluation| -> Vec<bool> {
            let judged = evaluation.predicted.iter().zip(&evaluation.labels);
            judged
                .map(|(predicted, label)| predicted == label)
                .collect()
        };
        let networks = named.iter().map(|(name, evaluation)| {
            let right = right(evaluation);
            Judged {
                name: name.clone(),
                balanced_accuracy: bootstrap::compare(&evaluation.labels, &right, &right).first,
                report: evaluation.report.clone(),
            }
        });
        let mut pairs = Vec::new();
        for (number, (first, one)) in named.iter().enumerate() {
            for (second, other) in &named[number + 1..] {
                let (right_one, right_other) = (right(one), right(other));
                let alone = |own: &[bool], other: &[bool]| {
                    let both = own.iter().zip(other);
                    both.filter(|(own, other)| **own && !**other).count() as u64
                };
                let first_alone = alone(&right_one, &right_other);
                let second_alone = alone(&right_other, &right_one);
                pairs.push(Pair {
                    first: first.clone(),
                    second: second.clone(),
                    difference: bootstrap::compare(&one.labels, &right_one, &right_other)
                        .difference,
                    first_alone,
                    second_alone,
                    p: mcnemar(first_alone, second_alone),
                });
            }
        }
        Ok(Self {
            networks: networks.collect(),
            pairs,
        })
    }

    /// The figures as tables of plain text.
    pub fn table(&self) -> String {
        let width = self.networks.iter().map(|one| one.name.chars().count());
        let width = width.fold("network".len(), usize::max);
        let mut text = format!(
            "{:width$}  balanced accuracy (95 %)  macro F1  accuracy\n",
            "network"
        );
        // Writing to a String cannot fail.
        for Judged {
            name,
            balanced_accuracy:
                Interval {
                    value,
                    lower,
                    upper,
                },
            report,
        } in &self.networks
        {
            let _ = writeln!(
                text,
                "{name:width$}  {value:.4} ({lower:.4} to {upper:.4})  {:>8.4}  {:>8.4}",
                report.macro_f1, report.accuracy
            );
        }
        for pair in &self.pairs {
            let Interval {
                value,
                lower,
                upper,
            } = pair.difference;
            let _ = write!(
                text,
                "\n{} against {}: balanced accuracy {value:+.4} ({lower:+.4} to {upper:+.4}); right \
                 alone on {} and {} tiles, McNemar's p = {:.4}",
                pair.second, pair.first, pair.second_alone, pair.first_alone, pair.p
            );
        }
        text.push('\n');
        text
    }
}

/// Writes the tiles on which classifiers disagree: path, label, and what each says. Gives
/// how many there are.
///
/// # Errors
/// When the file cannot be written.
pub fn write_disagreements(
    path: &Path,
    named: &[(String, Evaluation)],
) -> Result<usize, TrainError> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let mut encode = || -> Result<usize, csv::Error> {
        let names = named.iter().map(|(name, _)| name.as_str());
        writer.write_record(["path", "label"].into_iter().chain(names))?;
        let Some((_, first)) = named.first() else {
            return Ok(0);
        };
        let classes = classes(first);
        let mut count = 0;
        for (tile, (file, &label)) in first.names.iter().zip(&first.labels).enumerate() {
            let said = named
                .iter()
                .map(|(_, evaluation)| evaluation.predicted[tile]);
            if said.clone().all(|class| class == first.predicted[tile]) {
                continue;
            }
            let said = said.map(|class| classes[class]);
            let record = [file.as_str(), classes[label]];
            writer.write_record(record.into_iter().chain(said))?;
            count += 1;
        }
        Ok(count)
    };
    let encoded = encode().map_err(std::io::Error::other);
    let count = encoded.map_err(TrainError::io("encode", path))?;
    let bytes = writer.into_inner().map_err(|error| error.into_error());
    let bytes = bytes.map_err(TrainError::io("encode", path))?;
    replace_file(path, &bytes).map_err(TrainError::io("write", path))?;
    Ok(count)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::evaluate::metrics::Confusion;

    /// A classifier of two classes that says these.
    fn evaluation(predicted: &[usize]) -> Evaluation {
        let labels: Vec<usize> = (0..predicted.len()).map(|tile| tile % 2).collect();
        let names = ["no_defect".to_owned(), "cracks".to_owned()];
        let confusion = Confusion::of(2, &labels, predicted);
        Evaluation {
            names: (0..predicted.len())
                .map(|tile| format!("{tile}.png"))
                .collect(),
            kinds: Vec::new(),
            logits: Vec::new(),
            predicted: predicted.to_vec(),
            report: Report::new("test", &names, confusion, Default::default()),
            labels,
        }
    }

    #[test]
    fn the_test_is_that_of_the_binomial_distribution() {
        // As `scipy.stats.binomtest(k, n)` has it.
        for (first, second, p) in [
            (0, 0, 1.0),
            (5, 5, 1.0),
            (0, 6, 0.03125),
            (10, 2, 0.038574),
            (3, 15, 0.007538),
        ] {
            assert!(
                (mcnemar(first, second) - p).abs() < 1e-6,
                "{first} {second}"
            );
            assert_eq!(mcnemar(first, second), mcnemar(second, first));
        }
    }

    #[test]
    fn pairs_are_compared_on_the_same_tiles() {
        let right: Vec<usize> = (0..20).map(|tile| tile % 2).collect();
        let mut worse = right.clone();
        worse[..6].fill(1);
        let named = [
            ("first".to_owned(), evaluation(&right)),
            ("second".to_owned(), evaluation(&worse)),
        ];
        let comparison = Comparison::of(&named).unwrap();
        let pair = &comparison.pairs[0];
        assert_eq!((pair.first_alone, pair.second_alone), (3, 0));
        assert!((pair.difference.value + 0.15).abs() < 1e-12);
        assert!((pair.p - 0.25).abs() < 1e-12);
        let table = comparison.table();
        assert!(
            table.contains("second against first: balanced accuracy -0.1500"),
            "{table}"
        );
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("disagreements.csv");
        assert_eq!(write_disagreements(&file, &named).unwrap(), 3);
        assert_eq!(
            std::fs::read_to_string(&file).unwrap(),
            "path,label,first,second\n0.png,no_defect,no_defect,cracks\n\
             2.png,no_defect,no_defect,cracks\n4.png,no_defect,no_defect,cracks\n"
        );

        let fewer = ("fewer".to_owned(), evaluation(&right[..18]));
        let error = Comparison::of(&[named[0].clone(), fewer]).unwrap_err();
        assert!(error.to_string().contains("other tiles"), "{error}");
    }
}
