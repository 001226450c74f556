//! The network that pretraining is for: a Vision Transformer without a head.

use millsight_export::graph::VitSpec;
use millsight_export::weights::NamedArrays;

use crate::TrainError;
use crate::run::config::RunConfig;
use crate::training::{Event, beginning};
use crate::weights::initialise::Adoption;

const HEAD: &str = "head.";

/// Replaces initial weights of a backbone by those of the file that the run
/// begins with, as far as they fit; `weights` may hold more than the backbone.
///
/// # Errors
/// When the file cannot be read or does not fit.
pub fn begin(
    weights: &mut NamedArrays,
    network: &VitSpec,
    config: &RunConfig,
    observe: &mut impl FnMut(Event<'_>),
) -> Result<(), TrainError> {
    let without_head = |adoption: &mut Adoption| {
        adoption.leave_out_head();
        adoption.missing.retain(|name| !name.starts_with(HEAD));
    };
    beginning::adopt(weights, network, config, without_head, observe)?;
    for name in ["head.weight", "head.bias"] {
        weights.remove(name);
    }
    Ok(())
}
