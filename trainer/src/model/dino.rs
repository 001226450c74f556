//! A backbone with DINO's projection head (Caron et al., "Emerging Properties
//! in Self-Supervised Vision Transformers", 2021; facebookresearch/dino,
//! `DINOHead` and `MultiCropWrapper`).

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, activation};
use millsight_export::graph::VitSpec;
use millsight_export::weights::NamedArrays;
use rand::RngExt;
use rand_distr::StandardNormal;
use serde::{Deserialize, Serialize};

use super::drop_path::Factors;
use super::layers::{Linear, empty};
use super::vit::Vit;
use super::{ModelError, parameters};
use crate::data::order::{Stream, generator};

/// Sizes of the projection head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadSpec {
    /// Width of the two hidden layers; 2048 in the official code.
    pub hidden: usize,
    /// Width of the layer that is normalised; 256 in the official code.
    pub bottleneck: usize,
    /// Width of the output, on which softmax is taken.
    pub outputs: usize,
    /// Whether the rows of the last layer keep the length 1. Otherwise their
    /// lengths are learnt, which may do better but is less stable.
    pub norm_last_layer: bool,
}

impl HeadSpec {
    /// Name and shape of every parameter of a head for features of `width`.
    pub fn parameters(&self, width: usize) -> Vec<(String, Vec<usize>)> {
        let layers = [
            ("mlp.0", self.hidden, width),
            ("mlp.2", self.hidden, self.hidden),
            ("mlp.4", self.bottleneck, self.hidden),
        ];
        let linear = |(name, outputs, inputs): (&str, usize, usize)| {
            [
                (format!("{name}.weight"), vec![outputs, inputs]),
                (format!("{name}.bias"), vec![outputs]),
            ]
        };
        let last = [
            ("last_layer.weight_g".to_owned(), vec![self.outputs, 1]),
            (
                "last_layer.weight_v".to_owned(),
                vec![self.outputs, self.bottleneck],
            ),
        ];
        layers.into_iter().flat_map(linear).chain(last).collect()
    }
}

/// Feature -> outputs.
#[derive(Module, Debug)]
pub struct Head {
    /// Three linear layers; the gaps are the exact GELUs between them, so
    /// that the names are the official ones: `mlp.0`, `mlp.2`, `mlp.4`.
    pub mlp: Vec<Option<Linear>>,
    /// From the normalised bottleneck to the outputs.
    pub last_layer: WeightNorm,
}

/// A linear layer without bias whose weight has a direction and a length for
/// each output (Salimans and Kingma, "Weight Normalization", 2016).
#[derive(Module, Debug)]
pub struct WeightNorm {
    /// Lengths, `[outputs, 1]`.
    pub weight_g: Param<Tensor<2>>,
    /// Directions of any length, `[outputs, inputs]`.
    pub weight_v: Param<Tensor<2>>,
}

impl WeightNorm {
    /// `[n, inputs]` -> `[n, outputs]`: `g x v / |v|`.
    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let directions = self.weight_v.val();
        let lengths = directions.clone().square().sum_dim(1).sqrt();
        let weight = directions * (self.weight_g.val() / lengths);
        x.matmul(weight.transpose())
    }
}

/// Least length in the normalisation of the bottleneck, PyTorch's default.
const SHORTEST: f64 = 1e-12;

impl Head {
    fn of_zeros(spec: &HeadSpec, width: usize, device: &Device) -> Self {
        let linear = |inputs, outputs| Some(Linear::new(inputs, outputs, true, device));
        let lengths = empty([spec.outputs, 1], device);
        Self {
            mlp: vec![
                linear(width, spec.hidden),
                None,
                linear(spec.hidden, spec.hidden),
                None,
                linear(spec.hidden, spec.bottleneck),
            ],
            last_layer: WeightNorm {
                weight_g: if spec.norm_last_layer {
                    lengths.set_require_grad(false)
                } else {
                    lengths
                },
                weight_v: empty([spec.outputs, spec.bottleneck], device),
            },
        }
    }

    /// Features `[n, width]` -> outputs `[n, outputs]`.
    pub fn forward(&self, features: Tensor<2>) -> Tensor<2> {
        let layer = |x, layer: &Option<Linear>| match layer {
            Some(linear) => linear.forward(x),
            None => activation::gelu(x),
        };
        let x = self.mlp.iter().fold(features, layer);
        let length = x.clone().square().sum_dim(1).sqrt().clamp_min(SHORTEST);
        self.last_layer.forward(x / length)
    }
}

/// A backbone and its projection head: a student or a teacher.
#[derive(Module, Debug)]
pub struct DinoNetwork {
    /// Image -> feature.
    pub backbone: Vit,
    /// Feature -> outputs.
    pub head: Head,
}

