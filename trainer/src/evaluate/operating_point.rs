//! Thresholds for a stated miss rate.
//!
//! A defect class is flagged from a probability on. Of the n validation tiles
//! of the class, ordered by that probability, the k least probable may stay
//! below: k is the largest number whose exact upper bound in n tiles
//! ([`bounds::tolerated`]) is at most the miss rate, and the threshold is the
//! largest that leaves no more of them out, the probability of the next tile.
//!
//! k follows from n and the rate alone, so that the bound holds although the
//! same tiles choose the threshold: the rate below the (k + 1)th of n tiles
//! has the distribution Beta(k + 1, n - k) whatever the network (Wilks, Annals
//! of Mathematical Statistics 12, 1941), and its quantile is the bound. It
//! holds for tiles as the validation part has them, which must not be drawn
//! from the same pieces as those that were trained on. The validation part has
//! also chosen the best epoch and the temperature; the figures on the test
//! part are the honest ones.
//!
//! A class of too few tiles to prove the rate is marked. It gets the threshold
//! that misses none of them, unless that lies above one half: a class as
//! probable as that is the most probable one and flagged without a threshold,
//! and so are others, while few tiles say little of how improbable the next
//! will be. A class without tiles gets none.

use std::collections::BTreeMap;
use std::path::Path;

use millsight_export::card::{
    Calibration, ClassFigures, ClassPoint, NO_DEFECT, OperatingFigures, OperatingPoint, OutputKind,
};
use millsight_export::durable::replace_file;
use millsight_export::verdict::{VerdictRule, softmax};
use millsight_export::verify::DEFAULT_TOLERANCE;
use serde::{Deserialize, Serialize};

use super::{Evaluation, bounds, calibration};
use crate::TrainError;

/// Thresholds of a network with everything that is known of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperatingReport {
    /// From logits to probabilities.
    pub calibration: Calibration,
    /// Least probability at which each defect class is flagged.
    pub thresholds: BTreeMap<String, f32>,
    /// What they were chosen for and what they come to.
    pub operating_point: OperatingPoint,
    /// SHA-256 of the weights.
    pub weights_sha256: String,
    /// SHA-256 of the table.
    pub data_sha256: String,
}

/// Refuses classes of which none means "no defect".
///
/// # Errors
/// With their names.
pub fn check(classes: &[String]) -> Result<(), TrainError> {
    if classes.iter().any(|class| class == NO_DEFECT) {
        return Ok(());
    }
    Err(TrainError::NoCleanClass {
        classes: classes.to_vec(),
    })
}

impl OperatingReport {
    /// Chooses temperature and thresholds by an evaluation on the validation
    /// part.
    ///
    /// # Errors
    /// When the rate is not between 0 and 1, or no class means "no defect".
    pub fn choose(
        evaluation: &Evaluation,
        classes: &[String],
        miss_rate: f64,
    ) -> Result<Self, TrainError> {
        if !(miss_rate > 0.0 && miss_rate < 1.0) {
            return Err(TrainError::Setting {
                name: "--operating-point",
                range: "above 0 and below 1",
                got: miss_rate.to_string(),
            });
        }
        check(classes)?;
        let calibration = calibration::fit(evaluation, classes.len());
        let mut probabilities = evaluation.logits.clone();
        for scores in probabilities.chunks_exact_mut(classes.len()) {
            softmax(scores, calibration.temperature);
        }
        let mut thresholds = BTreeMap::new();
        let mut points = BTreeMap::new();
        for (class, name) in classes.iter().enumerate() {
            if name == NO_DEFECT {
                continue;
            }
            let own = |(tile, _): (usize, &usize)| probabilities[tile * classes.len() + class];
            let tiles = evaluation.labels.iter().enumerate();
            let mut own: Vec<f32> = tiles
                .filter(|(_, label)| **label == class)
                .map(own)
                .collect();
            own.sort_by(f32::total_cmp);
            let tiles = own.len() as u64;
            let tolerated = bounds::tolerated(tiles, miss_rate);
            points.insert(
                name.clone(),
                ClassPoint {
                    tiles,
                    tolerated: tolerated.unwrap_or(0),
                    proven: tolerated.is_some(),
                    tiles_needed: bounds::tiles_needed(miss_rate),
                },
            );
            let Some(&next) = own.get(tolerated.unwrap_or(0) as usize) else {
                continue;
            };
            let threshold = next * margin(calibration.temperature);
            if tolerated.is_some() || threshold <= 0.5 {
                thresholds.insert(name.clone(), threshold);
            }
        }
        let mut report = Self {
            thresholds,
            operating_point: OperatingPoint {
                miss_rate,
                confidence: bounds::CONFIDENCE,
                split: evaluation.report.split.clone(),
                classes: points,
                parts: BTreeMap::new(),
            },
            weights_sha256: evaluation.report.weights_sha256.clone(),
            data_sha256: evaluation.report.data_sha256.clone(),
            calibration,
        };
        report.look_at(evaluation, classes);
        Ok(report)
    }

