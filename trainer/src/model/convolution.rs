//! Convolutions with batch norms, from which the convolutional networks are made.
//! Names are Ultralytics'.

use burn::module::{Module, Param};
use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Tensor};
use millsight_export::graph::convolution::BATCH_NORM_EPSILON;
use millsight_export::weights::NamedArrays;
use rand::RngExt;

use super::ModelError;
use super::layers::empty;
use crate::cpu;
use crate::data::order::{Stream, generator};

/// Share of a batch in the gathered statistics, as in Ultralytics' models.
const MOMENTUM: f64 = 0.03;

/// Share of the batch of a step, counted from 0, in the gathered statistics.
///
/// It makes them the mean over all steps at first, so that what they were before
/// the first weighs nothing: over so many layers, a variance of 1 that has not
/// quite faded spoils the network of a run of a hundred steps.
pub fn momentum(step: usize) -> f64 {
    MOMENTUM.max(1.0 / (step + 1) as f64)
}

/// With which mean and variance batch norms work.
#[derive(Debug)]
pub enum Norming {
    /// Those that training has gathered.
    Gathered,
    /// Those of the batch, which are kept in the order of the layers.
    OfBatch(Vec<Statistics>),
}

impl Norming {
    /// What was kept of the batch, in the order of the layers.
    pub fn into_statistics(self) -> Vec<Statistics> {
        match self {
            Self::OfBatch(statistics) => statistics,
            Self::Gathered => Vec::new(),
        }
    }
}

/// Mean and unbiased variance of each channel, `[channels]`, without autodiff.
#[derive(Debug, Clone)]
pub struct Statistics {
    /// Mean.
    pub mean: Tensor<1>,
    /// Variance, divided by one less than the number of elements.
    pub variance: Tensor<1>,
}

impl Statistics {
    /// Those of a batch from those of its shards, which come with their numbers
    /// of images: the mean over the images of what each was normed with, on the
    /// device of the first. Shards without statistics do not count.
    pub fn of_batch(shards: &[(usize, Vec<Self>)]) -> Vec<Self> {
        let counted = || shards.iter().filter(|(_, norms)| !norms.is_empty());
        let all: usize = counted().map(|(images, _)| images).sum();
        let mut sums: Vec<Self> = Vec::new();
        for (images, norms) in counted() {
            let share = *images as f64 / all as f64;
            let parts = norms.iter().map(|norm| Self {
                mean: norm.mean.clone() * share,
                variance: norm.variance.clone() * share,
            });
            if sums.is_empty() {
                sums = parts.collect();
                continue;
            }
            for (sum, part) in sums.iter_mut().zip(parts) {
                let device = sum.mean.device();
                sum.mean = sum.mean.clone() + part.mean.to_device(&device);
                sum.variance = sum.variance.clone() + part.variance.to_device(&device);
            }
        }
        sums
    }
}

/// Filters without a bias.
#[derive(Module, Debug)]
pub struct Filters {
    /// `[outputs, inputs, kernel, kernel]`.
    pub weight: Param<Tensor<4>>,
}

/// Batch norm (Ioffe and Szegedy, 2015) as in PyTorch.
#[derive(Module, Debug)]
pub struct BatchNorm {
    /// Scale, `[channels]`.
    pub weight: Param<Tensor<1>>,
    /// Shift, `[channels]`.
    pub bias: Param<Tensor<1>>,
    /// Gathered mean, `[channels]`.
    pub running_mean: Param<Tensor<1>>,
    /// Gathered variance, `[channels]`.
    pub running_var: Param<Tensor<1>>,
}

impl BatchNorm {
    fn new(channels: usize, device: &Device) -> Self {
        // Gathered, not learnt.
        let gathered = || empty([channels], device).set_require_grad(false);
        Self {
            weight: empty([channels], device),
            bias: empty([channels], device),
            running_mean: gathered(),
            running_var: gathered(),
        }
    }

