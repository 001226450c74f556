//! The loop over epochs and steps that all methods share: order of the tiles,
//! checkpoints, log, and the watch over the loss.
//!
//! A method ([`Method`]) says what a step does with a batch and what is looked
//! at after an epoch. Whatever it needs to go on after a crash it puts into the
//! [`checkpoint`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use millsight_export::weights::NamedArrays;

use crate::TrainError;
use crate::data::batches::{Batch, Pass, View, for_each};
use crate::data::tiles::Tiles;
use crate::machine::Machine;
use crate::run::config::RunConfig;
use crate::run::folder::RunFolder;
use crate::run::log::{EpochRecord, Figures};
use crate::run::tensorboard::EventFile;
use crate::trained::Trained;
use crate::weights::initialise::Adoption;
use checkpoint::{Checkpoint, Position};

pub(crate) mod beginning;
pub mod checkpoint;
pub(crate) mod parts;

/// Where a step stands in its run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// The epoch, counted from 0.
    pub epoch: usize,
    /// The step in its epoch, counted from 0.
    pub step: usize,
    /// Steps of an epoch.
    pub steps_per_epoch: usize,
}

impl Moment {
    /// The step in its run, counted from 0.
    pub fn overall(self) -> usize {
        self.epoch * self.steps_per_epoch + self.step
    }
}

/// What a step has come to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StepFigures {
    /// Loss of the batch.
    pub loss: f64,
    /// The step's learning rate.
    pub rate: f64,
    /// More figures, whose means over the epoch go into the log.
    pub means: Vec<(&'static str, f64)>,
}

/// What an epoch ends with.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EpochEnd {
    /// Figures for the log.
    pub figures: Figures,
    /// What the best weights are best in, the more the better. Without it the
    /// weights of every epoch replace those of the one before.
    pub score: Option<f64>,
    /// Whether the run ends here.
    pub stop: bool,
}

/// One way to train.
pub trait Method {
    /// What is made of each tile.
    fn views(&self) -> &[View];

    /// Which tiles come in an epoch, in which order.
    fn order(&self, epoch: usize) -> Vec<usize>;

    /// One step of the optimiser.
    ///
    /// # Errors
    /// When the device fails.
    fn step(&mut self, batch: &Batch, moment: Moment) -> Result<StepFigures, TrainError>;

