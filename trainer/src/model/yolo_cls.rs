//! A convolutional classifier in the manner of YOLOv8-cls, size n, with the
//! parameter names of Ultralytics; [`millsight_export::graph::yolo_cls`] has its
//! plan.

pub mod layers;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use millsight_export::graph::YoloClsSpec;
use millsight_export::graph::yolo_cls::{BODY_CHANNELS, HEAD_CHANNELS, STAGES, Stage as Plan};
use millsight_export::weights::NamedArrays;

use super::convolution::{Convolution, Norming, Statistics};
use super::layers::Linear;
use super::{ModelError, parameters};
use layers::{C2f, activated};

/// The network; the fields are named as Ultralytics' parameters.
#[derive(Module, Debug)]
pub struct YoloCls {
    /// The stages of the body and the classify head.
    pub model: Vec<Stage>,
}

/// A stage.
#[derive(Module, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "a network has ten of them, and burn has no boxed modules"
)]
pub enum Stage {
    /// A convolution that halves the image.
    Halving(Convolution),
    /// A C2f block.
    C2f(C2f),
    /// The head.
    Classify(Classify),
}

/// Features -> logits.
#[derive(Module, Debug)]
pub struct Classify {
    /// 1x1 convolution.
    pub conv: Convolution,
    /// Mean over the image -> logits.
    pub linear: Linear,
}

impl YoloCls {
    /// A network of the given sizes, filled from named weights.
    ///
    /// On a device with autodiff every parameter but the statistics of the
    /// batch norms requires a gradient.
    ///
    /// # Errors
    /// When the sizes do not fit one another, or the weights lack a parameter,
    /// have one too many or one of another shape.
    pub fn from_weights(
        spec: &YoloClsSpec,
        weights: &NamedArrays,
        device: &Device,
    ) -> Result<Self, ModelError> {
        spec.check()?;
        let stage = |plan| match plan {
            Plan::Halving { inputs, outputs } => {
                Stage::Halving(Convolution::new(inputs, outputs, 3, 2, device))
            }
            Plan::C2f { channels, repeats } => Stage::C2f(C2f::new(channels, repeats, device)),
        };
        let head = Stage::Classify(Classify {
            conv: Convolution::new(BODY_CHANNELS, HEAD_CHANNELS, 1, 1, device),
            linear: Linear::new(HEAD_CHANNELS, spec.classes, true, device),
        });
        let model = STAGES.into_iter().map(stage).chain([head]).collect();
        parameters::fill(Self { model }, weights)
    }

    /// Normalised images `[n, 3, height, width]` -> logits `[n, classes]`,
    /// normed with the statistics that training has gathered.
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        self.run(images, &mut Norming::Gathered)
    }

    /// As [`YoloCls::forward`], normed with the statistics of these images,
    /// which come with the logits: one for each batch norm on the way.
    ///
    /// One image alone has none, as its last features may be single pixels: it
    /// is normed with the gathered ones.
    pub fn forward_training(&self, images: Tensor<4>) -> (Tensor<2>, Vec<Statistics>) {
        if images.dims()[0] < 2 {
            return (self.forward(images), Vec::new());
        }
        let mut norming = Norming::OfBatch(Vec::new());
        let logits = self.run(images, &mut norming);
        (logits, norming.into_statistics())
    }

    fn run(&self, images: Tensor<4>, norming: &mut Norming) -> Tensor<2> {
        let mut x = images;
        for stage in &self.model {
            x = match stage {
                Stage::Halving(convolution) => activated(convolution, x, norming),
                Stage::C2f(block) => block.forward(x, norming),
                Stage::Classify(head) => {
                    let features = activated(&head.conv, x, norming);
                    let [n, channels, _, _] = features.dims();
                    let pooled = features.mean_dim(3).mean_dim(2).reshape([n, channels]);
                    return head.linear.forward(pooled);
                }
            };
        }
        // The last stage is the head.
        let [n, channels, height, width] = x.dims();
        x.reshape([n, channels * height * width])
    }

    /// Moves the gathered statistics towards those of a batch, which
    /// [`YoloCls::forward_training`] gave: by the share `momentum`. Without any
    /// they stay.
    #[must_use]
    pub fn gather(mut self, statistics: Vec<Statistics>, momentum: f64) -> Self {
        let mut statistics = statistics.into_iter();
        for stage in &mut self.model {
            match stage {
                Stage::Halving(convolution) => convolution.gather(&mut statistics, momentum),
                Stage::C2f(block) => block.gather(&mut statistics, momentum),
                Stage::Classify(head) => head.conv.gather(&mut statistics, momentum),
            }
        }
        self
    }
}

#[cfg(test)]
mod tests;
