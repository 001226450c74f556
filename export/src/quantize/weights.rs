//! Weights as whole numbers.

use std::collections::HashSet;

use onnx_protobuf::{GraphProto, NodeProto, TensorProto};

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
