//! What a run says of its epochs: `log.jsonl` and `metrics.csv`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};

use millsight_export::durable::replace_file;
use serde::{Deserialize, Serialize};

use crate::TrainError;

/// Figures by their names.
///
/// | name | is |
/// |---|---|
/// | `train_loss` | mean loss of the epoch's batches |
/// | `learning_rate` | that of the epoch's last step |
/// | `gradient_norm` | mean norm of the gradients before clipping |
/// | `val_loss` | loss on the validation part; a masked autoencoder's with the same masks in every epoch |
/// | `val_accuracy`, `val_balanced_accuracy`, `val_macro_f1` | 0 to 1, on the validation part |
/// | `knn_accuracy`, `knn_balanced_accuracy` | 0 to 1: nearest neighbours in the training part classify the validation part by DINO's features |
/// | `teacher_entropy`, `teacher_entropy_of_mean`, `feature_deviation` | [signs](crate::pretext::dino::collapse::Signs) of a collapse |
/// | `collapsed` | 1 when the features collapse, else 0 |
///
/// Methods add figures of their own and say what they are.
pub type Figures = BTreeMap<String, f64>;

/// What is known after an epoch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// Counted from 1.
    pub epoch: usize,
    /// Optimiser steps so far.
    pub steps: usize,
    /// Training tiles in a second, validation excluded.
    pub images_per_second: f64,
    /// Duration of the epoch, validation included; of a resumed epoch the
    /// part after the resumption.
    pub seconds: f64,
    /// Everything else.
    #[serde(flatten)]
    pub figures: Figures,
}

impl EpochRecord {
    /// A figure by its name; not a number where the record has none.
    pub fn figure(&self, name: &str) -> f64 {
        self.figures.get(name).copied().unwrap_or(f64::NAN)
    }
}

/// The log in a run's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    lines: PathBuf,
    table: PathBuf,
}

impl Log {
    /// The log in the folder of a run.
    pub(super) fn of(run: &Path) -> Self {
        Self {
            lines: run.join("log.jsonl"),
            table: run.join("metrics.csv"),
        }
    }

    /// The epochs that are logged.
    ///
    /// # Errors
    /// When the log cannot be read or has a line of another form.
    pub fn records(&self) -> Result<Vec<EpochRecord>, TrainError> {
        let path = &self.lines;
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(TrainError::io("read", path)(error)),
        };
        text.split_inclusive('\n')
            // A line without its end was cut by a crash.
            .filter(|line| line.ends_with('\n'))
            .enumerate()
            .map(|(index, line)| {
                serde_json::from_str(line).map_err(|error| TrainError::Log {
                    path: path.clone(),
                    line: index + 1,
                    reason: error.to_string(),
                })
            })
            .collect()
    }

    /// Keeps the first `epochs` records: those that the checkpoint covers.
    ///
    /// # Errors
    /// When the log cannot be read or written.
    pub(crate) fn cut(&self, epochs: usize) -> Result<(), TrainError> {
        let mut records = self.records()?;
        records.retain(|record| record.epoch <= epochs);
        let mut text = Vec::new();
        for record in &records {
            serde_json::to_writer(&mut text, record)?;
            text.push(b'\n');
        }
        replace_file(&self.lines, &text).map_err(TrainError::io("write", &self.lines))?;
        self.write_table(&records)
    }

    /// Adds a record.
    ///
    /// # Errors
    /// When the log cannot be written.
    pub(crate) fn append(&self, record: &EpochRecord) -> Result<(), TrainError> {
        let mut line = serde_json::to_vec(record)?;
        line.push(b'\n');
        std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.lines)
            .and_then(|mut file| {
                file.write_all(&line)?;
                file.sync_data()
            })
            .map_err(TrainError::io("write", &self.lines))?;
        self.write_table(&self.records()?)
    }

    /// One row for each epoch; a figure that an epoch lacks is empty.
    fn write_table(&self, records: &[EpochRecord]) -> Result<(), TrainError> {
        let bytes = table(records).map_err(TrainError::io("encode", &self.table))?;
        replace_file(&self.table, &bytes).map_err(TrainError::io("write", &self.table))
    }
}

fn table(records: &[EpochRecord]) -> std::io::Result<Vec<u8>> {
    let names: BTreeSet<&str> = records
        .iter()
        .flat_map(|record| record.figures.keys().map(String::as_str))
        .collect();
    let mut writer = csv::Writer::from_writer(Vec::new());
    let fixed = ["epoch", "steps", "images_per_second", "seconds"];
    writer.write_record(fixed.into_iter().chain(names.iter().copied()))?;
    for record in records {
        let fixed = [
            record.epoch.to_string(),
            record.steps.to_string(),
            record.images_per_second.to_string(),
            record.seconds.to_string(),
        ];
        let figure = |name: &&str| record.figures.get(*name).map(f64::to_string);
        let figures = names.iter().map(|name| figure(name).unwrap_or_default());
        writer.write_record(fixed.into_iter().chain(figures))?;
    }
    writer.into_inner().map_err(|error| error.into_error())
}
