//! How good a classifier is.
//!
//! * [`judge`]: weights or a model file, that judge tiles.
//! * [`predict`]: logits of many tiles.
//! * [`knn`]: a classifier of features that needs no training.
//! * [`metrics`]: confusion matrix and the figures that follow from it.
//! * [`report`]: those figures as a table.
//! * [`bootstrap`]: bounds of a balanced accuracy.
//! * [`operating_point`]: thresholds for a stated miss rate.
//! * [`cascade`]: a screen before a classifier.
//! * [`comparison`]: several classifiers on the same tiles.
//! * [`misclassified`]: tiles that are taken for another class.
//! * [`contact_sheet`]: tiles with captions in one picture.

use std::path::{Path, PathBuf};

use millsight_export::durable::replace_file;
use millsight_export::operating::Judged;

use crate::TrainError;
use crate::data::table::{Split, Table, UNLABELLED};
use crate::data::tiles::Tiles;
use crate::machine::Machine;
use crate::model::classifier::Classifier;
use crate::trained::Trained;
use judge::Judge;
use metrics::Confusion;
use predict::Means;
use report::Report;

pub mod bootstrap;
pub mod cascade;
pub mod comparison;
pub mod contact_sheet;
pub mod judge;
pub mod knn;
pub use millsight_export::metrics;
pub use millsight_export::operating::{bounds, calibration};
pub mod misclassified;
pub mod operating_point;
pub mod predict;
pub mod report;

/// Tiles that are prepared at a time.
const BATCH: usize = 64;

/// What a judge says of each tile of a part.
#[derive(Debug, Clone)]
pub struct Evaluation {
    /// Paths as in the table.
    pub names: Vec<String>,
    /// True class of each tile.
    pub labels: Vec<usize>,
    /// Label of each tile in the table; of a screen, which knows one class of
    /// defects, another than that of its class.
    pub kinds: Vec<String>,
    /// Class with the largest logit, or what the thresholds of a model file say.
    pub predicted: Vec<usize>,
    /// `[tiles, classes]`, row-major.
    pub logits: Vec<f32>,
    /// The figures.
    pub report: Report,
}

/// Which tiles to evaluate on.
#[derive(Debug, Clone)]
pub struct Source {
    /// Table with a `split` column.
    pub table: PathBuf,
    /// Folder to which its paths are relative.
    pub data_root: PathBuf,
    /// The part.
    pub split: Split,
}

/// Judges the labelled tiles of one part of a table. `begin` is told the number
/// of tiles, `seen` after each batch how many it had.
///
/// # Errors
/// When the table or a tile cannot be read, or device or engine fails.
pub fn evaluate(
    judge: &mut Judge,
    source: &Source,
    machine: Machine,
    begin: impl FnOnce(usize),
    seen: impl FnMut(usize),
) -> Result<Evaluation, TrainError> {
    let mut table = Table::read(&source.table)?;
    table.rows.retain(|row| row.label != UNLABELLED);
    let kinds = table.part(source.split)?.into_iter().map(|row| row.label);
    let kinds = kinds.collect();
    judge.relabel(&mut table);
    let tiles = Tiles::new(
        &table.part(source.split)?,
        judge.classes(),
        &source.data_root,
        judge.form(),
        0,
        &source.table,
    )?;
    begin(tiles.len());
    let logits = judge.logits(&tiles, machine, seen)?;
    let predicted = judge.verdicts(&logits)?;
    let classes = judge.classes();
    let confusion = Confusion::of(classes.len(), &tiles.labels, &predicted);
    let hashes = (judge.sha256().to_owned(), table.sha256);
    Ok(Evaluation {
        report: Report::new(source.split.name(), classes, confusion, hashes),
        names: tiles.names,
        labels: tiles.labels,
        kinds,
        predicted,
        logits,
    })
}

/// Logits of tiles, `[tiles, classes]`, row-major. `seen` is told after each batch
/// how many tiles it had.
///
/// # Errors
/// When a tile cannot be read, or the device fails.
pub fn logits(
    trained: &Trained,
    tiles: &Tiles,
    machine: Machine,
    seen: impl FnMut(usize),
) -> Result<Vec<f32>, TrainError> {
    let config = &trained.config;
    let device = machine.device.open()?;
    let network = Classifier::from_weights(&config.network, &trained.weights, &device)?;
    let all: Vec<usize> = (0..tiles.len()).collect();
    let means = Means {
        device: &device,
        workers: &machine.compute()?,
        loaders: &machine.loaders()?,
        shard_size: if machine.device.wants_shards() {
            config.shard_size
        } else {
            BATCH
        },
        batch_size: BATCH,
    };
    let forward = |images| network.forward(images);
    predict::logits(forward, tiles, &all, &config.preprocessing, means, seen)
}

impl Evaluation {
    /// Labels and logits, which are of these classes.
    pub fn judged<'a>(&'a self, classes: &'a [String]) -> Judged<'a> {
        Judged {
            classes,
            labels: &self.labels,
            kinds: &self.kinds,
            logits: &self.logits,
            split: &self.report.split,
        }
    }

    /// Writes one row for each tile: `path`, `label`, `predicted` and a column
    /// `logit_CLASS` for each class, with digits that give back the same
    /// floats.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_predictions(&self, path: &Path, classes: &[String]) -> Result<(), TrainError> {
        let bytes = self
            .encode(classes)
            .map_err(TrainError::io("encode", path))?;
        replace_file(path, &bytes).map_err(TrainError::io("write", path))
    }

    fn encode(&self, classes: &[String]) -> std::io::Result<Vec<u8>> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        let fixed = ["path", "label", "predicted"].map(str::to_owned);
        let logits = classes.iter().map(|class| format!("logit_{class}"));
        writer.write_record(fixed.into_iter().chain(logits))?;
        for (tile, logits) in self.logits.chunks_exact(classes.len()).enumerate() {
            let fixed = [
                self.names[tile].clone(),
                classes[self.labels[tile]].clone(),
                classes[self.predicted[tile]].clone(),
            ];
            let logits = logits.iter().map(f32::to_string);
            writer.write_record(fixed.into_iter().chain(logits))?;
        }
        writer.into_inner().map_err(|error| error.into_error())
    }
}
