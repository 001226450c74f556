//! Nodes and constants by themselves, for graphs that are there already and are changed.

use onnx_protobuf::attribute_proto::AttributeType;
use onnx_protobuf::tensor_proto::DataType;
use onnx_protobuf::{AttributeProto, NodeProto, TensorProto};

/// A constant.
pub(crate) fn constant(
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
pub(crate) fn floats(name: String, shape: &[i64], values: &[f32]) -> TensorProto {
    let bytes = values.iter().flat_map(|value| value.to_le_bytes());
    constant(name, DataType::FLOAT, shape, bytes.collect())
}

/// A node with one output, which carries the node's name.
pub(crate) fn node(operator: &str, inputs: &[&str], output: &str) -> NodeProto {
    let mut node = NodeProto::new();
    node.op_type = operator.into();
    node.name = output.into();
    node.input = inputs.iter().map(|&input| input.into()).collect();
    node.output = vec![output.into()];
    node
}

/// Gives a node a whole number as an attribute.
pub(crate) fn with_integer(mut node: NodeProto, name: &str, value: i64) -> NodeProto {
    let mut attribute = AttributeProto::new();
    attribute.name = name.into();
    attribute.i = value;
    attribute.type_ = AttributeType::INT.into();
    node.attribute.push(attribute);
    node
}

/// Gives a node whole numbers as an attribute.
pub(crate) fn with_integers(mut node: NodeProto, name: &str, values: &[i64]) -> NodeProto {
    let mut attribute = AttributeProto::new();
    attribute.name = name.into();
    attribute.ints = values.to_vec();
    attribute.type_ = AttributeType::INTS.into();
    node.attribute.push(attribute);
    node
}
