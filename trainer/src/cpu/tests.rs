//! Blocks and convolutions on slices against the same in burn's operations.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Tensor, TensorData};
use rand::RngExt;

use crate::data::order::{Stream, generator};
use crate::model::layers::{Attention, Block, LayerNorm, LayerScale, Linear, Mlp};
use crate::model::parameters::to_vec;

/// Sizes of a block and of its input.
#[derive(Debug, Clone, Copy)]
struct Case {
    images: usize,
    tokens: usize,
    width: usize,
    heads: usize,
    hidden: usize,
    qkv_bias: bool,
    scale: bool,
    drop_path: bool,
}

const CASES: [Case; 4] = [
    Case {
        images: 2,
        tokens: 50,
        width: 96,
        heads: 3,
        hidden: 384,
        qkv_bias: true,
        scale: false,
        drop_path: false,
    },
    Case {
        images: 3,
        tokens: 17,
        width: 40,
        heads: 2,
        hidden: 50,
        qkv_bias: false,
        scale: true,
        drop_path: true,
    },
    Case {
        images: 1,
        tokens: 1,
        width: 8,
        heads: 1,
        hidden: 3,
        qkv_bias: true,
        scale: true,
        drop_path: false,
    },
    Case {
        images: 2,
        tokens: 197,
        width: 64,
        heads: 1,
        hidden: 128,
        qkv_bias: true,
        scale: false,
        drop_path: true,
    },
];

/// Fills every parameter with its own random numbers.
struct Fill(rand_pcg::Pcg64);

impl Fill {
    fn tensor<const D: usize>(&mut self, shape: [usize; D], device: &Device) -> Tensor<D> {
        let count: usize = shape.iter().product();
        let data: Vec<f32> = (0..count).map(|_| self.0.random_range(-0.5..0.5)).collect();
        Tensor::from_data(TensorData::new(data, shape), device)
    }
}

impl ModuleMapper for Fill {
    fn map_float<const D: usize>(&mut self, parameter: Param<Tensor<D>>) -> Param<Tensor<D>> {
        parameter.map(|old| self.tensor(old.dims(), &old.device()).require_grad())
    }
}

fn block(case: Case, device: &Device) -> Block {
    let scale = || {
        case.scale.then(|| LayerScale {
            gamma: Param::from_tensor(Tensor::zeros([case.width], device)),
        })
    };
    Block {
        norm1: LayerNorm::new(case.width, 1e-6, device),
        attn: Attention::new(case.width, case.heads, case.qkv_bias, device),
        ls1: scale(),
        norm2: LayerNorm::new(case.width, 1e-5, device),
        mlp: Mlp {
            fc1: Linear::new(case.width, case.hidden, true, device),
            fc2: Linear::new(case.hidden, case.width, true, device),
        },
        ls2: scale(),
    }
}

/// Factors that leave out the attention of every second image.
fn factors(images: usize, device: &Device) -> [Tensor<3>; 2] {
    let tensor = |factor: fn(usize) -> f32| {
        let factors: Vec<f32> = (0..images).map(factor).collect();
        Tensor::from_data(TensorData::new(factors, [images, 1, 1]), device)
    };
    [
        tensor(|image| if image % 2 == 0 { 1.25 } else { 0.0 }),
        tensor(|image| 1.0 + image as f32),
    ]
}

struct Collect {
    gradients: burn::tensor::Gradients,
    flat: Vec<Vec<f32>>,
}

impl ModuleVisitor for Collect {
    fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
        let gradient = parameter.val().grad_remove(&mut self.gradients).unwrap();
        self.flat.push(to_vec(gradient, "gradient").unwrap());
    }
}

/// Output, gradient at the input, and those at the parameters, when the loss
/// is the product of the output with `direction`.
fn all_of(
    block: &Block,
    x: &Tensor<3>,
    direction: &Tensor<3>,
    forward: impl Fn(&Block, Tensor<3>) -> Tensor<3>,
) -> Vec<Vec<f32>> {
    let x = x.clone().detach().require_grad();
    let out = forward(block, x.clone());
    let gradients = (out.clone() * direction.clone()).sum().backward();
    let mut collect = Collect {
        flat: vec![
            to_vec(out.inner(), "output").unwrap(),
            to_vec(x.grad(&gradients).unwrap(), "gradient").unwrap(),
        ],
        gradients,
    };
    block.visit(&mut collect);
    collect.flat
}

