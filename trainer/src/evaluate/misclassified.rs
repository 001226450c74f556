//! Tiles that are taken for another class: a table and a picture.

use std::path::Path;

use millsight_export::durable::replace_file;
use millsight_export::verdict::softmax;

use super::Evaluation;
use super::contact_sheet::{self, Captioned};
use crate::TrainError;

/// Tiles that the picture shows.
const SHOWN: usize = 60;

/// A tile that is taken for another class.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Misclassified {
    /// Number of the tile in the evaluation.
    pub tile: usize,
    /// Probability of the class that it is taken for, 0 to 1.
    pub probability: f32,
    /// By how much that is above the probability of its label, 0 to 1.
    pub margin: f32,
}

/// The tiles whose largest logit is not that of their label, the most
/// confident first.
pub fn of(evaluation: &Evaluation) -> Vec<Misclassified> {
    let tiles = evaluation.labels.len();
    let classes = evaluation.logits.len() / tiles.max(1);
    let mut found: Vec<Misclassified> = (0..tiles)
        .filter(|&tile| evaluation.predicted[tile] != evaluation.labels[tile])
        .map(|tile| {
            let mut scores = evaluation.logits[tile * classes..][..classes].to_vec();
            softmax(&mut scores, 1.0);
            let probability = scores[evaluation.predicted[tile]];
            Misclassified {
                tile,
                probability,
                margin: probability - scores[evaluation.labels[tile]],
            }
        })
        .collect();
    found.sort_by(|a, b| b.probability.total_cmp(&a.probability));
    found
}

/// Writes `misclassified.csv` (path, label, predicted, probability, margin)
/// and `misclassified.png`, which shows the first of them, into a folder, and
/// says how many there are. Without any there is no picture.
///
/// # Errors
/// When a tile cannot be read or a file not be written.
pub fn write(
    folder: &Path,
    evaluation: &Evaluation,
    classes: &[String],
    data_root: &Path,
) -> Result<usize, TrainError> {
    let found = of(evaluation);
    let table = folder.join("misclassified.csv");
    let bytes = encode(&found, evaluation, classes).map_err(TrainError::io("encode", &table))?;
    replace_file(&table, &bytes).map_err(TrainError::io("write", &table))?;
    let picture = folder.join("misclassified.png");
    if found.is_empty() {
        return match std::fs::remove_file(&picture) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(TrainError::io("remove", picture)(error))
            }
            _ => Ok(0),
        };
    }
    let captioned = |wrong: &Misclassified| Captioned {
        file: data_root.join(&evaluation.names[wrong.tile]),
        caption: [
            classes[evaluation.labels[wrong.tile]].clone(),
            format!(
                "-> {} {:.2}",
                classes[evaluation.predicted[wrong.tile]], wrong.probability
            ),
        ],
    };
    let shown: Vec<Captioned> = found.iter().take(SHOWN).map(captioned).collect();
    contact_sheet::write(&picture, &shown)?;
    Ok(found.len())
}

fn encode(
    found: &[Misclassified],
    evaluation: &Evaluation,
    classes: &[String],
) -> std::io::Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(["path", "label", "predicted", "probability", "margin"])?;
    for wrong in found {
        writer.write_record([
            &evaluation.names[wrong.tile],
            &classes[evaluation.labels[wrong.tile]],
            &classes[evaluation.predicted[wrong.tile]],
            &wrong.probability.to_string(),
            &wrong.margin.to_string(),
        ])?;
    }
    writer.into_inner().map_err(|error| error.into_error())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::evaluate::metrics::{Confusion, most_probable};
    use crate::evaluate::report::Report;

    fn evaluation(labels: Vec<usize>, logits: Vec<f32>) -> Evaluation {
        let predicted = most_probable(&logits, 2);
        let names = (0..labels.len()).map(|tile| format!("{tile}.png"));
        let classes = ["a".to_owned(), "b".to_owned()];
        let confusion = Confusion::of(2, &labels, &predicted);
        Evaluation {
            names: names.collect(),
            kinds: labels.iter().map(|&label| classes[label].clone()).collect(),
            labels,
            predicted,
            logits,
            report: Report::new("test", &classes, confusion, Default::default()),
        }
    }

    #[test]
    fn the_most_confident_mistakes_come_first() {
        let logits = vec![2.0, 0.0, 0.0, 1.0, 0.0, 3.0, 0.0, 9.0];
        let evaluation = evaluation(vec![0, 0, 0, 1], logits);
        let classes = ["a".to_owned(), "b".to_owned()];
        let folder = tempfile::tempdir().unwrap();
        for tile in 0..4 {
            image::GrayImage::new(9, 5)
                .save(folder.path().join(format!("{tile}.png")))
                .unwrap();
        }
        let count = write(folder.path(), &evaluation, &classes, folder.path()).unwrap();
        assert_eq!(count, 2);
        let table = std::fs::read_to_string(folder.path().join("misclassified.csv")).unwrap();
        assert_eq!(
            table,
            "path,label,predicted,probability,margin\n\
             2.png,a,b,0.95257413,0.90514827\n\
             1.png,a,b,0.7310586,0.46211717\n"
        );
        assert!(folder.path().join("misclassified.png").exists());
    }

    #[test]
    fn without_mistakes_there_is_no_picture() {
        let folder = tempfile::tempdir().unwrap();
        let picture = folder.path().join("misclassified.png");
        std::fs::write(&picture, "of another evaluation").unwrap();
        let evaluation = evaluation(vec![0], vec![1.0, 0.0]);
        let classes = ["a".to_owned(), "b".to_owned()];
        assert_eq!(
            write(folder.path(), &evaluation, &classes, folder.path()).unwrap(),
            0
        );
        assert!(!picture.exists());
    }
}
