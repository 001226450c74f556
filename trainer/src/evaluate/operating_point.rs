//! Thresholds of a run for a stated miss rate; [`millsight_export::operating`] has
//! how they are chosen.

use std::collections::BTreeMap;
use std::path::Path;

use millsight_export::card::{Calibration, ModelCard, NO_DEFECT, OperatingPoint};
use millsight_export::durable::replace_file;
use millsight_export::model_file::ModelFile;
use millsight_export::operating::{self, Chosen};
use serde::{Deserialize, Serialize};

use super::Evaluation;
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
    Err(no_clean_class(classes))
}

fn no_clean_class(classes: &[String]) -> TrainError {
    TrainError::NoCleanClass {
        classes: classes.to_vec(),
    }
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
        let chosen = operating::choose(evaluation.judged(classes), miss_rate);
        let Some(Chosen {
            calibration,
            thresholds,
            point,
        }) = chosen
        else {
            return Err(no_clean_class(classes));
        };
        Ok(Self {
            calibration,
            thresholds,
            operating_point: point,
            weights_sha256: evaluation.report.weights_sha256.clone(),
            data_sha256: evaluation.report.data_sha256.clone(),
        })
    }

    /// What the card of a model file says of its thresholds; `None` where it says not
    /// how they were chosen.
    pub fn of_card(model: &ModelFile) -> Option<Self> {
        let ModelCard {
            calibration,
            thresholds,
            provenance,
            ..
        } = &model.card;
        Some(Self {
            calibration: calibration.clone()?,
            thresholds: thresholds.clone(),
            operating_point: provenance.operating_point.clone()?,
            weights_sha256: model.sha256.clone(),
            data_sha256: provenance.data_sha256.clone(),
        })
    }

    /// Adds what the thresholds come to on the part of an evaluation.
    pub fn look_at(&mut self, evaluation: &Evaluation, classes: &[String]) {
        let temperature = self.calibration.temperature;
        let figures = operating::figures(evaluation.judged(classes), temperature, &self.thresholds);
        let part = evaluation.report.split.clone();
        let parts = &mut self.operating_point.parts;
        parts.extend(figures.map(|figures| (part, figures)));
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

#[cfg(test)]
mod tests;
