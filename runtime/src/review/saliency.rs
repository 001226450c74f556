//! Where on a tile the model sees what it says: what its probability loses when a square
//! of the tile is covered (occlusion sensitivity; Zeiler and Fergus, ECCV 2014).

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::thread;

use millsight_export::engine::EngineRequest;
use millsight_export::model_file::ModelFile;
use millsight_firmware_config::{Station, TILE_SIZE};
use serde::Serialize;

use super::running::Running;
use crate::classify::{Classifier, ClassifyError};
use crate::cores;
use crate::networks::{self, NetworksError};
use crate::record;
use crate::station;

/// Squares along a side of the tile.
const SIDE: usize = 8;

/// Pixels along a side of a square.
const SQUARE: usize = TILE_SIZE / SIDE;

/// How much of what the model says hangs on each square of a tile.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Saliency {
    /// The class that the model gives the tile.
    pub class: String,
    /// Its probability, 0 to 1.
    pub probability: f32,
    /// Squares along a side.
    pub side: usize,
    /// By how much the probability falls when a square is covered with the tile's mean
    /// level, `[side, side]`, -1 to 1.
    pub drops: Vec<f32>,
}

/// Why it cannot be told.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SaliencyError {
    /// The file of the model is not at hand.
    #[error("the model that judged this tile is not at hand, so that it cannot be asked again")]
    NoModel,
    /// The model does not run.
    #[error(transparent)]
    Networks(#[from] NetworksError),
    /// The model fails.
    #[error(transparent)]
    Classify(#[from] ClassifyError),
    /// The tile cannot be read.
    #[error("the image of the tile cannot be read: {0}")]
    Image(#[from] std::io::Error),
    /// No thread can be started, or it panicked.
    #[error("the model cannot be asked: {0}")]
    Thread(String),
}

/// A model that is asked again, the last one that was.
#[derive(Default)]
pub(super) struct Asked(Mutex<Option<(String, Vec<String>, Classifier)>>);

impl Asked {
    /// Asks the model with a SHA-256 about the tile of an image file. It is taken from the
    /// run, from what is shipped, or from the models beside the record in `folder`.
    pub(super) fn about(
        &self,
        image: &Path,
        sha256: &str,
        folder: &Path,
        running: Option<&Running>,
    ) -> Result<Saliency, SaliencyError> {
        let tile = record::read_tile(image)?;
        let mut asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.as_ref().is_none_or(|(known, ..)| known != sha256) {
            *asked = Some(start(sha256, folder, running)?);
        }
        let Some((_, classes, classifier)) = asked.as_mut() else {
            return Err(SaliencyError::NoModel);
        };
        // On a thread of its own, which stands back behind the line.
        let of = || {
            cores::stand_back();
            saliency(classifier, classes, tile)
        };
        thread::scope(|scope| {
            let asking = thread::Builder::new()
                .name("millsight-saliency".into())
                .spawn_scoped(scope, of)
                .map_err(|error| SaliencyError::Thread(error.to_string()))?;
            let told = asking.join();
            told.unwrap_or_else(|_| Err(SaliencyError::Thread("it panicked".into())))
        })
    }
}

fn start(
    sha256: &str,
    folder: &Path,
    running: Option<&Running>,
) -> Result<(String, Vec<String>, Classifier), SaliencyError> {
    let of_run = running.and_then(|running| running.exchange.file(sha256));
    let shipped = || station::load_model(None, None).ok();
    let kept = || {
        // Its name is what we were told by the record.
        let is_plain = sha256.bytes().all(|byte| byte.is_ascii_hexdigit());
        let path = folder.join("models").join(format!("{sha256}.onnx"));
        let file = is_plain.then(|| std::fs::read(path).ok()).flatten()?;
        ModelFile::from_bytes(file, "the model beside the record").ok()
    };
    let is_it = |file: &ModelFile| file.sha256 == sha256;
    let file = match of_run {
        Some(file) => (*file).clone(),
        None => shipped()
            .filter(is_it)
            .or_else(|| kept().filter(is_it))
            .ok_or(SaliencyError::NoModel)?,
    };
    let (station, request) = match running {
        Some(running) => running.exchange.engine(),
        // The demonstration's thresholds are those of the model's card.
        None => {
            let station = Station::ready("demo").map_err(|_| SaliencyError::NoModel)?;
            (station, EngineRequest::default())
        }
    };
    let mut networks = networks::start_another(&station, &request, &file, 1)?.networks;
    let network = networks.pop().ok_or(SaliencyError::NoModel)?;
    let classifier = Classifier::new(network, None, station.material_detection);
    Ok((sha256.to_owned(), file.card.classes.clone(), classifier))
}

fn saliency(
    classifier: &mut Classifier,
    classes: &[String],
    mut tile: Vec<u8>,
) -> Result<Saliency, SaliencyError> {
    let judged = classifier.judge_alone(&tile)?;
    let class = judged.verdict.class;
    let probability = judged.probabilities.get(class);
    let probability = probability.copied().unwrap_or_default();
    let sum: u64 = tile.iter().map(|&level| u64::from(level)).sum();
    let mean = (sum / tile.len().max(1) as u64) as u8;
    let mut drops = Vec::with_capacity(SIDE * SIDE);
    for square in 0..SIDE * SIDE {
        let (top, left) = (square / SIDE * SQUARE, square % SIDE * SQUARE);
        let lines = (top..top + SQUARE).map(|line| line * TILE_SIZE + left);
        let mut covered = Vec::with_capacity(SQUARE * SQUARE);
        for from in lines.clone() {
            covered.extend_from_slice(&tile[from..from + SQUARE]);
            tile[from..from + SQUARE].fill(mean);
        }
        let covered_up = classifier.judge_alone(&tile)?.probabilities.get(class);
        drops.push(probability - covered_up.copied().unwrap_or_default());
        for (from, line) in lines.zip(covered.chunks_exact(SQUARE)) {
            tile[from..from + SQUARE].copy_from_slice(line);
        }
    }
    Ok(Saliency {
        class: classes.get(class).cloned().unwrap_or_default(),
        probability,
        side: SIDE,
        drops,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::testing::{CLASSES, classifier};

    #[test]
    fn what_the_verdict_hangs_on_stands_out() {
        // The model is sure of a crack but for its eleventh run, when the tenth square is
        // covered.
        let mut model = classifier(1, |run, _| match run {
            11 => vec![0.6, 0.4],
            _ => vec![0.1, 0.9],
        });
        let tile: Vec<u8> = (0..TILE_SIZE * TILE_SIZE).map(|at| at as u8).collect();
        let found = saliency(&mut model, &CLASSES.map(String::from), tile).unwrap();
        assert_eq!((found.class.as_str(), found.side), ("cracks", 8));
        for (square, drop) in found.drops.iter().enumerate() {
            let expected = if square == 9 { 0.5 } else { 0.0 };
            assert!((drop - expected).abs() < 1e-6, "{square}: {drop}");
        }
    }
}
