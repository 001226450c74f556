//! The elements of a graph's constants.

use onnx_protobuf::TensorProto;
use onnx_protobuf::tensor_proto::DataType;

/// The elements of a tensor of 32-bit floats, as many as its shape says; `None` of
/// another tensor.
pub(crate) fn floats(tensor: &TensorProto) -> Option<Vec<f32>> {
    if tensor.data_type != DataType::FLOAT as i32 {
        return None;
    }
    let count = tensor.dims.iter().product::<i64>();
    let values: Vec<f32> = match tensor.raw_data.is_empty() {
        true => tensor.float_data.clone(),
        false => {
            let (words, _) = tensor.raw_data.as_chunks::<4>();
            words.iter().map(|word| f32::from_le_bytes(*word)).collect()
        }
    };
    (usize::try_from(count) == Ok(values.len())).then_some(values)
}

/// The elements of a tensor of 64-bit integers; none of another.
pub(crate) fn integers(tensor: &TensorProto) -> Vec<i64> {
    if tensor.data_type != DataType::INT64 as i32 {
        return Vec::new();
    }
    if !tensor.int64_data.is_empty() {
        return tensor.int64_data.clone();
    }
    let (words, _) = tensor.raw_data.as_chunks::<8>();
    words.iter().map(|word| i64::from_le_bytes(*word)).collect()
}
