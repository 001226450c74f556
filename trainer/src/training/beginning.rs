//! The weights that a run begins with.

use millsight_export::graph::VitSpec;
use millsight_export::weights::NamedArrays;

use super::Event;
use crate::TrainError;
use crate::run::config::RunConfig;
use crate::weights::backbone::Backbone;
use crate::weights::initialise::{self, Adoption};

/// Replaces initial weights of a network by those of the file that the run
/// begins with, as far as they fit. What became of them is told, once `amend`
/// has taken out what does not matter.
///
/// # Errors
/// When the file cannot be read or does not fit.
pub(crate) fn adopt(
    weights: &mut NamedArrays,
    network: &VitSpec,
    config: &RunConfig,
    amend: impl FnOnce(&mut Adoption),
    observe: &mut impl FnMut(Event<'_>),
) -> Result<(), TrainError> {
    let Some(file) = &config.initial_weights else {
        return Ok(());
    };
    let mut adoption = {
        let backbone = Backbone::open(file.unchanged()?)?;
        initialise::adopt(weights, network, &config.classes, &backbone)?
    };
    amend(&mut adoption);
    observe(Event::Initialised {
        file: &file.path,
        adoption: &adoption,
    });
    Ok(())
}
