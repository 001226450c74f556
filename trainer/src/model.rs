//! Networks in burn: Vision Transformers with the parameter names of timm, a
//! convolutional network with those of Ultralytics, and a screen.
//!
//! * [`network`]: which network, with its sizes.
//! * [`classifier`]: a classifier of any architecture.
//! * [`presets`]: sizes of Vision Transformers under their customary names.
//! * [`vit`]: the Vision Transformer.
//! * [`layers`]: its parts.
//! * [`patches`]: images <-> the pixels of their patches.
//! * [`mae`]: the masked autoencoder around it.
//! * [`parameters`]: a network's parameters by name, in and out.
//! * [`dino`]: a backbone with DINO's projection head.
//! * [`drop_path`]: stochastic depth.
//! * [`initial`]: weights to start from.
//! * [`precision`]: the number format in which a network learns.
//! * [`convolution`]: convolutions with batch norms.
//! * [`yolo_cls`]: a convolutional network, to compare with.
//! * [`screen`]: a small one that looks at every tile.
//! * [`pixels`]: prepared tiles -> normalised input, on the device.

pub mod classifier;
pub mod convolution;
pub mod dino;
pub mod drop_path;
pub mod initial;
pub mod layers;
pub mod mae;
pub mod network;
pub mod parameters;
pub mod patches;
pub mod pixels;
pub mod precision;
pub mod presets;
pub mod screen;
pub mod vit;
pub mod yolo_cls;

/// Why a network could not be built or filled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// Sizes that do not fit one another.
    #[error(transparent)]
    Sizes(#[from] millsight_export::graph::GraphError),
    /// Sizes of a masked autoencoder's decoder that do not fit one another.
    #[error("the decoder: {0}")]
    Decoder(millsight_export::graph::GraphError),
    /// Positions of sines and cosines for a width that they do not fit.
    #[error("the {what} is {width}, but positions of sines and cosines need a multiple of 4")]
    PositionWidth {
        /// Whose width.
        what: &'static str,
        /// The width.
        width: usize,
    },
    /// Weights whose names are not those of the network.
    #[error(
        "the weights do not fit the network{}{}",
        list("; missing: ", missing),
        list("; unknown: ", unknown)
    )]
    Names {
        /// Parameters of the network that the weights lack.
        missing: Vec<String>,
        /// Weights that the network does not have.
        unknown: Vec<String>,
    },
    /// A weight of another shape than the parameter.
    #[error("the weight {name} has the shape {got:?}, but the network needs {expected:?}")]
    Shape {
        /// Name of the parameter.
        name: String,
        /// Shape of the weight.
        got: Vec<usize>,
        /// Shape of the parameter.
        expected: Vec<usize>,
    },
    /// The device did not give its numbers back.
    #[error("cannot read {what} from the device: {reason}")]
    Device {
        /// What was read.
        what: String,
        /// What the backend said.
        reason: String,
    },
    /// Named arrays that contradict themselves.
    #[error(transparent)]
    Weights(#[from] millsight_export::weights::WeightsError),
}

fn list(title: &str, names: &[String]) -> String {
    if names.is_empty() {
        String::new()
    } else {
        format!("{title}{}", names.join(", "))
    }
}
