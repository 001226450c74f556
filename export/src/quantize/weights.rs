//! Weights as whole numbers, and the constants and nodes that hold them.

use std::collections::HashSet;

use onnx_protobuf::attribute_proto::AttributeType;
use onnx_protobuf::tensor_proto::DataType;
use onnx_protobuf::{AttributeProto, GraphProto, NodeProto, TensorProto};

/// Largest magnitude of a weight: -128 is left out, so that both signs have as
/// many levels.
const LARGEST: f32 = 127.0;

/// Weights as whole numbers with a scale for each output.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Whole {
    /// In the order of the weights.
    pub(super) levels: Vec<i8>,
    /// The value of one step for each output.
    pub(super) scales: Vec<f32>,
}

/// Puts weights of a shape into whole numbers; outputs lie along `axis`.
pub(super) fn whole(weights: &[f32], shape: &[i64], axis: usize) -> Whole {
    let outputs = shape[axis] as usize;
    let inner: usize = shape[axis + 1..].iter().product::<i64>() as usize;
    let output = |at: usize| at / inner.max(1) % outputs;
    let mut largest = vec![0f32; outputs];
    for (at, weight) in weights.iter().enumerate() {
        let largest = &mut largest[output(at)];
        *largest = largest.max(weight.abs());
    }
    let scale = |largest: f32| match largest > f32::MIN_POSITIVE * LARGEST {
        true => largest / LARGEST,
        false => 1.0,
    };
    let scales: Vec<f32> = largest.into_iter().map(scale).collect();
    let levels = weights
        .iter()
        .enumerate()
        .map(|(at, weight)| (weight / scales[output(at)]).round() as i8)
        .collect();
    Whole { levels, scales }
}

/// A constant.
pub(super) fn constant(
    name: String,
    data_type: DataType,
    shape: &[i64],
    bytes: Vec<u8>,
) -> TensorProto {
    let mut tensor = TensorProto::new();
    tensor.name = name;
    tensor.data_type = data_type as i32;
    tensor.dims = shape.to_vec();
    tensor.raw_data = bytes;
    tensor
}

/// A constant of 32-bit floats; of one element without a dimension.
pub(super) fn floats(name: String, shape: &[i64], values: &[f32]) -> TensorProto {
    let bytes = values.iter().flat_map(|value| value.to_le_bytes());
    constant(name, DataType::FLOAT, shape, bytes.collect())
}

/// A node with one output, which carries the node's name.
pub(super) fn node(operator: &str, inputs: &[&str], output: &str) -> NodeProto {
    let mut node = NodeProto::new();
    node.op_type = operator.into();
    node.name = output.into();
    node.input = inputs.iter().map(|&input| input.into()).collect();
    node.output = vec![output.into()];
    node
}

/// Gives a node a whole number as an attribute.
pub(super) fn with_integer(mut node: NodeProto, name: &str, value: i64) -> NodeProto {
    let mut attribute = AttributeProto::new();
    attribute.name = name.into();
    attribute.i = value;
    attribute.type_ = AttributeType::INT.into();
    node.attribute.push(attribute);
    node
}

/// Gives a node whole numbers as an attribute.
pub(super) fn with_integers(mut node: NodeProto, name: &str, values: &[i64]) -> NodeProto {
    let mut attribute = AttributeProto::new();
    attribute.name = name.into();
    attribute.ints = values.to_vec();
    attribute.type_ = AttributeType::INTS.into();
    node.attribute.push(attribute);
    node
}

/// Gives a graph other nodes and the constants that they need besides; those
/// that nobody takes any more go.
pub(super) fn replace_nodes(
    graph: &mut GraphProto,
    nodes: Vec<NodeProto>,
    constants: Vec<TensorProto>,
) {
    let inputs = nodes.iter().flat_map(|node| &node.input);
    let used: HashSet<&str> = inputs.map(String::as_str).collect();
    graph
        .initializer
        .retain(|tensor| used.contains(tensor.name.as_str()));
    graph.initializer.extend(constants);
    graph.node = nodes;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_output_has_its_own_scale() {
        // Two outputs of two weights: as rows, and as columns.
        let rows = whole(&[1.0, -0.5, 0.0, 25.4], &[2, 2], 0);
        assert_eq!(rows.levels, [127, -64, 0, 127]);
        assert_eq!(rows.scales, [1.0 / 127.0, 25.4 / 127.0]);
        let columns = whole(&[1.0, 0.0, -0.5, 25.4], &[2, 2], 1);
        assert_eq!(columns.levels, [127, 0, -64, 127]);
        assert_eq!(columns.scales, rows.scales);
        assert_eq!(whole(&[0.0; 4], &[2, 2], 0).scales, [1.0, 1.0]);
    }
}
