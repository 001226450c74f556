//! Layers with PyTorch's names and layouts.

use burn::module::{Module, Param};
use burn::tensor::module::{layer_norm, linear};
use burn::tensor::{Device, Tensor, activation};
use millsight_export::graph::VitSpec;

use super::patches;

use crate::cpu;

/// A parameter that is all zeros until weights are loaded.
pub(crate) fn empty<const D: usize>(shape: [usize; D], device: &Device) -> Param<Tensor<D>> {
    Param::from_tensor(Tensor::zeros(shape, device))
}

/// `y = x weightᵀ + bias`.
#[derive(Module, Debug)]
pub struct Linear {
    /// `[outputs, inputs]`.
    pub weight: Param<Tensor<2>>,
    /// `[outputs]`.
    pub bias: Option<Param<Tensor<1>>>,
}

impl Linear {
    /// A layer of zeros.
    pub fn new(inputs: usize, outputs: usize, bias: bool, device: &Device) -> Self {
        Self {
            weight: empty([outputs, inputs], device),
            bias: bias.then(|| empty([outputs], device)),
        }
    }

    /// `[.., inputs]` -> `[.., outputs]`.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let bias = self.bias.as_ref().map(Param::val);
        linear(x, self.weight.val().transpose(), bias)
    }
}

/// Normalises the last dimension to mean 0 and variance 1.
#[derive(Module, Debug)]
pub struct LayerNorm {
    /// Scale, `[width]`.
    pub weight: Param<Tensor<1>>,
    /// Shift, `[width]`.
    pub bias: Param<Tensor<1>>,
    /// Added to the variance.
    pub(crate) epsilon: f64,
}

impl LayerNorm {
    /// A layer of zeros.
    pub fn new(width: usize, epsilon: f32, device: &Device) -> Self {
        Self {
            weight: empty([width], device),
            bias: empty([width], device),
            epsilon: f64::from(epsilon),
        }
    }

    /// `[.., width]` -> the same shape.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        layer_norm(x, self.weight.val(), Some(self.bias.val()), self.epsilon)
    }
}

/// Weights of the convolution that cuts the image into tokens.
#[derive(Module, Debug)]
pub struct PatchProjection {
    /// `[width, channels, patch, patch]`.
    pub weight: Param<Tensor<4>>,
    /// `[width]`.
    pub bias: Param<Tensor<1>>,
}

/// Image -> tokens.
#[derive(Module, Debug)]
pub struct PatchEmbedding {
    /// The convolution, with stride and kernel of one patch.
    pub proj: PatchProjection,
}

impl PatchEmbedding {
    /// A layer of zeros.
    pub fn new(channels: usize, patch: usize, width: usize, device: &Device) -> Self {
        Self {
            proj: PatchProjection {
                weight: empty([width, channels, patch, patch], device),
                bias: empty([width], device),
            },
        }
    }

    /// `[n, channels, height, width]` -> `[n, patches, token length]`, patches
    /// row by row.
    ///
    /// A convolution whose stride is its kernel is one matrix product of the
    /// patches' pixels, which is faster than a general convolution.
    pub fn forward(&self, images: Tensor<4>) -> Tensor<3> {
        self.project(patches::cut(images, self.patch()))
    }

    /// The pixels of patches as [`patches::cut`] gives them,
    /// `[n, patches, channels * patch * patch]` -> `[n, patches, token length]`.
    pub fn project(&self, pixels: Tensor<3>) -> Tensor<3> {
        let weight = self.proj.weight.val();
        let [width, channels, patch, _] = weight.dims();
        let weight = weight.reshape([width, channels * patch * patch]);
        linear(
            pixels.cast(weight.dtype()),
            weight.transpose(),
            Some(self.proj.bias.val()),
        )
    }

    /// Side of a patch in pixels.
    pub fn patch(&self) -> usize {
        self.proj.weight.dims()[2]
    }
}

/// Multi-head self-attention.
#[derive(Module, Debug)]
pub struct Attention {
    /// Queries, keys and values in one product.
    pub qkv: Linear,
    /// Mixes the heads.
    pub proj: Linear,
    /// Number of heads, of `width / heads` elements each.
    pub(crate) heads: usize,
}

