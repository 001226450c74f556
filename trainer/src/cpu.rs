//! Computation on the CPU that burn's operations are too small for.
//!
//! burn's CPU backend computes a Transformer block from some forty operations
//! forward and more than that backward, each of which allocates its result
//! and passes over memory again. Here a block is one operation with
//! hand-written gradients: matrix products go to the `gemm` crate, which reads
//! heads and transposed matrices where they lie; everything between them is
//! done in as few passes as it takes, in vectors; memory is used again. A
//! convolution is one operation as well.
//!
//! * [`tensors`]: burn's tensors as slices.
//! * [`node`]: a block as an operation of burn's automatic differentiation.
//! * [`block`]: forward and backward pass on slices.
//! * [`attention`], [`linear`], [`norm`], [`gelu`], [`softmax`],
//!   [`residual`]: its parts.
//! * [`convolution`]: a convolution, forward and backward, on slices.
//! * [`adamw`]: a step of the optimiser.
//! * [`matrix`], [`lanes`], [`buffers`]: what they are made of.
//!
//! Other devices, and other element types than `f32`, take the plain form,
//! which says the same in burn's operations.

mod adamw;
mod attention;
mod block;
mod buffers;
mod convolution;
mod gelu;
mod lanes;
mod linear;
mod matrix;
mod node;
mod norm;
mod residual;
mod softmax;
mod tensors;

pub(crate) use adamw::Update;

use burn::backend::{Autodiff, DispatchTensor, Flex};
use burn::module::Param;
use burn::tensor::{DType, Device, Tensor};

use crate::model::layers::{Block, LayerScale};
use attention::Attention;
use block::Sizes;
use node::PARENTS;
use tensors::{elements, plain, tracked, without_autodiff};

/// `x`, `[n, tokens, width]`, through `block`; `None` when this is left to
/// burn's operations. `factors` are those of drop path for the two branches,
/// `[n, 1, 1]` each.
pub(crate) fn block(
    block: &Block,
    x: &Tensor<3>,
    factors: Option<&[Tensor<3>; 2]>,
) -> Option<Tensor<3>> {
    let [images, tokens, width] = x.dims();
    if x.dtype() != DType::F32 || images * tokens == 0 || x.device() != Device::flex() {
        return None;
    }
    let [hidden, _] = block.mlp.fc1.weight.dims();
    let sizes = Sizes {
        attention: Attention {
            images,
            tokens,
            heads: block.attn.heads,
            width,
        },
        hidden,
        epsilons: [&block.norm1, &block.norm2].map(|norm| norm.epsilon as f32),
    };
    let shares = match factors {
        Some([first, second]) => [shares(first)?, shares(second)?],
        None => [Vec::new(), Vec::new()],
    };
    let tensors = tensors(block, x);
    let out = if tensors.iter().all(without_autodiff) {
        let parents = each(tensors, plain)?;
        Tensor::from_primitive::<Flex>(node::infer(&sizes, shares, parents))
    } else {
        let parents = each(tensors, tracked)?;
        Tensor::from_primitive::<Autodiff<Flex>>(node::record(sizes, shares, parents))
    };
    Some(out)
}

/// `x`, `[n, inputs, height, width]`, through filters `[outputs, inputs, kernel,
/// kernel]` whose places are `stride` apart, on an image with `pad` zeros around it;
/// `None` when this is left to burn's operations.
pub(crate) fn convolution(
    x: &Tensor<4>,
    weight: &Tensor<4>,
    stride: usize,
    pad: usize,
) -> Option<Tensor<4>> {
    let [images, inputs, height, width] = x.dims();
    let [outputs, _, kernel, _] = weight.dims();
    let sizes = convolution::Sizes {
        images,
        inputs,
        height,
        width,
        outputs,
        kernel,
        stride,
        pad,
    };
    if x.dtype() != DType::F32 || x.device() != Device::flex() || images == 0 || !sizes.fit() {
        return None;
    }
    let tensors = [x, weight].map(|tensor| tensor.clone().into_dispatch());
    let out = if tensors.iter().all(without_autodiff) {
        let parents = each(tensors, plain)?;
        Tensor::from_primitive::<Flex>(convolution::infer(&sizes, parents))
    } else {
        let parents = each(tensors, tracked)?;
        Tensor::from_primitive::<Autodiff<Flex>>(convolution::record(sizes, parents))
    };
    Some(out)
}

/// The elements of factors that learn nothing.
fn shares(factors: &Tensor<3>) -> Option<Vec<f32>> {
    if factors.is_autodiff() && factors.is_tracked() {
        return None;
    }
    let factors = plain(factors.clone().inner().into_dispatch())?;
    Some(elements(&factors.to_contiguous()).to_vec())
}

/// Input and parameters, in the order of [`block::Name`].
fn tensors(block: &Block, x: &Tensor<3>) -> [DispatchTensor; PARENTS] {
    fn of<const D: usize>(parameter: &Param<Tensor<D>>) -> DispatchTensor {
        parameter.val().into_dispatch()
    }
    let optional = |parameter: Option<&Param<Tensor<1>>>| {
        parameter.map_or_else(
            || Tensor::<1>::zeros([0], &Device::flex()).into_dispatch(),
            of,
        )
    };
    let bias = |bias: &Option<_>| optional(bias.as_ref());
    let scale = |scale: &Option<LayerScale>| optional(scale.as_ref().map(|scale| &scale.gamma));
    [
        x.clone().into_dispatch(),
        of(&block.norm1.weight),
        of(&block.norm1.bias),
        of(&block.attn.qkv.weight),
        bias(&block.attn.qkv.bias),
        of(&block.attn.proj.weight),
        bias(&block.attn.proj.bias),
        scale(&block.ls1),
        of(&block.norm2.weight),
        of(&block.norm2.bias),
        of(&block.mlp.fc1.weight),
        bias(&block.mlp.fc1.bias),
        of(&block.mlp.fc2.weight),
        bias(&block.mlp.fc2.bias),
        scale(&block.ls2),
    ]
}

fn each<T, const N: usize>(
    tensors: [DispatchTensor; N],
    convert: impl Fn(DispatchTensor) -> Option<T>,
) -> Option<[T; N]> {
    let converted: Option<Vec<T>> = tensors.into_iter().map(convert).collect();
    converted?.try_into().ok()
}

#[cfg(test)]
mod tests;
