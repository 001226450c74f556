//! The figures of an evaluation, for people and for programs.

use std::fmt::Write;
use std::path::Path;

use millsight_export::durable::replace_file;
use serde::{Deserialize, Serialize};

use super::metrics::{ClassMetrics, Confusion};
use crate::TrainError;

/// All figures of one evaluation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The part of the table: `train`, `val` or `test`.
    pub split: String,
    /// Number of tiles.
    pub tiles: usize,
    /// Share of all tiles that are right, 0 to 1.
    pub accuracy: f64,
    /// Mean recall of the classes that have tiles, 0 to 1.
    pub balanced_accuracy: f64,
    /// Mean F1 of the classes that occur, 0 to 1.
    pub macro_f1: f64,
    /// Figures of each class, in the order of the logits.
    pub classes: Vec<ClassReport>,
    /// Rows are true classes, columns predicted ones.
    pub confusion: Confusion,
    /// SHA-256 of the weights that were evaluated.
    pub weights_sha256: String,
    /// SHA-256 of the table.
    pub data_sha256: String,
}

/// Figures of one class under its name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassReport {
    /// Class name.
    pub name: String,
    /// Its figures.
    #[serde(flatten)]
    pub metrics: ClassMetrics,
}

impl Report {
    /// The figures that follow from a confusion matrix. `hashes` are those of
    /// the weights and of the table.
    pub fn new(
        split: &str,
        names: &[String],
        confusion: Confusion,
        hashes: (String, String),
    ) -> Self {
        Self {
            split: split.to_owned(),
            tiles: confusion.counts.iter().flatten().sum::<u64>() as usize,
            accuracy: confusion.accuracy(),
            balanced_accuracy: confusion.balanced_accuracy(),
            macro_f1: confusion.macro_f1(),
            classes: names
                .iter()
                .zip(confusion.each())
                .map(|(name, metrics)| ClassReport {
                    name: name.clone(),
                    metrics,
                })
                .collect(),
            confusion,
            weights_sha256: hashes.0,
            data_sha256: hashes.1,
        }
    }

    /// Writes the figures as JSON.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), TrainError> {
        let json = serde_json::to_vec_pretty(self)?;
        replace_file(path, &json).map_err(TrainError::io("write", path))
    }

    /// The figures as a table of plain text.
    pub fn table(&self) -> String {
        let width = self
            .classes
            .iter()
            .map(|class| class.name.chars().count())
            .fold("class".len(), usize::max);
        let mut text = format!(
            "{} tiles of the {} part: accuracy {:.4}, balanced accuracy {:.4}, macro F1 {:.4}\n\n",
            self.tiles, self.split, self.accuracy, self.balanced_accuracy, self.macro_f1
        );
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{:width$}  precision  recall      F1  tiles", "class");
        for ClassReport { name, metrics } in &self.classes {
            let _ = writeln!(
                text,
                "{name:width$}  {:>9.4}  {:>6.4}  {:>6.4}  {:>5}",
                metrics.precision, metrics.recall, metrics.f1, metrics.support
            );
        }
        let _ = writeln!(
            text,
            "\nconfusion (rows: true class, columns: predicted, same order)"
        );
        for (class, row) in self.classes.iter().zip(&self.confusion.counts) {
            let _ = write!(text, "{:width$}", class.name);
            for count in row {
                let _ = write!(text, "  {count:>6}");
            }
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_lines_up() {
        let names = ["no_defect".to_owned(), "cracks".to_owned()];
        let confusion = Confusion::of(2, &[0, 0, 1], &[0, 1, 1]);
        let report = Report::new("test", &names, confusion, Default::default());
        assert_eq!(
            report.table(),
            "3 tiles of the test part: accuracy 0.6667, balanced accuracy 0.7500, macro F1 0.6667\n\
             \n\
             class      precision  recall      F1  tiles\n\
             no_defect     1.0000  0.5000  0.6667      2\n\
             cracks        0.5000  1.0000  0.6667      1\n\
             \n\
             confusion (rows: true class, columns: predicted, same order)\n\
             no_defect       1       1\n\
             cracks          0       1\n"
        );
    }
}
