//! Convolutions with a batch norm, from which the convolutional networks are
//! made.

use super::builder::{Attribute, Builder, Value, with_batch};
use crate::weights::NamedArrays;

/// Epsilon of every batch norm, as in Ultralytics' models.
pub const BATCH_NORM_EPSILON: f32 = 1e-3;

/// An image of features: the value and its channels, height and width.
pub(super) struct Features {
    pub(super) value: Value,
    pub(super) channels: usize,
    pub(super) size: [usize; 2],
}

/// A convolution that has taken its batch norm in.
pub(super) struct Folded {
    /// `[outputs, inputs, kernel, kernel]`.
    pub(super) weight: Vec<f32>,
    /// `[outputs]`.
    pub(super) bias: Vec<f32>,
}

/// Filters `NAME.conv.weight` with the batch norm `NAME.bn` taken in. All
/// weights have been checked to be there.
pub(super) fn folded(weights: &NamedArrays, name: &str) -> Folded {
    let data = |part: &str| {
        let array = weights.get(&format!("{name}.{part}"));
        array.map_or(&[][..], |array| &array.data)
    };
    let (weight, gain) = (data("conv.weight"), data("bn.weight"));
    let per_output = weight.len() / gain.len();
    let scale: Vec<f64> = gain
        .iter()
        .zip(data("bn.running_var"))
        .map(|(&gain, &variance)| {
            f64::from(gain) / (f64::from(variance) + f64::from(BATCH_NORM_EPSILON)).sqrt()
        })
        .collect();
    let scaled = weight
        .chunks_exact(per_output)
        .zip(&scale)
        .flat_map(|(filter, scale)| {
            filter
                .iter()
                .map(move |&weight| (f64::from(weight) * scale) as f32)
        })
        .collect();
    let bias = data("bn.bias")
        .iter()
        .zip(data("bn.running_mean"))
        .zip(&scale)
        .map(|((&bias, &mean), scale)| (f64::from(bias) - f64::from(mean) * scale) as f32)
        .collect();
    Folded {
        weight: scaled,
        bias,
    }
}

/// The kernel of a convolution: its side, the step from one place to the next
/// and the zeros around the image.
#[derive(Clone, Copy)]
pub(super) struct Kernel {
    pub(super) side: usize,
    pub(super) stride: usize,
    pub(super) pad: usize,
}

/// Adds the node `NAME/Conv`.
pub(super) fn convolve(
    builder: &mut Builder,
    x: &Features,
    name: &str,
    Folded { weight, bias }: &Folded,
    Kernel { side, stride, pad }: Kernel,
) -> Features {
    let outputs = bias.len();
    let shape = [outputs, x.channels, side, side];
    let weight = builder.floats(&format!("{name}.weight"), &shape, weight);
    let bias = builder.floats(&format!("{name}.bias"), &[outputs], bias);
    let size = x.size.map(|extent| (extent + 2 * pad - side) / stride + 1);
    let value = builder.node(
        &format!("{name}/Conv"),
        "Conv",
        &[&x.value, &weight, &bias],
        &[
            ("kernel_shape", Attribute::Ints(vec![side as i64; 2])),
            ("strides", Attribute::Ints(vec![stride as i64; 2])),
            ("pads", Attribute::Ints(vec![pad as i64; 4])),
        ],
        with_batch(&[outputs, size[0], size[1]]),
    );
    Features {
        value,
        channels: outputs,
        size,
    }
}
