//! Filters on raw grey levels that read each pixel once, in a form that engines
//! compute fast.
//!
//! Filters as large as their stride on one channel are an unfavourable convolution
//! in whole numbers: engines gather the pixels under a filter one by one. But a line
//! of the image is, as it lies in memory, a line of places with as many channels as
//! a place has pixels; then there is one column of [`CHANNELS`] bytes to gather for
//! each line of a filter. Where the filters are narrower than that, several of them
//! lie side by side in it: each has its own outputs and weights of 0 for the pixels
//! of the others. Sums of whole numbers are the same to the bit.

use onnx_protobuf::tensor_proto::DataType;
use onnx_protobuf::{GraphProto, NodeProto, TensorProto};

use super::sites::{attribute, integer};
use crate::graph::parts::{constant, node, with_integers};

/// Pixels of a line that are gathered at a time, at least: with fewer ONNX Runtime
/// takes longer, with more it does not get faster.
const CHANNELS: usize = 16;

/// Names of a convolution in whole numbers, and of what is around it.
#[derive(Debug)]
pub(super) struct Stem {
    /// The raw grey levels.
    pub(super) input: String,
    /// What `DequantizeLinear` makes of them.
    pub(super) values: String,
    /// What the convolution gives.
    pub(super) output: String,
    /// The same after a rectifier, where one follows.
    pub(super) rectified: String,
    /// The same in whole numbers.
    pub(super) levels: String,
    /// Its weights.
    pub(super) weights: String,
    /// Constants with an element for each output: scales and offsets of the
    /// weights, the bias and its scales.
    pub(super) of_outputs: [String; 4],
}

/// Height and width of the image, outputs and side of the filters, and how many of
/// them lie side by side.
#[derive(Debug, Clone, Copy)]
struct Shape {
    height: usize,
    width: usize,
    outputs: usize,
    side: usize,
    beside: usize,
}

impl Stem {
    /// Rewrites the convolution, where it is of the kind.
    pub(super) fn rewrite(&self, graph: &mut GraphProto) {
        let Some(shape) = self.shape(graph) else {
            return;
        };
        let channels = shape.side * shape.beside;
        let lines = [0, shape.height, shape.width / channels, channels];
        let places = [
            0,
            shape.height / shape.side,
            shape.width / shape.side,
            shape.outputs,
        ];
        for tensor in &mut graph.initializer {
            if tensor.name == self.weights {
                *tensor = shape.beside_one_another(tensor);
            } else if self.of_outputs.contains(&tensor.name) {
                tensor.raw_data = tensor.raw_data.repeat(shape.beside);
                tensor.dims = vec![(shape.outputs * shape.beside) as i64];
            }
        }
        let name = |part: &str| format!("{}/{part}", self.output);
        let shapes = [("lines/shape", lines), ("places/shape", places)];
        graph.initializer.extend(shapes.map(|(part, shape)| {
            let bytes = shape
                .iter()
                .flat_map(|&extent| (extent as i64).to_le_bytes());
            constant(name(part), DataType::INT64, &[4], bytes.collect())
        }));
        let mut nodes = Vec::new();
        for mut old in std::mem::take(&mut graph.node) {
            let gives = old.output[0].clone();
            if gives == self.values {
                let (lines, columns) = (name("lines"), name("columns"));
                let inputs = [self.input.as_str(), &name("lines/shape")];
                nodes.push(node("Reshape", &inputs, &lines));
                nodes.push(transpose(&lines, &columns, [0, 3, 1, 2]));
                old.input[0] = columns;
            } else if gives == self.output {
                old.attribute.retain(|attribute| {
                    !["kernel_shape", "strides"].contains(&attribute.name.as_str())
                });
                let tall = [shape.side as i64, 1];
                old = with_integers(old, "kernel_shape", &tall);
                old = with_integers(old, "strides", &tall);
            } else if gives == self.levels {
                let parts = ["beside", "beside/last", "places"].map(name);
                old.output[0].clone_from(&parts[0]);
                old.name.clone_from(&parts[0]);
                nodes.push(old);
                nodes.push(transpose(&parts[0], &parts[1], [0, 2, 3, 1]));
                let inputs = [parts[1].as_str(), &name("places/shape")];
                nodes.push(node("Reshape", &inputs, &parts[2]));
                nodes.push(transpose(&parts[2], &self.levels, [0, 3, 1, 2]));
                continue;
            }
            nodes.push(old);
        }
        graph.node = nodes;
        // They have other shapes now.
        graph
            .value_info
            .retain(|value| ![&self.output, &self.rectified].contains(&&value.name));
    }

    /// The sizes; `None` when it is another kind of convolution.
    fn shape(&self, graph: &GraphProto) -> Option<Shape> {
        let convolution = graph
            .node
            .iter()
            .find(|node| node.output.contains(&self.output))?;
        let weights = graph
            .initializer
            .iter()
            .find(|tensor| tensor.name == self.weights)?;
        let extents: Vec<usize> = weights.dims.iter().map(|&extent| extent as usize).collect();
        let [outputs, 1, side, width] = extents[..] else {
            return None;
        };
        let is = |name: &str, value: i64, absent: bool| {
            attribute(convolution, name).map_or(absent, |attribute| {
                attribute.ints.iter().all(|&one| one == value)
            })
        };
        let reads_each_pixel_once = side > 1
            && side == width
            && is("strides", side as i64, false)
            && is("pads", 0, true)
            && is("dilations", 1, true)
            && integer(convolution, "group").unwrap_or(1) == 1
            && attribute(convolution, "auto_pad").is_none();
        let input = graph.input.iter().find(|value| value.name == self.input)?;
        let dims = &input.type_.tensor_type().shape.dim;
        let extents: Vec<usize> = dims.iter().map(|dim| dim.dim_value() as usize).collect();
        let [_, 1, height, width] = extents[..] else {
            return None;
        };
        let beside = CHANNELS.div_ceil(side);
        let fits = height > 0
            && height.is_multiple_of(side)
            && width > 0
            && width.is_multiple_of(side * beside);
        (reads_each_pixel_once && fits).then_some(Shape {
            height,
            width,
            outputs,
            side,
            beside,
        })
    }
}

impl Shape {
    /// Weights `[outputs, 1, side, side]` as `[beside · outputs, beside · side,
    /// side, 1]`: columns of pixels become channels.
    fn beside_one_another(&self, weights: &TensorProto) -> TensorProto {
        let Self {
            outputs,
            side,
            beside,
            ..
        } = *self;
        let channels = side * beside;
        let mut bytes = vec![0; beside * outputs * channels * side];
        for place in 0..beside {
            for output in 0..outputs {
                for y in 0..side {
                    for x in 0..side {
                        let channel = place * side + x;
                        let row = place * outputs + output;
                        bytes[(row * channels + channel) * side + y] =
                            weights.raw_data[(output * side + y) * side + x];
                    }
                }
            }
        }
        let shape = [beside * outputs, channels, side, 1].map(|extent| extent as i64);
        constant(weights.name.clone(), DataType::INT8, &shape, bytes)
    }
}

fn transpose(input: &str, output: &str, order: [i64; 4]) -> NodeProto {
    with_integers(node("Transpose", &[input], output), "perm", &order)
}