impl Attention {
    /// A layer of zeros.
    pub fn new(width: usize, heads: usize, qkv_bias: bool, device: &Device) -> Self {
        Self {
            qkv: Linear::new(width, 3 * width, qkv_bias, device),
            proj: Linear::new(width, width, true, device),
            heads,
        }
    }

    /// `[n, tokens, width]` -> the same shape.
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let [n, tokens, width] = x.dims();
        let length = width / self.heads;
        let qkv = self
            .qkv
            .forward(x)
            .reshape([n, tokens, 3, self.heads, length])
            .permute([2, 0, 3, 1, 4]);
        let part = |index: usize| {
            qkv.clone()
                .narrow(0, index, 1)
                .reshape([n, self.heads, tokens, length])
        };
        let (queries, keys, values) = (part(0), part(1), part(2));
        let scores = (queries * (length as f64).powf(-0.5)).matmul(keys.transpose());
        let mixed = activation::softmax(scores, 3).matmul(values);
        self.proj
            .forward(mixed.swap_dims(1, 2).reshape([n, tokens, width]))
    }
}

/// Two linear layers with an exact GELU between.
#[derive(Module, Debug)]
pub struct Mlp {
    /// To the hidden width.
    pub fc1: Linear,
    /// Back.
    pub fc2: Linear,
}

impl Mlp {
    /// A layer of zeros.
    pub fn new(width: usize, hidden: usize, device: &Device) -> Self {
        Self {
            fc1: Linear::new(width, hidden, true, device),
            fc2: Linear::new(hidden, width, true, device),
        }
    }

    /// `[.., width]` -> the same shape.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        self.fc2.forward(activation::gelu(self.fc1.forward(x)))
    }
}

/// A learned factor for each channel.
#[derive(Module, Debug)]
pub struct LayerScale {
    /// `[width]`.
    pub gamma: Param<Tensor<1>>,
}

impl LayerScale {
    /// `[n, tokens, width]` -> the same shape.
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        x * self.gamma.val().unsqueeze()
    }
}

/// One pre-norm Transformer block.
#[derive(Module, Debug)]
pub struct Block {
    /// Before attention.
    pub norm1: LayerNorm,
    /// Mixes tokens.
    pub attn: Attention,
    /// Scales what attention adds.
    pub ls1: Option<LayerScale>,
    /// Before the MLP.
    pub norm2: LayerNorm,
    /// Mixes channels.
    pub mlp: Mlp,
    /// Scales what the MLP adds.
    pub ls2: Option<LayerScale>,
}

impl Block {
    /// A block of zeros, of a network of these sizes.
    pub fn new(spec: &VitSpec, device: &Device) -> Self {
        let width = spec.width;
        let norm = || LayerNorm::new(width, spec.layer_norm_epsilon, device);
        let scale = || {
            spec.layer_scale.then(|| LayerScale {
                gamma: empty([width], device),
            })
        };
        Self {
            norm1: norm(),
            attn: Attention::new(width, spec.heads, spec.qkv_bias, device),
            ls1: scale(),
            norm2: norm(),
            mlp: Mlp::new(width, spec.mlp_width, device),
            ls2: scale(),
        }
    }

    /// `[n, tokens, width]` -> the same shape.
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        self.forward_scaled(x, None)
    }

    /// As [`Block::forward`], with what attention and the MLP add to each
    /// image multiplied by its factor, `[n, 1, 1]` each.
    pub fn forward_scaled(&self, x: Tensor<3>, factors: Option<&[Tensor<3>; 2]>) -> Tensor<3> {
        match cpu::block(self, &x, factors) {
            Some(out) => out,
            None => self.plain(x, factors),
        }
    }

    /// The same, in burn's operations.
    pub(crate) fn plain(&self, x: Tensor<3>, factors: Option<&[Tensor<3>; 2]>) -> Tensor<3> {
        let scaled = |scale: &Option<LayerScale>, branch: usize, x| {
            let x = match scale {
                Some(scale) => scale.forward(x),
                None => x,
            };
            match factors {
                Some(factors) => x.clone() * factors[branch].clone().cast(x.dtype()),
                None => x,
            }
        };
        let mixed = self.attn.forward(self.norm1.forward(x.clone()));
        let x = x + scaled(&self.ls1, 0, mixed);
        let mixed = self.mlp.forward(self.norm2.forward(x.clone()));
        x + scaled(&self.ls2, 1, mixed)
    }
}