    /// Adds what the thresholds come to on the part of an evaluation.
    pub fn look_at(&mut self, evaluation: &Evaluation, classes: &[String]) {
        let temperature = self.calibration.temperature;
        let rule = VerdictRule::new(classes, OutputKind::Logits, temperature, &self.thresholds);
        let Some(rule) = rule else {
            return;
        };
        // Of each true class how many tiles have each verdict.
        let mut counts = vec![vec![0u64; classes.len()]; classes.len()];
        // Of each kind of defect of a screen how many tiles are missed, and all.
        let mut kinds: BTreeMap<&str, [u64; 2]> = BTreeMap::new();
        let tiles = evaluation.logits.chunks_exact(classes.len());
        let truth = evaluation.labels.iter().zip(&evaluation.kinds);
        for (logits, (&label, kind)) in tiles.zip(truth) {
            let verdict = rule.judge(&mut logits.to_vec());
            counts[label][verdict.class] += 1;
            if *kind != classes[label] {
                let [missed, all] = kinds.entry(kind).or_default();
                *missed += u64::from(verdict.class == rule.no_defect());
                *all += 1;
            }
        }
        let clean = &counts[rule.no_defect()];
        let all_clean = clean.iter().sum();
        let figures = |(class, name): (usize, &String)| {
            let missed = counts[class][rule.no_defect()];
            let figures = ClassFigures {
                missed: bounds::exact(missed, counts[class].iter().sum()),
                false_alarms: bounds::exact(clean[class], all_clean),
            };
            (name.clone(), figures)
        };
        let defects = classes.iter().enumerate();
        let figures = OperatingFigures {
            classes: defects
                .filter(|(class, _)| *class != rule.no_defect())
                .map(figures)
                .collect(),
            kinds: kinds
                .into_iter()
                .map(|(kind, [missed, all])| (kind.to_owned(), bounds::exact(missed, all)))
                .collect(),
            false_alarms: bounds::exact(all_clean - clean[rule.no_defect()], all_clean),
        };
        let part = evaluation.report.split.clone();
        self.operating_point.parts.insert(part, figures);
    }

    /// Writes the report as JSON.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), TrainError> {
        let json = serde_json::to_vec_pretty(self)?;
        replace_file(path, &json).map_err(TrainError::io("write", path))
    }

    /// Reads what [`OperatingReport::save`] has written; `None` where there is
    /// no file.
    ///
    /// # Errors
    /// When it cannot be read or is something else.
    pub fn load(path: &Path) -> Result<Option<Self>, TrainError> {
        let text = match std::fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(TrainError::io("read", path)(error)),
        };
        let report = serde_json::from_slice(&text).map_err(|error| TrainError::NotAReport {
            path: path.to_path_buf(),
            reason: error.to_string(),
        })?;
        Ok(Some(report))
    }

    /// The report as plain text.
    pub fn table(&self) -> String {
        let point = self.operating_point.table(&self.thresholds);
        format!("temperature {}\n\n{point}", self.calibration)
    }
}

/// By what a threshold stands below the probability of the tile that it comes
/// from, so that an engine's rounding does not put the tile below it: logits
/// that are off by the tolerance of an export change a probability by a factor
/// of at most `1 - 2 * tolerance / temperature`.
fn margin(temperature: f32) -> f32 {
    1.0 - 2.0 * DEFAULT_TOLERANCE / temperature
}

#[cfg(test)]
mod tests;
