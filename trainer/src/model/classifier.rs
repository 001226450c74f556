//! A classifier of any architecture.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use millsight_export::weights::NamedArrays;

use super::ModelError;
use super::convolution::{Statistics, momentum};
use super::drop_path::Factors;
use super::network::Network;
use super::screen::Screen;
use super::vit::Vit;
use super::yolo_cls::YoloCls;

/// A classifier; its parameters are named as those of the network in it.
#[derive(Module, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "a run has one of them, and burn has no boxed modules"
)]
pub enum Classifier {
    /// A Vision Transformer.
    Vit(Vit),
    /// A convolutional network.
    YoloCls(YoloCls),
    /// A small convolutional network.
    Screen(Screen),
}

impl Classifier {
    /// A network filled from named weights.
    ///
    /// # Errors
    /// When the sizes do not fit one another, or the weights lack a parameter,
    /// have one too many or one of another shape.
    pub fn from_weights(
        network: &Network,
        weights: &NamedArrays,
        device: &Device,
    ) -> Result<Self, ModelError> {
        Ok(match network {
            Network::Vit(spec) => Self::Vit(Vit::from_weights(spec, weights, device)?),
            Network::YoloCls(spec) => Self::YoloCls(YoloCls::from_weights(spec, weights, device)?),
            Network::Screen(spec) => Self::Screen(Screen::from_weights(spec, weights, device)?),
        })
    }

    /// Normalised images `[n, 3, height, width]` -> logits `[n, classes]`.
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        match self {
            Self::Vit(network) => network.forward(images),
            Self::YoloCls(network) => network.forward(images),
            Self::Screen(network) => network.forward(images),
        }
    }

    /// As [`Classifier::forward`], while the network learns: the branches of a
    /// Vision Transformer are multiplied by `factors`, and batch norms work with
    /// the statistics of these images, which come with the logits.
    pub fn forward_training(
        &self,
        images: Tensor<4>,
        factors: Option<&Factors>,
    ) -> (Tensor<2>, Vec<Statistics>) {
        match self {
            Self::Vit(network) => (network.forward_dropping(images, factors), Vec::new()),
            Self::YoloCls(network) => network.forward_training(images),
            Self::Screen(network) => network.forward_training(images),
        }
    }

    /// Takes the statistics that [`Classifier::forward_training`] gave for the
    /// shards of a batch, with their numbers of images, in the step of the run
    /// that is counted from 0.
    #[must_use]
    pub fn gather(self, shards: &[(usize, Vec<Statistics>)], step: usize) -> Self {
        match self {
            Self::Vit(network) => Self::Vit(network),
            Self::YoloCls(network) => {
                let statistics = Statistics::of_batch(shards);
                Self::YoloCls(network.gather(statistics, momentum(step)))
            }
            Self::Screen(network) => {
                let statistics = Statistics::of_batch(shards);
                Self::Screen(network.gather(statistics, momentum(step)))
            }
        }
    }
}
