//! Learning from tiles without their labels.
//!
//! * `backbone`: the network that it is for, and what that begins with.
//! * [`dino`]: a student learns to predict a teacher that follows it.
//! * [`masking`]: which patches a masked autoencoder sees.
//! * [`mae`]: the masked autoencoder.

use crate::TrainError;
use crate::machine::Machine;
use crate::run::config::{Method, RunConfig};
use crate::run::folder::RunFolder;
use crate::training::Event;
use crate::training::checkpoint::Position;

pub(crate) mod backbone;
pub mod dino;
pub mod mae;
pub mod masking;

/// Pretrains a backbone from the first epoch to the last, or from the last
/// checkpoint when the folder has one, and says where the run stands at the
/// end.
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
    match &config.method {
        Method::Mae(recipe) => mae::train(run, config, recipe, machine, &mut observe),
        Method::Dino(recipe) => dino::train(run, config, recipe, machine, &mut observe),
        Method::Finetune(_) | Method::Probe(_) => Err(TrainError::OtherMethod {
            path: run.path().to_path_buf(),
            command: config.method.command(),
        }),
    }
}

/// Refuses settings that are out of range or do not fit one another, before a
/// folder is made.
///
/// # Errors
/// With the option's name.
pub fn check(config: &RunConfig) -> Result<(), TrainError> {
    config.check()?;
    match &config.method {
        Method::Mae(recipe) => mae::check(config, recipe),
        Method::Dino(recipe) => recipe.check(config),
        Method::Finetune(_) | Method::Probe(_) => Ok(()),
    }
}
