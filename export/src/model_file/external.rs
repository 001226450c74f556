//! Weights that an exporter put into a second file beside the model.
//!
//! <https://onnx.ai/onnx/repo-docs/ExternalData.html>

use std::collections::HashMap;
use std::path::{Component, Path};

use onnx_protobuf::tensor_proto::DataLocation;
use onnx_protobuf::{ModelProto, TensorProto};

use super::ModelFileError;

/// Brings external weights into `proto`, which lies in the file `model`.
/// Returns whether there were any.
pub(super) fn inline(proto: &mut ModelProto, model: &Path) -> Result<bool, ModelFileError> {
    let mut files: HashMap<String, Vec<u8>> = HashMap::new();
    let mut found = false;
    let Some(graph) = proto.graph.as_mut() else {
        return Ok(false);
    };
    for tensor in &mut graph.initializer {
        if tensor.data_location.enum_value() != Ok(DataLocation::EXTERNAL) {
            continue;
        }
        found = true;
        let location = entry(tensor, "location").unwrap_or_default().to_owned();
        let fetched = fetch(tensor, &location, model, &mut files);
        tensor.raw_data = fetched.map_err(|reason| ModelFileError::External {
            origin: model.display().to_string(),
            tensor: tensor.name.clone(),
            location,
            reason,
        })?;
        tensor.external_data.clear();
        tensor.data_location = DataLocation::DEFAULT.into();
    }
    Ok(found)
}

fn fetch(
    tensor: &TensorProto,
    location: &str,
    model: &Path,
    files: &mut HashMap<String, Vec<u8>>,
) -> Result<Vec<u8>, String> {
    // A model from elsewhere must not reach files outside its own folder.
    let inside =
        |component: Component<'_>| matches!(component, Component::Normal(_) | Component::CurDir);
    if location.is_empty() || !Path::new(location).components().all(inside) {
        return Err("it does not name a file below the model's folder".to_owned());
    }
    let bytes = match files.get(location) {
        Some(bytes) => bytes,
        None => {
            let path = model.with_file_name(location);
            let bytes = std::fs::read(&path).map_err(|error| error.to_string())?;
            files.entry(location.to_owned()).or_insert(bytes)
        }
    };
    let offset = number(tensor, "offset")?.unwrap_or(0);
    let length = match number(tensor, "length")? {
        Some(length) => length,
        None => bytes.len().saturating_sub(offset),
    };
    let range = offset..offset.saturating_add(length);
    bytes.get(range).map(<[u8]>::to_vec).ok_or_else(|| {
        format!(
            "it has {} bytes, but {length} from {offset} are asked for",
            bytes.len()
        )
    })
}

fn number(tensor: &TensorProto, key: &str) -> Result<Option<usize>, String> {
    let parse = |text: &str| {
        text.parse()
            .map_err(|_| format!("its `{key}` is `{text}`, no number"))
    };
    entry(tensor, key).map(parse).transpose()
}

fn entry<'a>(tensor: &'a TensorProto, key: &str) -> Option<&'a str> {
    tensor
        .external_data
        .iter()
        .find(|entry| entry.key == key)
        .map(|entry| entry.value.as_str())
}