    fn forward(&self, x: Tensor<4>, norming: &mut Norming) -> Tensor<4> {
        let [n, channels, height, width] = x.dims();
        let plane = |values: Tensor<1>| values.reshape([1, channels, 1, 1]);
        let (mean, variance) = match norming {
            Norming::Gathered => (self.running_mean.val(), self.running_var.val()),
            Norming::OfBatch(statistics) => {
                let over_images = |x: Tensor<4>| -> Tensor<1> {
                    let by_channel = x.swap_dims(0, 1).reshape([channels, n * height * width]);
                    by_channel.mean_dim(1).reshape([channels])
                };
                let mean = over_images(x.clone());
                let centred = x.clone() - plane(mean.clone());
                let variance = over_images(centred.square());
                let count = (n * height * width) as f64;
                statistics.push(Statistics {
                    mean: mean.clone().inner(),
                    variance: variance.clone().inner() * (count / (count - 1.0).max(1.0)),
                });
                (mean, variance)
            }
        };
        let scale = self.weight.val() / (variance + f64::from(BATCH_NORM_EPSILON)).sqrt();
        let shift = self.bias.val() - mean * scale.clone();
        x * plane(scale) + plane(shift)
    }

    fn gather(&mut self, statistics: &Statistics, momentum: f64) {
        let moved = |gathered: &Param<Tensor<1>>, seen: &Tensor<1>| {
            gathered.clone().map(|old| {
                let new = old.clone().inner() * (1.0 - momentum) + seen.clone() * momentum;
                if old.is_autodiff() {
                    Tensor::from_inner(new)
                } else {
                    new
                }
            })
        };
        self.running_mean = moved(&self.running_mean, &statistics.mean);
        self.running_var = moved(&self.running_var, &statistics.variance);
    }
}

/// Convolution and batch norm.
#[derive(Module, Debug)]
pub struct Convolution {
    /// The filters.
    pub conv: Filters,
    /// Their norm.
    pub bn: BatchNorm,
    stride: usize,
    pad: usize,
}

impl Convolution {
    /// A layer of zeros. A kernel of 1 or 3 keeps the size of the image, but for
    /// the stride; one as large as its stride pads nothing and reads each pixel
    /// once.
    pub fn new(
        inputs: usize,
        outputs: usize,
        kernel: usize,
        stride: usize,
        device: &Device,
    ) -> Self {
        Self {
            conv: Filters {
                weight: empty([outputs, inputs, kernel, kernel], device),
            },
            bn: BatchNorm::new(outputs, device),
            stride,
            pad: if kernel == stride { 0 } else { kernel / 2 },
        }
    }

    /// `[n, inputs, height, width]` -> `[n, outputs, height / stride, width /
    /// stride]`.
    pub fn forward(&self, x: Tensor<4>, norming: &mut Norming) -> Tensor<4> {
        let weight = self.conv.weight.val();
        let convolved = cpu::convolution(&x, &weight, self.stride, self.pad)
            .unwrap_or_else(|| self.plain(x, weight));
        self.bn.forward(convolved, norming)
    }

    /// The convolution in burn's operations.
    fn plain(&self, x: Tensor<4>, weight: Tensor<4>) -> Tensor<4> {
        let options = ConvOptions::new([self.stride; 2], [self.pad; 2], [1; 2], 1);
        conv2d(x, weight, None, options)
    }

    /// Takes the next statistics.
    pub fn gather(&mut self, statistics: &mut impl Iterator<Item = Statistics>, momentum: f64) {
        if let Some(statistics) = statistics.next() {
            self.bn.gather(&statistics, momentum);
        }
    }
}

/// Initial weights as PyTorch draws them for these layers.
///
/// Filters and the linear layer: uniform within `sqrt(1 / inputs)`, its bias
/// too (PyTorch's default, Kaiming uniform with `a = sqrt(5)`); batch norms:
/// scale and variance 1, shift and mean 0. The seed alone decides.
///
/// # Errors
/// Never in practice: the shapes are those of their data.
pub fn initial(
    parameters: Vec<(String, Vec<usize>)>,
    seed: u64,
) -> Result<NamedArrays, ModelError> {
    let mut random = generator(seed, Stream::Weights, 0);
    let mut weights = NamedArrays::new();
    // Of the filters or of the matrix that a bias follows.
    let mut inputs = 1;
    for (name, shape) in parameters {
        let count = shape.iter().product();
        let constant = match name.rsplit_once(".bn.") {
            Some((_, "weight" | "running_var")) => Some(1.0),
            Some(_) => Some(0.0),
            None => None,
        };
        let data = match constant {
            Some(value) => vec![value; count],
            None => {
                if shape.len() > 1 {
                    inputs = shape[1..].iter().product();
                }
                let bound = (1.0 / inputs as f32).sqrt();
                (0..count)
                    .map(|_| random.random_range(-bound..=bound))
                    .collect()
            }
        };
        weights.insert(name, shape, data)?;
    }
    Ok(weights)
}