impl DinoNetwork {
    /// A network filled from weights with the official names, `backbone.NAME`
    /// and `head.NAME`. The backbone has no head of its own, whatever
    /// `backbone` says of classes.
    ///
    /// On a device with autodiff every parameter requires a gradient, except
    /// for the lengths of a last layer that keeps them.
    ///
    /// # Errors
    /// When the sizes do not fit one another, or the weights lack a parameter,
    /// have one too many or one of another shape.
    pub fn from_weights(
        backbone: &VitSpec,
        head: &HeadSpec,
        weights: &NamedArrays,
        device: &Device,
    ) -> Result<Self, ModelError> {
        let network = Self {
            backbone: Vit::of_zeros(&backbone.backbone(), device)?,
            head: Head::of_zeros(head, backbone.width, device),
        };
        parameters::fill(network, weights)
    }

    /// Normalised crops -> outputs `[rows, outputs]`. Crops of one resolution
    /// come together, `[rows, 3, height, width]`, and the head sees all of
    /// them at once. `factors` has those of each resolution while the student
    /// learns, else nothing.
    pub fn forward(&self, crops: Vec<Tensor<4>>, factors: &[Factors]) -> Tensor<2> {
        let features = crops
            .into_iter()
            .enumerate()
            .map(|(group, crops)| self.backbone.forward_dropping(crops, factors.get(group)))
            .collect();
        self.head.forward(Tensor::cat(features, 0))
    }
}

/// Initial weights of a head, as the official code draws them: linear layers
/// normal with deviation 0.02 and biases 0; directions of the last layer
/// uniform within `sqrt(1 / bottleneck)`, PyTorch's default, and lengths 1.
/// `width` is that of the features. The seed alone decides.
///
/// # Errors
/// Never in practice: shapes and numbers of elements agree.
pub fn initial_head(spec: &HeadSpec, width: usize, seed: u64) -> Result<NamedArrays, ModelError> {
    let mut random = generator(seed, Stream::PretrainingHead, 0);
    let bound = (1.0 / spec.bottleneck as f32).sqrt();
    let mut weights = NamedArrays::new();
    for (name, shape) in spec.parameters(width) {
        let count = shape.iter().product();
        let data = match name.as_str() {
            "last_layer.weight_g" => vec![1.0; count],
            "last_layer.weight_v" => (0..count)
                .map(|_| random.random_range(-bound..=bound))
                .collect(),
            name if name.ends_with(".bias") => vec![0.0; count],
            _ => (0..count)
                .map(|_| random.sample::<f32, _>(StandardNormal) * 0.02)
                .collect(),
        };
        weights.insert(name, shape, data)?;
    }
    Ok(weights)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    const SPEC: HeadSpec = HeadSpec {
        hidden: 300,
        bottleneck: 64,
        outputs: 200,
        norm_last_layer: true,
    };

    #[test]
    fn initial_weights_follow_the_official_code() {
        let weights = initial_head(&SPEC, 100, 3).unwrap();
        let deviation = |name: &str| {
            let data = &weights.require(name).unwrap().data;
            (data.iter().map(|value| value * value).sum::<f32>() / data.len() as f32).sqrt()
        };
        for (name, expected) in [
            ("mlp.0.weight", 0.02),
            ("mlp.4.weight", 0.02),
            ("mlp.2.bias", 0.0),
            // A uniform within b has the deviation b / sqrt(3).
            ("last_layer.weight_v", 0.125 / 3f32.sqrt()),
            ("last_layer.weight_g", 1.0),
        ] {
            let got = deviation(name);
            assert!((got - expected).abs() <= 0.05 * expected, "{name}: {got}");
        }
        assert_eq!(weights, initial_head(&SPEC, 100, 3).unwrap());
        assert_ne!(weights, initial_head(&SPEC, 100, 4).unwrap());
    }

    #[test]
    fn outputs_are_cosines_of_the_bottleneck() {
        let device = Device::flex();
        let weights = initial_head(&SPEC, 10, 3).unwrap();
        let head = parameters::fill(Head::of_zeros(&SPEC, 10, &device), &weights).unwrap();
        let features = Tensor::from_floats([[1.0; 10], [-3.0; 10]], &device);
        let outputs = parameters::to_vec(head.forward(features), "outputs").unwrap();
        assert_eq!(outputs.len(), 400);
        assert!(outputs.iter().all(|cosine| cosine.abs() <= 1.0));
        assert!(outputs.iter().any(|cosine| cosine.abs() > 0.1));
        assert_eq!(parameters::shapes(&head), SPEC.parameters(10));
    }
}
