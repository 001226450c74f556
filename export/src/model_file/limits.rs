//! What a graph may ask for.
//!
//! A few bytes of a file from elsewhere can ask for more memory than there is;
//! an engine would end the program rather than report it.

use std::collections::HashMap;

use onnx_protobuf::GraphProto;

use crate::tensor::integers;

/// Largest number of elements of a tensor: 1 GiB in 32-bit floating point.
pub(crate) const LARGEST_TENSOR: u64 = 1 << 28;

/// The product of extents, or as much as fits.
pub(super) fn elements(dims: impl IntoIterator<Item = u64>) -> u64 {
    dims.into_iter().fold(1, u64::saturating_mul)
}

/// Refuses nodes that blow a stated shape up beyond [`LARGEST_TENSOR`].
///
/// # Errors
/// A sentence with the node's name.
pub(super) fn check(graph: &GraphProto) -> Result<(), String> {
    let mut constants: HashMap<&str, Vec<i64>> = HashMap::new();
    for tensor in &graph.initializer {
        constants.insert(&tensor.name, integers(tensor));
    }
    for node in &graph.node {
        let value = node.attribute.iter().find(|one| one.name == "value");
        if node.op_type == "Constant"
            && let (Some(name), Some(tensor)) = (
                node.output.first(),
                value.and_then(|value| value.t.as_ref()),
            )
        {
            constants.insert(name, integers(tensor));
        }
        let shape = match node.op_type.as_str() {
            "ConstantOfShape" => node.input.first(),
            "Expand" | "Tile" => node.input.get(1),
            _ => None,
        };
        let Some(extents) = shape.and_then(|name| constants.get(name.as_str())) else {
            continue;
        };
        let made = elements(extents.iter().map(|extent| extent.unsigned_abs()));
        if made > LARGEST_TENSOR {
            return Err(format!(
                "its node `{}` ({}) makes {made} numbers, but at most {LARGEST_TENSOR} are allowed",
                node.name, node.op_type
            ));
        }
    }
    Ok(())
}
