//! What in a graph can be put into 8 bits.

use std::collections::{HashMap, HashSet};

use onnx_protobuf::{AttributeProto, GraphProto, NodeProto, TensorProto};

use crate::tensor::floats;

/// An operator that multiplies activations by constant weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    /// A convolution; an output for each row of the weights.
    Convolution,
    /// `Gemm` with an output for each row of the weights.
    GemmOfRows,
    /// `Gemm` with an output for each column of the weights.
    GemmOfColumns,
    /// `MatMul` with an output for each column of the weights.
    Product,
}

/// A node that can be put into 8 bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Site {
    /// Its index in the graph.
    pub(super) node: usize,
    pub(super) operator: Operator,
    /// The activations.
    pub(super) input: String,
    /// The constant weights.
    pub(super) weight: String,
    /// The constant bias, where it has one.
    pub(super) bias: Option<String>,
    /// What it gives.
    pub(super) output: String,
}

impl Site {
    /// The axis of the weights along which the outputs lie.
    pub(super) fn axis(&self) -> usize {
        match self.operator {
            Operator::Convolution | Operator::GemmOfRows => 0,
            Operator::GemmOfColumns | Operator::Product => 1,
        }
    }
}

/// The sites of a graph, in the order of its nodes. A layer that gives the
/// graph's output is none: the scores are worth more than its time.
pub(super) fn sites(graph: &GraphProto) -> Vec<Site> {
    let constants = constants(graph);
    let outputs: HashSet<&str> = graph
        .output
        .iter()
        .map(|value| value.name.as_str())
        .collect();
    let nodes = graph.node.iter().enumerate();
    nodes
        .filter_map(|(index, node)| site(index, node, &constants))
        .filter(|site| !outputs.contains(site.output.as_str()))
        .collect()
}

/// The constants of a graph by their names.
pub(super) fn constants(graph: &GraphProto) -> HashMap<&str, &TensorProto> {
    let constants = graph.initializer.iter();
    constants
        .map(|tensor| (tensor.name.as_str(), tensor))
        .collect()
}

fn site(index: usize, node: &NodeProto, constants: &HashMap<&str, &TensorProto>) -> Option<Site> {
    let [input, weight, rest @ ..] = node.input.as_slice() else {
        return None;
    };
    let matrix = |name: &String| {
        let tensor = constants.get(name.as_str())?;
        floats(tensor).map(|_| tensor.dims.len())
    };
    let operator = match (node.op_type.as_str(), matrix(weight)?) {
        ("Conv", 4) => Operator::Convolution,
        ("Gemm", 2) if is_plain_gemm(node) => match integer(node, "transB") {
            Some(1) => Operator::GemmOfRows,
            _ => Operator::GemmOfColumns,
        },
        ("MatMul", 2) => Operator::Product,
        _ => return None,
    };
    if constants.contains_key(input.as_str()) {
        return None;
    }
    let bias = match rest {
        [bias, ..] if !bias.is_empty() => {
            // A bias that is computed cannot be put into whole numbers.
            (matrix(bias)? == 1).then(|| bias.clone())?.into()
        }
        _ => None,
    };
    Some(Site {
        node: index,
        operator,
        input: input.clone(),
        weight: weight.clone(),
        bias,
        output: node.output.first()?.clone(),
    })
}

/// Whether it computes `A B + C` and no multiple of it.
fn is_plain_gemm(node: &NodeProto) -> bool {
    let is_one = |name| attribute(node, name).is_none_or(|attribute| attribute.f == 1.0);
    is_one("alpha") && is_one("beta") && integer(node, "transA").unwrap_or(0) == 0
}

pub(super) fn attribute<'a>(node: &'a NodeProto, name: &str) -> Option<&'a AttributeProto> {
    node.attribute
        .iter()
        .find(|attribute| attribute.name == name)
}

pub(super) fn integer(node: &NodeProto, name: &str) -> Option<i64> {
    attribute(node, name).map(|attribute| attribute.i)
}
