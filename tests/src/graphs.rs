//! Small ONNX graphs that tests make for themselves.
#![allow(clippy::unwrap_used)]

use millsight_export::card::ModelCard;
use onnx_protobuf::tensor_proto::DataType;
use onnx_protobuf::tensor_shape_proto::{Dimension, dimension};
use onnx_protobuf::{
    GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto,
    TypeProto, ValueInfoProto, type_proto,
};
use protobuf::MessageField;

/// A card that states nothing but the classes.
pub fn card(classes: &[&str]) -> ModelCard {
    serde_json::from_value(serde_json::json!({ "classes": classes })).unwrap()
}

/// A node with one output of 32-bit floats.
pub fn node(operator: &str, inputs: &[&str], output: &str) -> NodeProto {
    NodeProto {
        name: format!("make {output}"),
        op_type: operator.into(),
        input: inputs.iter().map(|&name| name.into()).collect(),
        output: vec![output.into()],
        ..Default::default()
    }
}

/// A weight of 32-bit floats.
pub fn floats(name: &str, dims: &[i64], values: &[f32]) -> TensorProto {
    TensorProto {
        name: name.into(),
        dims: dims.to_vec(),
        data_type: DataType::FLOAT as i32,
        float_data: values.to_vec(),
        ..Default::default()
    }
}

/// A list of 64-bit integers.
pub fn integers(name: &str, values: &[i64]) -> TensorProto {
    TensorProto {
        name: name.into(),
        dims: vec![values.len() as i64],
        data_type: DataType::INT64 as i32,
        int64_data: values.to_vec(),
        ..Default::default()
    }
}

/// An input or output of 32-bit floats; extents that are `None` are free.
pub fn value(name: &str, shape: &[Option<usize>]) -> ValueInfoProto {
    let dim = shape
        .iter()
        .map(|extent| Dimension {
            value: Some(match extent {
                Some(extent) => dimension::Value::DimValue(*extent as i64),
                None => dimension::Value::DimParam("batch".into()),
            }),
            ..Default::default()
        })
        .collect();
    let tensor = type_proto::Tensor {
        elem_type: DataType::FLOAT as i32,
        shape: MessageField::some(TensorShapeProto {
            dim,
            ..Default::default()
        }),
        ..Default::default()
    };
    ValueInfoProto {
        name: name.into(),
        type_: MessageField::some(TypeProto {
            value: Some(type_proto::Value::TensorType(tensor)),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// A classifier as small as can be: scores are linear in the mean of each of
/// three channels. `images` `[batch, 3, height, width]` -> `scores`
/// `[batch, classes]`. A batch that is fixed stands in the graph's arithmetic
/// as well, as many exporters write it.
pub fn mean_colour(
    batch: Option<usize>,
    [height, width]: [usize; 2],
    classes: usize,
) -> ModelProto {
    let count = batch.map_or(-1, |batch| batch as i64);
    let weights: Vec<f32> = (0..3 * classes)
        .map(|index| (index * 7 % 5) as f32 - 2.0)
        .collect();
    let bias: Vec<f32> = (0..classes).map(|index| index as f32 / 8.0).collect();
    let graph = GraphProto {
        name: "mean_colour".into(),
        node: vec![
            node("GlobalAveragePool", &["images"], "means"),
            node("Reshape", &["means", "flat"], "colours"),
            node("Gemm", &["colours", "weights", "bias"], "scores"),
        ],
        initializer: vec![
            integers("flat", &[count, 3]),
            floats("weights", &[3, classes as i64], &weights),
            floats("bias", &[classes as i64], &bias),
        ],
        input: vec![value(
            "images",
            &[batch, Some(3), Some(height), Some(width)],
        )],
        output: vec![value("scores", &[batch, Some(classes)])],
        ..Default::default()
    };
    ModelProto {
        ir_version: 8,
        opset_import: vec![OperatorSetIdProto {
            version: 17,
            ..Default::default()
        }],
        graph: MessageField::some(graph),
        ..Default::default()
    }
}

/// Adds a node that makes another output, in front of those there are.
pub fn push_output(model: &mut ModelProto, node: NodeProto, shape: &[Option<usize>]) {
    let graph = model.graph.mut_or_insert_default();
    graph.output.insert(0, value(&node.output[0], shape));
    graph.node.push(node);
}
