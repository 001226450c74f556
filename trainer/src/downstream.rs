//! Training a classifier on labelled tiles.
//!
//! * [`supervised`]: what fine-tuning and probing have in common.
//! * [`finetune`]: a whole network learns the classes.
//! * [`probe`]: a linear layer learns them from what a frozen network gives.
//! * [`features`]: what the frozen network gives, computed once.
//! * [`batch_norm`]: normalisation of those features, if wished.
//! * [`class_weights`]: against the imbalance of the classes.
//! * [`distillation`]: a screen learns from a classifier as well.
//! * [`loss`]: weighted cross-entropy and focal loss.

use std::cell::RefCell;

use crate::TrainError;
use crate::data::table::Split;
use crate::evaluate::judge::Judge;
use crate::evaluate::{Source, evaluate, misclassified};
use crate::machine::Machine;
use crate::run::config::{Method, RunConfig};
use crate::run::folder::RunFolder;
use crate::training::Event;
use crate::training::checkpoint::Position;

pub mod batch_norm;
pub mod class_weights;
pub mod distillation;
pub mod features;
pub mod finetune;
pub mod loss;
pub mod probe;
pub mod supervised;

/// Trains a classifier from the first epoch to the last, or from the last
/// checkpoint when the folder has one, and says where the run stands at the
/// end. Afterwards the folder holds what the best weights say of the
/// validation part, and which of its tiles they take for another class.
///
/// # Errors
/// When settings or data do not fit, a tile cannot be read, the loss is no
/// number any more, or a file cannot be written. The last checkpoint is then
/// intact.
pub fn train(
    run: &RunFolder,
    config: &RunConfig,
    machine: Machine,
    mut observe: impl FnMut(Event<'_>),
) -> Result<Position, TrainError> {
    check(config)?;
    let _lock = run.lock()?;
    let position = match &config.method {
        Method::Finetune(recipe) => finetune::train(run, config, recipe, machine, &mut observe)?,
        Method::Probe(recipe) => probe::train(run, config, recipe, machine, &mut observe)?,
        Method::Mae(_) | Method::Dino(_) => {
            return Err(TrainError::OtherMethod {
                path: run.path().to_path_buf(),
                command: config.method.command(),
            });
        }
    };
    describe(run, config, machine, &mut observe)?;
    Ok(position)
}

/// Refuses settings that are out of range or do not fit one another, before a
/// folder is made.
///
/// # Errors
/// With the option's name.
pub fn check(config: &RunConfig) -> Result<(), TrainError> {
    config.check()?;
    match &config.method {
        Method::Finetune(recipe) => finetune::check(config, recipe),
        Method::Probe(recipe) => probe::check(config, recipe),
        Method::Mae(_) | Method::Dino(_) => Ok(()),
    }
}

/// Writes what the best weights say of the validation part.
fn describe(
    run: &RunFolder,
    config: &RunConfig,
    machine: Machine,
    observe: &mut impl FnMut(Event<'_>),
) -> Result<(), TrainError> {
    let mut judge = Judge::open(&run.best(), machine)?;
    let source = Source {
        table: config.table.clone(),
        data_root: config.data_root.clone(),
        split: Split::Val,
    };
    let observe = RefCell::new(observe);
    let evaluation = evaluate(
        &mut judge,
        &source,
        machine,
        |tiles| (observe.borrow_mut())(Event::Best { tiles }),
        |tiles| (observe.borrow_mut())(Event::Validated { tiles }),
    )?;
    evaluation.write_predictions(&run.predictions(), &config.classes)?;
    evaluation.report.save(&run.evaluation(Split::Val.name()))?;
    misclassified::write(run.path(), &evaluation, &config.classes, &source.data_root)?;
    Ok(())
}
