//! Layers with Ultralytics' names.

use burn::module::{Module, Param};
use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Tensor, activation};
use millsight_export::graph::yolo_cls::BATCH_NORM_EPSILON;

use crate::model::layers::empty;

/// With which mean and variance batch norms work.
#[derive(Debug)]
pub enum Norming {
    /// Those that training has gathered.
    Gathered,
    /// Those of the batch, which are kept in the order of the layers.
    OfBatch(Vec<Statistics>),
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

/// Convolution, batch norm and SiLU.
#[derive(Module, Debug)]
pub struct Convolution {
    /// The filters.
    pub conv: Filters,
    /// Their norm.
    pub bn: BatchNorm,
    stride: usize,
}

impl Convolution {
    /// A layer of zeros; the kernel is 1 or 3 wide and keeps the size of the
    /// image, but for the stride.
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
        }
    }

    /// `[n, inputs, height, width]` -> `[n, outputs, height / stride, width /
    /// stride]`.
    pub fn forward(&self, x: Tensor<4>, norming: &mut Norming) -> Tensor<4> {
        let weight = self.conv.weight.val();
        let pad = weight.dims()[2] / 2;
        let options = ConvOptions::new([self.stride; 2], [pad; 2], [1; 2], 1);
        let convolved = conv2d(x, weight, None, options);
        activation::silu(self.bn.forward(convolved, norming))
    }

    /// Takes the next statistics.
    pub(super) fn gather(
        &mut self,
        statistics: &mut impl Iterator<Item = Statistics>,
        momentum: f64,
    ) {
        if let Some(statistics) = statistics.next() {
            self.bn.gather(&statistics, momentum);
        }
    }
}

/// Two convolutions with a way around them.
#[derive(Module, Debug)]
pub struct Bottleneck {
    /// First.
    pub cv1: Convolution,
    /// Second.
    pub cv2: Convolution,
}

/// Cross-stage partial block: half of the channels go through bottlenecks, and
/// all that lies between is mixed.
#[derive(Module, Debug)]
pub struct C2f {
    /// Before the bottlenecks, 1x1.
    pub cv1: Convolution,
    /// After them, 1x1.
    pub cv2: Convolution,
    /// The bottlenecks.
    pub m: Vec<Bottleneck>,
}

impl C2f {
    /// A block of zeros.
    pub fn new(channels: usize, repeats: usize, device: &Device) -> Self {
        let half = channels / 2;
        let bottleneck = |_| Bottleneck {
            cv1: Convolution::new(half, half, 3, 1, device),
            cv2: Convolution::new(half, half, 3, 1, device),
        };
        Self {
            cv1: Convolution::new(channels, channels, 1, 1, device),
            cv2: Convolution::new((2 + repeats) * half, channels, 1, 1, device),
            m: (0..repeats).map(bottleneck).collect(),
        }
    }

    /// `[n, channels, height, width]` -> the same shape.
    pub fn forward(&self, x: Tensor<4>, norming: &mut Norming) -> Tensor<4> {
        let first = self.cv1.forward(x, norming);
        let half = first.dims()[1] / 2;
        let mut last = first.clone().narrow(1, half, half);
        let mut parts = vec![first.narrow(1, 0, half), last.clone()];
        for bottleneck in &self.m {
            let hidden = bottleneck.cv1.forward(last.clone(), norming);
            last = last + bottleneck.cv2.forward(hidden, norming);
            parts.push(last.clone());
        }
        self.cv2.forward(Tensor::cat(parts, 1), norming)
    }

    /// Takes the next statistics, in the order of [`C2f::forward`].
    pub(super) fn gather(
        &mut self,
        statistics: &mut impl Iterator<Item = Statistics>,
        momentum: f64,
    ) {
        self.cv1.gather(statistics, momentum);
        for bottleneck in &mut self.m {
            bottleneck.cv1.gather(statistics, momentum);
            bottleneck.cv2.gather(statistics, momentum);
        }
        self.cv2.gather(statistics, momentum);
    }
}
