//! A small convolutional network that looks at every tile;
//! [`millsight_export::graph::screen`] has its plan.

use burn::module::Module;
use burn::tensor::{Device, Tensor, activation};
use millsight_export::graph::ScreenSpec;
use millsight_export::weights::NamedArrays;

use super::convolution::{Convolution, Norming, Statistics};
use super::layers::Linear;
use super::{ModelError, parameters};

/// The network.
#[derive(Module, Debug)]
pub struct Screen {
    /// Filters as large as their stride.
    pub stem: Convolution,
    /// 3x3 convolutions that halve the image.
    pub halvings: Vec<Convolution>,
    /// Maxima and means of the last features -> logits.
    pub head: Linear,
}

impl Screen {
    /// A network of the given sizes, filled from named weights.
    ///
    /// On a device with autodiff every parameter but the statistics of the
    /// batch norms requires a gradient.
    ///
    /// # Errors
    /// When the sizes do not fit one another, or the weights lack a parameter,
    /// have one too many or one of another shape.
    pub fn from_weights(
        spec: &ScreenSpec,
        weights: &NamedArrays,
        device: &Device,
    ) -> Result<Self, ModelError> {
        spec.check()?;
        let halving = |widths: &[usize]| Convolution::new(widths[0], widths[1], 3, 2, device);
        let network = Self {
            stem: Convolution::new(3, spec.widths[0], spec.stem, spec.stem, device),
            halvings: spec.widths.windows(2).map(halving).collect(),
            head: Linear::new(2 * spec.features(), spec.classes, true, device),
        };
        parameters::fill(network, weights)
    }

    /// Normalised images `[n, 3, height, width]` -> logits `[n, classes]`,
    /// normed with the statistics that training has gathered.
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        self.run(images, &mut Norming::Gathered)
    }

    /// As [`Screen::forward`], normed with the statistics of these images, which
    /// come with the logits: one for each batch norm on the way.
    pub fn forward_training(&self, images: Tensor<4>) -> (Tensor<2>, Vec<Statistics>) {
        let mut norming = Norming::OfBatch(Vec::new());
        let logits = self.run(images, &mut norming);
        (logits, norming.into_statistics())
    }

    fn run(&self, images: Tensor<4>, norming: &mut Norming) -> Tensor<2> {
        let mut x = activation::relu(self.stem.forward(images, norming));
        for halving in &self.halvings {
            x = activation::relu(halving.forward(x, norming));
        }
        let [n, channels, height, width] = x.dims();
        let x = x.reshape([n, channels, height * width]);
        let maxima = x.clone().max_dim(2).reshape([n, channels]);
        let means = x.mean_dim(2).reshape([n, channels]);
        self.head.forward(Tensor::cat(vec![maxima, means], 1))
    }

    /// Moves the gathered statistics towards those of a batch, which
    /// [`Screen::forward_training`] gave: by the share `momentum`. Without any
    /// they stay.
    #[must_use]
    pub fn gather(mut self, statistics: Vec<Statistics>, momentum: f64) -> Self {
        let mut statistics = statistics.into_iter();
        self.stem.gather(&mut statistics, momentum);
        for halving in &mut self.halvings {
            halving.gather(&mut statistics, momentum);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use burn::tensor::TensorData;

    use super::*;
    use crate::model::convolution::initial;
    use crate::model::parameters::{read, shapes, to_vec};
    use crate::optimise::gradients;
    use crate::optimise::workers::Workers;

    fn spec() -> ScreenSpec {
        ScreenSpec {
            image_height: 32,
            image_width: 64,
            stem: 4,
            widths: vec![6, 8, 10],
            classes: 2,
        }
    }

    fn network(device: &Device) -> Screen {
        let weights = initial(spec().parameters(), 1).unwrap();
        let network = Screen::from_weights(&spec(), &weights, device).unwrap();
        assert_eq!(read(&network).unwrap(), weights);
        network
    }

    fn images(n: usize, device: &Device) -> Tensor<4> {
        let shape = [n, 3, 32, 64];
        let data: Vec<f32> = (0..shape.iter().product::<usize>())
            .map(|at| (at * 37 % 101) as f32 / 50.0 - 1.0)
            .collect();
        Tensor::from_data(TensorData::new(data, shape), device)
    }

    #[test]
    fn gathered_statistics_become_those_of_the_batch() {
        let device = Device::flex().autodiff();
        let network = network(&device);
        let (logits, statistics) = network.forward_training(images(8, &device));
        assert_eq!(logits.dims(), [8, 2]);
        assert_eq!(statistics.len(), 3);
        let trained = to_vec(logits.inner(), "logits").unwrap();
        let network = network.gather(statistics, 1.0);
        let evaluated = network.forward(images(8, &device)).inner();
        let evaluated = to_vec(evaluated, "logits").unwrap();
        for (trained, evaluated) in trained.iter().zip(&evaluated) {
            // Biased and unbiased variance differ a little.
            assert!((trained - evaluated).abs() < 0.05, "{trained} {evaluated}");
        }
    }

    #[test]
    fn every_parameter_but_the_statistics_has_a_gradient() {
        let device = Device::flex().autodiff();
        let network = network(&device);
        let workers = Workers::new(1).unwrap();
        let loss = |network: &Screen, _: usize, _: &Device| {
            let (logits, _) = network.forward_training(images(2, &device));
            logits.square().sum()
        };
        let (_, gradients) = gradients::summed(&network, &workers, 1, loss).unwrap();
        for ((name, _), gradient) in shapes(&network).iter().zip(gradients) {
            assert_eq!(gradient.is_none(), name.contains("running_"), "{name}");
        }
    }

    /// A spot as small as the stem's filters is not averaged away.
    #[test]
    fn a_small_spot_reaches_the_head() {
        let device = Device::flex();
        let weights = initial(spec().parameters(), 1).unwrap();
        let network = Screen::from_weights(&spec(), &weights, &device).unwrap();
        let clean = Tensor::zeros([1, 3, 32, 64], &device);
        let spot = Tensor::<4>::full([1, 3, 4, 4], 40.0, &device);
        let marked = clean
            .clone()
            .slice_assign([0..1, 0..3, 12..16, 20..24], spot);
        let logits = |x: Tensor<4>| to_vec(network.forward(x), "logits").unwrap();
        let apart = logits(marked)
            .iter()
            .zip(logits(clean))
            .map(|(marked, clean)| (marked - clean).abs())
            .fold(0.0, f32::max);
        assert!(apart > 0.1, "{apart}");
    }
}