    /// What is looked at after an epoch, counted from 0. `position` knows the
    /// best epoch so far.
    ///
    /// # Errors
    /// When a tile cannot be read or the device fails.
    fn end_epoch(
        &mut self,
        epoch: usize,
        position: &Position,
        observe: &mut dyn FnMut(Event<'_>),
    ) -> Result<EpochEnd, TrainError>;

    /// Everything that the next step depends on, for a checkpoint.
    ///
    /// # Errors
    /// When the device does not give it.
    fn save(&self) -> Result<NamedArrays, TrainError>;

    /// Takes what [`Method::save`] gave.
    ///
    /// # Errors
    /// When something is missing or of another shape.
    fn restore(&mut self, arrays: &NamedArrays) -> Result<(), TrainError>;

    /// The weights that the run is for, with timm's or Ultralytics' names.
    ///
    /// # Errors
    /// When the device does not give them.
    fn weights(&self) -> Result<NamedArrays, TrainError>;

    /// The file that they are written to.
    fn weights_file(&self, run: &RunFolder) -> PathBuf;
}

/// What happens during a run, for whoever shows it.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// The network begins with the weights of a file.
    Initialised {
        /// The file.
        file: &'a Path,
        /// What fitted and what did not.
        adoption: &'a Adoption,
    },
    /// An epoch begins.
    Epoch {
        /// Counted from 1.
        epoch: usize,
        /// Tiles to come.
        tiles: usize,
        /// Tiles of a whole epoch; more than are to come when the run goes on
        /// in the middle of one.
        of: usize,
    },
    /// A step of the optimiser is done.
    Step {
        /// Tiles in the batch.
        tiles: usize,
        /// Loss of the batch.
        loss: f64,
    },
    /// A batch of the validation part is done.
    Validated {
        /// Tiles in the batch.
        tiles: usize,
    },
    /// Features of tiles are computed, once for the whole run.
    Features {
        /// Tiles that are done.
        done: usize,
        /// All tiles.
        of: usize,
    },
    /// A classifier looks at the tiles from which a screen learns.
    Teacher {
        /// Tiles that are done.
        done: usize,
        /// All tiles.
        of: usize,
    },
    /// The run is over, and its best weights look at the validation part once
    /// more.
    Best {
        /// Tiles of that part.
        tiles: usize,
    },
    /// Something that whoever trains should know.
    Warning(&'a str),
    /// An epoch is complete and its checkpoint written.
    Complete {
        /// What the log says.
        record: &'a EpochRecord,
        /// Whether it is the best so far.
        best: bool,
    },
}

/// Trains from the first step to the last, or from the checkpoint when the
/// folder has one, and says where the run stands at the end. The caller holds
/// the run's lock.
///
/// # Errors
/// When a tile cannot be read, the loss is no number any more, or a file
/// cannot be written. The last checkpoint is then intact.
pub fn train(
    run: &RunFolder,
    config: &RunConfig,
    machine: Machine,
    tiles: &Tiles,
    method: &mut impl Method,
    checkpoint: Option<Checkpoint>,
    observe: &mut dyn FnMut(Event<'_>),
) -> Result<Position, TrainError> {
    let mut position = Position::default();
    if let Some(checkpoint) = checkpoint {
        method
            .restore(&checkpoint.arrays)
            .map_err(|error| checkpoint::misfit(&run.last(), error))?;
        position = checkpoint.position;
    }
    run.log().cut(position.epochs)?;
    let mut events = None;
    let loaders = machine.loaders()?;
    while position.epochs < config.epochs && !position.stopped {
        let begin = Instant::now();
        let epoch = position.epochs;
        let order = method.order(epoch);
        let steps_per_epoch = order.len().div_ceil(config.batch_size);
        let skipped = position.steps;
        let ahead = order.len().saturating_sub(skipped * config.batch_size);
        observe(Event::Epoch {
            epoch: epoch + 1,
            tiles: ahead,
            of: order.len(),
        });
        let first = epoch * steps_per_epoch + skipped;
        let events = match &mut events {
            Some(events) => events,
            none => none.insert(EventFile::create(run.path(), first)?),
        };
        let views = method.views().to_vec();
        let pass = Pass {
            tiles,
            order: &order,
            skip: skipped,
            batch_size: config.batch_size,
            views: &views,
            seed: config.seed,
            epoch,
        };
        let mut rate = 0.0;
        for_each(pass, &loaders, |batch| -> Result<(), TrainError> {
            let moment = Moment {
                epoch,
                step: position.steps,
                steps_per_epoch,
            };
            let figures = method.step(&batch, moment)?;
            position.steps += 1;
            check_finite("the loss", figures.loss, run, &position)?;
            for (name, value) in &figures.means {
                check_finite(name, *value, run, &position)?;
            }
            rate = figures.rate;
            let names = [("step/loss", figures.loss), ("step/learning_rate", rate)];
            events.add(moment.overall(), names)?;
            add(&mut position.sums, "train_loss", figures.loss);
            for (name, value) in figures.means {
                add(&mut position.sums, name, value);
            }
            observe(Event::Step {
                tiles: batch.labels.len(),
                loss: figures.loss,
            });
            // No number but 0 is a multiple of 0.
            if position.steps.is_multiple_of(machine.checkpoint_steps)
                && position.steps < steps_per_epoch
            {
                save(run, sound_arrays(method, run, &position)?, &position)?;
            }
            Ok(())
        })?;
        let seconds_of_steps = begin.elapsed().as_secs_f64();
        let end = method.end_epoch(epoch, &position, observe)?;
        for (name, value) in &end.figures {
            check_finite(name, *value, run, &position)?;
        }
        let arrays = sound_arrays(method, run, &position)?;
        let best = match end.score {
            Some(score) => position.best_epoch == 0 || score > position.best_score,
            None => true,
        };
        if best {
            position.best_epoch = epoch + 1;
            position.best_score = end.score.unwrap_or_default();
            let file = method.weights_file(run);
            Trained::save(&file, config, method.weights()?)
                .map_err(|error| checkpoint::not_written(error, &run.last()))?;
        }
        let mut figures = end.figures;
        figures.insert("learning_rate".into(), rate);
        for (name, sum) in &position.sums {
            figures.insert(name.clone(), f64::from_bits(*sum) / position.steps as f64);
        }
        let record = EpochRecord {
            epoch: epoch + 1,
            steps: epoch * steps_per_epoch + position.steps,
            images_per_second: ahead as f64 / seconds_of_steps,
            seconds: begin.elapsed().as_secs_f64(),
            figures,
        };
        position = Position {
            epochs: epoch + 1,
            steps: 0,
            sums: BTreeMap::new(),
            stopped: end.stop,
            ..position
        };
        run.log().append(&record)?;
        let tags: Vec<(String, f64)> = record
            .figures
            .iter()
            .map(|(name, value)| (format!("epoch/{name}"), *value))
            .collect();
        // With the last step: a run that goes on after it makes TensorBoard
        // forget all that is said of later ones.
        events.add(
            record.steps - 1,
            tags.iter().map(|(tag, value)| (tag.as_str(), *value)),
        )?;
        save(run, arrays, &position)?;
        observe(Event::Complete {
            record: &record,
            best: best && end.score.is_some(),
        });
    }
    Ok(position)
}

/// What a checkpoint holds of a method. The last step may have spoilt what its
/// own loss does not show yet, and that must not replace a good checkpoint.
fn sound_arrays(
    method: &impl Method,
    run: &RunFolder,
    position: &Position,
) -> Result<NamedArrays, TrainError> {
    let arrays = method.save()?;
    for (name, array) in arrays.iter() {
        if let Some(value) = array.data.iter().find(|value| !value.is_finite()) {
            let what = format!("an element of {name}");
            check_finite(&what, f64::from(*value), run, position)?;
        }
    }
    Ok(arrays)
}

fn save(run: &RunFolder, arrays: NamedArrays, position: &Position) -> Result<(), TrainError> {
    let checkpoint = Checkpoint {
        arrays,
        position: position.clone(),
    };
    checkpoint.save(&run.last())
}

fn add(sums: &mut BTreeMap<String, u64>, name: &str, value: f64) {
    let sum = sums.get(name).map_or(0.0, |sum| f64::from_bits(*sum));
    sums.insert(name.to_owned(), (sum + value).to_bits());
}

/// Refuses what is not finite; `position` has the step that is to blame as its
/// last.
fn check_finite(
    what: &str,
    value: f64,
    run: &RunFolder,
    position: &Position,
) -> Result<(), TrainError> {
    if value.is_finite() {
        return Ok(());
    }
    Err(TrainError::NotFinite {
        what: what.to_owned(),
        value,
        epoch: position.epochs + 1,
        step: position.steps,
        checkpoint: Some(run.last()).filter(|path| path.exists()),
    })
}
