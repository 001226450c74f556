//! What judges tiles: the weights of a run, or a model file as the line runs it.

use std::path::Path;

use millsight_export::card::OutputKind;
use millsight_export::engine::{self, Engine, EngineIdentity, EngineRequest, embedded};
use millsight_export::labelled::{self, DEFECT};
use millsight_export::model_file::ModelFile;
use millsight_export::verdict::VerdictRule;

use super::metrics::most_probable;
use crate::TrainError;
use crate::data::table::Table;
use crate::data::tiles::{Colour, TileForm, Tiles};
use crate::machine::Machine;
use crate::model::network::Network;
use crate::model_export;
use crate::trained::Trained;

/// What judges tiles.
pub enum Judge {
    /// The weights of a run, computed by the trainer.
    Trained(Box<Trained>),
    /// A model file, computed by an engine of the runtime.
    Model(Box<Running>),
}

/// A model file on engines that have started.
pub struct Running {
    /// The file.
    pub model: ModelFile,
    /// One for each thread, at least one.
    engines: Vec<Box<dyn Engine>>,
    /// What was done otherwise than asked, for people.
    pub notices: Vec<String>,
}

impl Judge {
    /// The judge in a file: a model file where its name ends in `.onnx`, otherwise the
    /// weights of a run.
    ///
    /// # Errors
    /// When the file cannot be read, is something else, or no engine runs it.
    pub fn open(path: &Path, machine: Machine) -> Result<Self, TrainError> {
        match is_model_file(path) {
            true => Self::model(path, &EngineRequest::default(), machine),
            false => Ok(Self::Trained(Box::new(Trained::load(path)?))),
        }
    }

    /// A model file on the engine that is asked for.
    ///
    /// # Errors
    /// When the file cannot be used, or the engine does not start.
    pub fn model(
        path: &Path,
        request: &EngineRequest,
        machine: Machine,
    ) -> Result<Self, TrainError> {
        let model = ModelFile::load(path, None)?;
        let started = engine::start(&model, request, machine.workers.max(1))?;
        Ok(Self::Model(Box::new(Running {
            model,
            engines: started.engines,
            notices: started.notices,
        })))
    }

    /// The classes, in the order of the logits.
    pub fn classes(&self) -> &[String] {
        match self {
            Self::Trained(trained) => &trained.config.classes,
            Self::Model(running) => &running.model.card.classes,
        }
    }

    /// Whether it is a screen, which tells defects from none.
    pub fn is_screen(&self) -> bool {
        match self {
            Self::Trained(trained) => matches!(trained.config.network, Network::Screen(_)),
            Self::Model(running) => running.model.card.classes.iter().any(|c| c == DEFECT),
        }
    }

    /// The SHA-256 of its file in hexadecimal.
    pub fn sha256(&self) -> &str {
        match self {
            Self::Trained(trained) => &trained.sha256,
            Self::Model(running) => &running.model.sha256,
        }
    }

    /// Names the tiles of a table as it tells them apart.
    pub fn relabel(&self, table: &mut Table) {
        if self.is_screen() {
            table.unite_defects();
        }
    }

    /// In what form it takes a tile.
    pub fn form(&self) -> TileForm {
        match self {
            Self::Trained(trained) => TileForm::of(&trained.config.network, trained.config.colour),
            Self::Model(running) => {
                let input = &running.model.card.input;
                TileForm {
                    size: [input.height, input.width],
                    colour: match input.channels {
                        1 => Colour::Grey,
                        _ => Colour::Rgb,
                    },
                }
            }
        }
    }

    /// Logits of tiles, `[tiles, classes]`, row-major; where a model file gives
    /// probabilities, their logarithms, of which they are the softmax. `seen` is told
    /// again and again how many tiles were judged since.
    ///
    /// # Errors
    /// When a tile cannot be read, or device or engine fails.
    pub fn logits(
        &mut self,
        tiles: &Tiles,
        machine: Machine,
        seen: impl FnMut(usize),
    ) -> Result<Vec<f32>, TrainError> {
        match self {
            Self::Trained(trained) => super::logits(trained, tiles, machine, seen),
            Self::Model(running) => running.logits(tiles, seen),
        }
    }

    /// The class of each tile by its logits: the largest, or what the thresholds of
    /// a model file say.
    ///
    /// # Errors
    /// When the card of a model file names no class for clean tiles.
    pub fn verdicts(&self, logits: &[f32]) -> Result<Vec<usize>, TrainError> {
        let classes = self.classes();
        let card = match self {
            Self::Model(running) if !running.model.card.thresholds.is_empty() => {
                &running.model.card
            }
            _ => return Ok(most_probable(logits, classes.len())),
        };
        let temperature = card.calibration.as_ref().map_or(1.0, |it| it.temperature);
        let rule = VerdictRule::new(classes, OutputKind::Logits, temperature, &card.thresholds);
        let rule = rule.ok_or_else(|| TrainError::NoCleanClass {
            classes: classes.to_vec(),
        })?;
        let tiles = logits.chunks_exact(classes.len());
        Ok(tiles
            .map(|scores| rule.judge(&mut scores.to_vec()).class)
            .collect())
    }

    /// Multiplications, each with an addition, for one tile on the line.
    ///
    /// # Errors
    /// When the network cannot be written or read as a graph.
    pub fn multiply_adds(&self) -> Result<u64, TrainError> {
        match self {
            Self::Trained(trained) => model_export::multiply_adds(trained),
            Self::Model(running) => Ok(embedded::multiply_adds(&running.model)?),
        }
    }
}

impl Running {
    /// What runs the model.
    pub fn engine(&self) -> &EngineIdentity {
        self.engines[0].identity()
    }

    fn logits(
        &mut self,
        tiles: &Tiles,
        mut seen: impl FnMut(usize),
    ) -> Result<Vec<f32>, TrainError> {
        let files: Vec<&Path> = tiles.files().iter().map(|file| file.as_path()).collect();
        let mut all = Vec::new();
        let (model, engines) = (&self.model, &mut self.engines);
        for files in files.chunks(engines.len() * super::BATCH) {
            let parts = std::thread::scope(|scope| {
                let share = files.len().div_ceil(engines.len());
                let running: Vec<_> = engines
                    .iter_mut()
                    .zip(files.chunks(share))
                    .map(|(engine, files)| {
                        scope.spawn(move || labelled::scores(engine.as_mut(), model, files))
                    })
                    .collect();
                let joined = running.into_iter().map(|thread| {
                    let panicked = |panic| std::panic::resume_unwind(panic);
                    thread.join().unwrap_or_else(panicked)
                });
                joined.collect::<Result<Vec<_>, _>>()
            })?;
            all.extend(parts.into_iter().flatten());
            seen(files.len());
        }
        if model.card.output.kind == OutputKind::Probabilities {
            for score in &mut all {
                *score = score.max(f32::MIN_POSITIVE).ln();
            }
        }
        Ok(all)
    }
}

/// Whether a file is a model file, by its name.
pub fn is_model_file(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension == "onnx")
}
