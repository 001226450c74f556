//! The nodes that give the distance.

use onnx_protobuf::GraphProto;
use onnx_protobuf::tensor_proto::DataType;

use super::DistanceError;
use super::covariance::Spread;
use crate::graph::builder::{Extent, value_info};
use crate::graph::parts::{floats, node, with_integer};

/// What the names of all that is added begin with.
const PREFIX: &str = "millsight.distance";

/// Most nodes between the layer that gives the scores and the graph's output.
const FARTHEST: usize = 8;

/// The name of the tensor that the layer multiplies which gives an output's scores.
///
/// # Errors
/// When no such layer does.
pub(super) fn embedding(graph: &GraphProto, output: &str) -> Result<String, DistanceError> {
    let is_constant = |name: &String| {
        graph.initializer.iter().any(|tensor| tensor.name == *name)
            || graph
                .node
                .iter()
                .any(|node| node.op_type == "DequantizeLinear" && node.output.contains(name))
    };
    let mut tensor = output.to_owned();
    let mut found = "nothing".to_owned();
    for _ in 0..FARTHEST {
        let Some(node) = graph.node.iter().find(|node| node.output.contains(&tensor)) else {
            break;
        };
        found = format!("a node {}", node.op_type);
        let before = match (node.op_type.as_str(), node.input.as_slice()) {
            ("Gemm" | "MatMul", [embedding, weight, ..]) if is_constant(weight) => {
                return Ok(embedding.clone());
            }
            ("Softmax" | "Identity", [before, ..]) => before,
            ("Add", [before, bias]) | ("Add", [bias, before]) if is_constant(bias) => before,
            _ => break,
        };
        tensor.clone_from(before);
    }
    Err(DistanceError::NoEmbedding {
        output: output.to_owned(),
        found,
    })
}

/// Adds nodes that give the distance of an embedding in units of `unit`, `[N, 1]`; gives
/// the name of that output. They are of operator sets from 7 on.
pub(super) fn add(graph: &mut GraphProto, embedding: &str, spread: &Spread, unit: f64) -> String {
    let d = spread.mean.len();
    let offset = -(&spread.whitening * &spread.mean);
    let rows = spread.whitening.transpose();
    let single = |values: &[f64]| values.iter().map(|&value| value as f32).collect::<Vec<_>>();
    let name = |part: &str| format!("{PREFIX}.{part}");
    let side = d as i64;
    graph.initializer.extend([
        // The library keeps columns one after the other, ONNX rows.
        floats(name("whitening"), &[side, side], &single(rows.as_slice())),
        floats(name("offset"), &[side], &single(offset.as_slice())),
        floats(name("sum"), &[side, 1], &vec![unit.powi(-2) as f32; d]),
    ]);
    let (whitened, square, sum) = (name("whitened"), name("square"), name("sum_of_squares"));
    let whiten = [embedding, &name("whitening"), &name("offset")];
    graph.node.extend([
        with_integer(node("Gemm", &whiten, &whitened), "transB", 1),
        node("Mul", &[&whitened, &whitened], &square),
        node("MatMul", &[&square, &name("sum")], &sum),
        node("Sqrt", &[&sum], PREFIX),
    ]);
    let shape = [Extent::Batch, Extent::Fixed(1)];
    graph
        .output
        .push(value_info(PREFIX, &shape, DataType::FLOAT));
    PREFIX.to_owned()
}

/// Takes away what [`add`] has added.
pub(super) fn remove(graph: &mut GraphProto) {
    let is_ours = |name: &str| name.starts_with(PREFIX);
    graph.initializer.retain(|tensor| !is_ours(&tensor.name));
    graph.node.retain(|node| !is_ours(&node.name));
    graph.output.retain(|output| !is_ours(&output.name));
}
