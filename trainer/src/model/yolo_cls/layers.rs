//! Layers with Ultralytics' names.

use burn::module::Module;
use burn::tensor::{Device, Tensor, activation};

use crate::model::convolution::{Convolution, Norming, Statistics};

/// Convolution, batch norm and SiLU.
pub(super) fn activated(
    convolution: &Convolution,
    x: Tensor<4>,
    norming: &mut Norming,
) -> Tensor<4> {
    activation::silu(convolution.forward(x, norming))
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
        let first = activated(&self.cv1, x, norming);
        let half = first.dims()[1] / 2;
        let mut last = first.clone().narrow(1, half, half);
        let mut parts = vec![first.narrow(1, 0, half), last.clone()];
        for bottleneck in &self.m {
            let hidden = activated(&bottleneck.cv1, last.clone(), norming);
            last = last + activated(&bottleneck.cv2, hidden, norming);
            parts.push(last.clone());
        }
        activated(&self.cv2, Tensor::cat(parts, 1), norming)
    }

    /// Takes the next statistics, in the order of [`C2f::forward`].
    pub fn gather(&mut self, statistics: &mut impl Iterator<Item = Statistics>, momentum: f64) {
        self.cv1.gather(statistics, momentum);
        for bottleneck in &mut self.m {
            bottleneck.cv1.gather(statistics, momentum);
            bottleneck.cv2.gather(statistics, momentum);
        }
        self.cv2.gather(statistics, momentum);
    }
}