/// The largest difference, in units of the largest element.
fn difference(got: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(got.len(), expected.len());
    let largest = expected
        .iter()
        .fold(0f32, |top, value| top.max(value.abs()));
    let differences = got.iter().zip(expected).map(|(a, b)| (a - b).abs());
    differences.fold(0f32, f32::max) / largest
}

#[test]
fn outputs_and_gradients_are_those_of_the_plain_block() {
    let device = Device::flex().autodiff();
    for (number, case) in CASES.into_iter().enumerate() {
        let mut fill = Fill(generator(number as u64, Stream::Weights, 0));
        let block = block(case, &device).map(&mut fill);
        let shape = [case.images, case.tokens, case.width];
        let x = fill.tensor(shape, &device);
        let direction = fill.tensor(shape, &device);
        let factors = case.drop_path.then(|| factors(case.images, &device));
        let factors = factors.as_ref();
        let plain = all_of(&block, &x, &direction, |block, x| block.plain(x, factors));
        let on_slices = |block: &Block, x| super::block(block, &x, factors).expect("on the CPU");
        let fused = all_of(&block, &x, &direction, on_slices);
        assert_eq!(plain.len(), fused.len());
        for (index, (fused, plain)) in fused.iter().zip(&plain).enumerate() {
            let difference = difference(fused, plain);
            assert!(difference < 1e-5, "{case:?}, {index}: {difference}");
        }
        // Without autodiff, and with no gradient wanted, the output is the
        // same to the last bit.
        let frozen = block.clone().no_grad();
        let out = on_slices(&frozen, x.clone().detach());
        assert_eq!(to_vec(out.inner(), "output").unwrap(), fused[0]);
        let out = on_slices(&block.valid(), x.inner());
        assert!(!out.is_autodiff());
        assert_eq!(to_vec(out, "output").unwrap(), fused[0]);
    }
}

/// `[images, inputs, height, width], [outputs, kernel, stride, pad]`: filters as
/// large as their stride that leave a rest, 3x3 with and without a stride, 1x1, a
/// filter that is larger than the image, and a stride larger than the filter.
const CONVOLUTIONS: [([usize; 4], [usize; 4]); 7] = [
    ([2, 3, 17, 25], [5, 8, 8, 0]),
    ([3, 4, 9, 8], [6, 3, 2, 1]),
    ([2, 5, 7, 6], [3, 3, 1, 1]),
    ([2, 8, 5, 4], [16, 1, 1, 0]),
    ([1, 2, 1, 1], [3, 3, 2, 1]),
    ([1, 2, 1, 2], [2, 5, 1, 2]),
    ([1, 3, 8, 9], [2, 1, 2, 0]),
];

#[test]
fn convolutions_and_their_gradients_are_those_of_burn() {
    let device = Device::flex().autodiff();
    for (number, (shape, [outputs, kernel, stride, pad])) in CONVOLUTIONS.into_iter().enumerate() {
        let mut fill = Fill(generator(number as u64, Stream::Weights, 1));
        let x = fill.tensor(shape, &device).require_grad();
        let filters = [outputs, shape[1], kernel, kernel];
        let weight = fill.tensor(filters, &device).require_grad();
        let options = ConvOptions::new([stride; 2], [pad; 2], [1; 2], 1);
        let plain = conv2d(x.clone(), weight.clone(), None, options);
        let ours = super::convolution(&x, &weight, stride, pad).expect("on the CPU");
        assert_eq!(ours.dims(), plain.dims(), "{shape:?}");
        let direction = fill.tensor(plain.dims(), &device);
        let all = |out: Tensor<4>| {
            let gradients = (out.clone() * direction.clone()).sum().backward();
            [
                out.inner(),
                x.grad(&gradients).unwrap(),
                weight.grad(&gradients).unwrap(),
            ]
            .map(|tensor| to_vec(tensor, "convolution").unwrap())
        };
        let out = to_vec(ours.clone().inner(), "output").unwrap();
        for (ours, plain) in all(ours).iter().zip(&all(plain)) {
            let difference = difference(ours, plain);
            assert!(difference < 1e-5, "{shape:?}: {difference}");
        }
        let inferred = super::convolution(&x.inner(), &weight.inner(), stride, pad).unwrap();
        assert!(!inferred.is_autodiff());
        assert_eq!(to_vec(inferred, "output").unwrap(), out);
    }
}
