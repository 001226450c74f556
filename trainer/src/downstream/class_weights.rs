//! Weights of the classes in the loss, against their imbalance.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How the classes are weighted.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClassWeighting {
    /// By the inverse of the number of tiles, `N / (k n_c)`.
    Inverse,
    /// By the inverse of the effective number of tiles,
    /// `(1 - beta) / (1 - beta^n_c)` (Cui et al., 2019, equation 5): beyond some
    /// `1 / (1 - beta)` of them, more tiles of a class show nothing new.
    Effective {
        /// 0 (no weighting) to below 1 (towards the inverse).
        beta: f64,
    },
    /// All 1.
    None,
}

/// Every word on the command line, with what it does.
pub const WORDS: [(&str, &str); 3] = [
    ("inverse", "Inverse of the number of tiles"),
    (
        "effective",
        "Inverse of the effective number of tiles with a beta of 0.999, or effective:BETA",
    ),
    ("none", "All the same"),
];

/// The beta of `effective` without a number.
const BETA: f64 = 0.999;

impl FromStr for ClassWeighting {
    type Err = String;

    /// Reads a word of [`WORDS`], as in `effective:0.99`.
    fn from_str(text: &str) -> Result<Self, String> {
        let beta = match text.split_once(':') {
            Some(("effective", beta)) => beta,
            _ => match text {
                "inverse" => return Ok(Self::Inverse),
                "none" => return Ok(Self::None),
                "effective" => return Ok(Self::Effective { beta: BETA }),
                _ => {
                    return Err(format!(
                        "there is no weighting {text:?}; there are {}",
                        WORDS.map(|(name, _)| name).join(", ")
                    ));
                }
            },
        };
        match beta.parse() {
            Ok(beta) if (0.0..1.0).contains(&beta) => Ok(Self::Effective { beta }),
            _ => Err(format!(
                "the beta of effective must be 0 to below 1, as in effective:0.999, not {beta}"
            )),
        }
    }
}

impl ClassWeighting {
    /// The weight of each class, scaled to a mean of 1; `labels` has the class
    /// index of each tile of the training part, below `classes`.
    ///
    /// Classes without a tile get the weight 0, unless all weigh the same: they
    /// cannot occur in a batch.
    pub fn weights(self, labels: &[usize], classes: usize) -> Vec<f32> {
        let mut counts = vec![0usize; classes];
        for &label in labels {
            counts[label] += 1;
        }
        let weight = |&count: &usize| match (self, count as f64) {
            (Self::None, _) => 1.0,
            (_, 0.0) => 0.0,
            (Self::Inverse, count) => labels.len() as f64 / (classes as f64 * count),
            // 1 - beta^n, which is exact for a beta close to 1 as well.
            (Self::Effective { beta }, count) => (1.0 - beta) / -(count * beta.ln()).exp_m1(),
        };
        let raw: Vec<f64> = counts.iter().map(weight).collect();
        let mean = raw.iter().sum::<f64>() / classes as f64;
        raw.iter().map(|weight| (weight / mean) as f32).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// 600, 200 and 100 tiles, and none of a fourth class.
    fn weights(weighting: ClassWeighting) -> Vec<f32> {
        let labels: Vec<usize> = [600, 200, 100]
            .into_iter()
            .enumerate()
            .flat_map(|(class, count)| vec![class; count])
            .collect();
        weighting.weights(&labels, 4)
    }

    #[test]
    fn rare_classes_weigh_more_and_the_mean_is_one() {
        for weighting in [
            ClassWeighting::Inverse,
            ClassWeighting::Effective { beta: 0.99 },
            ClassWeighting::None,
        ] {
            let mean = weights(weighting).iter().sum::<f32>() / 4.0;
            assert!((mean - 1.0).abs() < 1e-6, "{weighting:?}");
        }
        let inverse = weights(ClassWeighting::Inverse);
        assert!((inverse[1] / inverse[0] - 3.0).abs() < 1e-6);
        assert!((inverse[2] / inverse[0] - 6.0).abs() < 1e-6);
        assert_eq!(inverse[3], 0.0);
        assert_eq!(weights(ClassWeighting::None), [1.0; 4]);
    }

    /// `(1 - beta) / (1 - beta ** n)` in the code of Cui et al., scaled to a sum
    /// of the number of classes.
    #[test]
    fn effective_numbers_lie_between_no_weighting_and_the_inverse() {
        let effective = weights(ClassWeighting::Effective { beta: 0.99 });
        let number = |n: i32| (1.0 - 0.99f64.powi(n)) / 0.01;
        for (class, count) in [(1, 200), (2, 100)] {
            let ratio = f64::from(effective[class] / effective[0]);
            assert!((ratio - number(600) / number(count)).abs() < 1e-5);
        }
        assert_eq!(effective[3], 0.0);
        let same = weights(ClassWeighting::Effective { beta: 0.0 });
        assert_eq!(same[0], same[2]);
        let inverse = weights(ClassWeighting::Inverse);
        let close = weights(ClassWeighting::Effective { beta: 1.0 - 1e-12 });
        for (close, inverse) in close.iter().zip(&inverse) {
            assert!((close - inverse).abs() < 1e-5, "{close} {inverse}");
        }
    }

    #[test]
    fn words_are_read_and_wrong_ones_named() {
        let read = |text: &str| text.parse::<ClassWeighting>();
        assert_eq!(read("inverse").unwrap(), ClassWeighting::Inverse);
        assert_eq!(read("none").unwrap(), ClassWeighting::None);
        let effective = |beta| ClassWeighting::Effective { beta };
        assert_eq!(read("effective").unwrap(), effective(0.999));
        assert_eq!(read("effective:0.9").unwrap(), effective(0.9));
        for wrong in ["effective:1", "effective:-0.1", "effective:x"] {
            assert!(read(wrong).unwrap_err().contains("0 to below 1"));
        }
        for wrong in ["balanced", "inverse:2"] {
            assert!(
                read(wrong)
                    .unwrap_err()
                    .contains("inverse, effective, none")
            );
        }
    }
}
