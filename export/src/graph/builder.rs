//! A graph under construction: nodes, constants and the shape of every value.

use onnx_protobuf::attribute_proto::AttributeType;
use onnx_protobuf::tensor_proto::DataType;
use onnx_protobuf::tensor_shape_proto::{Dimension, dimension};
use onnx_protobuf::type_proto;
use onnx_protobuf::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
    TensorShapeProto, TypeProto, ValueInfoProto,
};
use protobuf::MessageField;

/// Operator set of the graphs: the first with `Gelu`, whose exact form and
/// the `LayerNormalization` operator keep half precision from overflowing.
pub const OPSET: i64 = 20;
/// Version of the file format that goes with [`OPSET`].
const IR_VERSION: i64 = 9;
/// Name of the batch dimension.
pub const BATCH: &str = "N";

/// A value in the graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    name: String,
    shape: Vec<Extent>,
}

impl Value {
    /// The shape.
    pub fn shape(&self) -> &[Extent] {
        &self.shape
    }
}

/// Extent of a dimension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// The batch, unknown until the graph runs.
    Batch,
    /// A fixed extent.
    Fixed(usize),
}

/// An attribute of a node.
#[derive(Debug, Clone, PartialEq)]
pub enum Attribute {
    /// A whole number.
    Int(i64),
    /// Whole numbers.
    Ints(Vec<i64>),
    /// A number.
    Float(f32),
    /// A text.
    Text(&'static str),
}

/// Builds one graph.
#[derive(Debug, Default)]
pub struct Builder {
    graph: GraphProto,
}

impl Builder {
    /// An empty graph.
    pub fn new(name: &str) -> Self {
        let mut graph = GraphProto::new();
        graph.name = name.into();
        Self { graph }
    }

    /// Declares the graph's input, `[N, …]`.
    pub fn input(&mut self, name: &str, data_type: DataType, extents: &[usize]) -> Value {
        let value = Value {
            name: name.into(),
            shape: with_batch(extents),
        };
        self.graph
            .input
            .push(value_info(name, &value.shape, data_type));
        value
    }

    /// Adds a constant of 32-bit floats.
    pub fn floats(&mut self, name: &str, shape: &[usize], data: &[f32]) -> Value {
        let bytes = data.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(name, DataType::FLOAT, shape, bytes)
    }

    /// Adds a constant list of 64-bit integers.
    pub fn integers(&mut self, name: &str, data: &[i64]) -> Value {
        let bytes = data.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(name, DataType::INT64, &[data.len()], bytes)
    }

    /// Adds a constant 64-bit integer.
    pub fn scalar(&mut self, name: &str, value: i64) -> Value {
        self.constant(name, DataType::INT64, &[], value.to_le_bytes().to_vec())
    }

    fn constant(
        &mut self,
        name: &str,
        data_type: DataType,
        shape: &[usize],
        bytes: Vec<u8>,
    ) -> Value {
        let mut tensor = TensorProto::new();
        tensor.name = name.into();
        tensor.data_type = data_type as i32;
        tensor.dims = shape.iter().map(|&extent| extent as i64).collect();
        tensor.raw_data = bytes;
        self.graph.initializer.push(tensor);
        Value {
            name: name.into(),
            shape: shape.iter().map(|&extent| Extent::Fixed(extent)).collect(),
        }
    }

    /// Adds a node with one output of 32-bit floats and the given shape. The
    /// output carries the node's name.
    pub fn node(
        &mut self,
        name: &str,
        operator: &str,
        inputs: &[&Value],
        attributes: &[(&str, Attribute)],
        shape: Vec<Extent>,
    ) -> Value {
        let mut outputs = self.node_with_outputs(operator, inputs, attributes, &[name], shape);
        outputs.remove(0)
    }

    /// Adds a node with several outputs of the same shape; the first gives the
    /// node its name.
    pub fn node_with_outputs(
        &mut self,
        operator: &str,
        inputs: &[&Value],
        attributes: &[(&str, Attribute)],
        names: &[&str],
        shape: Vec<Extent>,
    ) -> Vec<Value> {
        let mut node = NodeProto::new();
        node.name = names[0].into();
        node.op_type = operator.into();
        node.input = inputs.iter().map(|value| value.name.clone()).collect();
        node.output = names.iter().map(|&name| name.into()).collect();
        node.attribute = attributes
            .iter()
            .map(|(name, attribute)| attribute_proto(name, attribute))
            .collect();
        self.graph.node.push(node);
        let outputs: Vec<Value> = names
            .iter()
            .map(|&name| Value {
                name: name.into(),
                shape: shape.clone(),
            })
            .collect();
        for output in &outputs {
            self.graph
                .value_info
                .push(value_info(&output.name, &output.shape, DataType::FLOAT));
        }
        outputs
    }

    /// Closes the graph with its output, which moves from the inner values to
    /// the outer ones.
    pub fn finish(mut self, output: &Value) -> ModelProto {
        self.graph
            .value_info
            .retain(|inner| inner.name != output.name);
        let declared = value_info(&output.name, &output.shape, DataType::FLOAT);
        self.graph.output.push(declared);
        let mut opset = OperatorSetIdProto::new();
        opset.version = OPSET;
        let mut model = ModelProto::new();
        model.ir_version = IR_VERSION;
        model.opset_import.push(opset);
        model.producer_name = "millsight-export".into();
        model.producer_version = env!("CARGO_PKG_VERSION").into();
        model.graph = MessageField::some(self.graph);
        model
    }
}

/// A shape whose first dimension is the batch.
pub fn with_batch(extents: &[usize]) -> Vec<Extent> {
    std::iter::once(Extent::Batch)
        .chain(extents.iter().map(|&extent| Extent::Fixed(extent)))
        .collect()
}

/// Declares a value of a graph.
pub(crate) fn value_info(name: &str, extents: &[Extent], data_type: DataType) -> ValueInfoProto {
    let mut shape = TensorShapeProto::new();
    for extent in extents {
        let mut dimension = Dimension::new();
        dimension.value = Some(match *extent {
            Extent::Batch => dimension::Value::DimParam(BATCH.into()),
            Extent::Fixed(extent) => dimension::Value::DimValue(extent as i64),
        });
        shape.dim.push(dimension);
    }
    let mut tensor = type_proto::Tensor::new();
    tensor.elem_type = data_type as i32;
    tensor.shape = MessageField::some(shape);
    let mut kind = TypeProto::new();
    kind.value = Some(type_proto::Value::TensorType(tensor));
    let mut info = ValueInfoProto::new();
    info.name = name.into();
    info.type_ = MessageField::some(kind);
    info
}

fn attribute_proto(name: &str, attribute: &Attribute) -> AttributeProto {
    let mut proto = AttributeProto::new();
    proto.name = name.into();
    let kind = match attribute {
        Attribute::Int(value) => {
            proto.i = *value;
            AttributeType::INT
        }
        Attribute::Ints(values) => {
            proto.ints = values.clone();
            AttributeType::INTS
        }
        Attribute::Float(value) => {
            proto.f = *value;
            AttributeType::FLOAT
        }
        Attribute::Text(text) => {
            proto.s = text.as_bytes().to_vec();
            AttributeType::STRING
        }
    };
    proto.type_ = kind.into();
    proto
}
