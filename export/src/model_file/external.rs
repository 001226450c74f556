//! Weights that an exporter put into a second file beside the model.
//!
//! <https://onnx.ai/onnx/repo-docs/ExternalData.html>

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

use onnx_protobuf::tensor_proto::{DataLocation, DataType};
use onnx_protobuf::{GraphProto, ModelProto, NodeProto, SparseTensorProto, TensorProto};
use protobuf::Enum;

use super::{LARGEST_FILE, ModelFileError, limits};
use crate::bounded;

/// Brings external weights into `proto`, which lies in the file `model`, whole
/// or not at all. Returns whether there were any.
pub(super) fn inline(proto: &mut ModelProto, model: &Path) -> Result<bool, ModelFileError> {
    let mut tensors = Vec::new();
    if let Some(graph) = proto.graph.as_mut() {
        of_graph(graph, &mut tensors);
    }
    for function in &mut proto.functions {
        of_nodes(&mut function.node, &mut tensors);
    }
    tensors.retain(|tensor| tensor.data_location.enum_value() == Ok(DataLocation::EXTERNAL));
    let failed = |tensor: &TensorProto, reason: String| ModelFileError::External {
        origin: model.display().to_string(),
        tensor: tensor.name.clone(),
        location: entry(tensor, "location").unwrap_or_default().to_owned(),
        reason,
    };
    // With all of them inside, the model must still be one that can be written.
    // Nothing is read before that is known.
    let mut room = LARGEST_FILE;
    let mut pieces = Vec::with_capacity(tensors.len());
    for tensor in &tensors {
        let piece = Piece::of(tensor, model).map_err(|reason| failed(tensor, reason))?;
        room = room.checked_sub(piece.length).ok_or_else(|| {
            let reason = format!("the weights together have more than {LARGEST_FILE} bytes");
            failed(tensor, reason)
        })?;
        pieces.push(piece);
    }
    let found = !tensors.is_empty();
    for (tensor, piece) in tensors.into_iter().zip(pieces) {
        let bytes = piece.read();
        tensor.raw_data = bytes.map_err(|error| failed(tensor, error.to_string()))?;
        tensor.external_data.clear();
        tensor.data_location = DataLocation::DEFAULT.into();
    }
    Ok(found)
}

fn of_graph<'a>(graph: &'a mut GraphProto, tensors: &mut Vec<&'a mut TensorProto>) {
    tensors.extend(&mut graph.initializer);
    for sparse in &mut graph.sparse_initializer {
        of_sparse(sparse, tensors);
    }
    of_nodes(&mut graph.node, tensors);
}

fn of_nodes<'a>(nodes: &'a mut [NodeProto], tensors: &mut Vec<&'a mut TensorProto>) {
    for attribute in nodes.iter_mut().flat_map(|node| &mut node.attribute) {
        tensors.extend(attribute.t.as_mut());
        tensors.extend(&mut attribute.tensors);
        let single = attribute.sparse_tensor.as_mut().into_iter();
        for sparse in single.chain(&mut attribute.sparse_tensors) {
            of_sparse(sparse, tensors);
        }
        let single = attribute.g.as_mut().into_iter();
        for graph in single.chain(&mut attribute.graphs) {
            of_graph(graph, tensors);
        }
    }
}

fn of_sparse<'a>(sparse: &'a mut SparseTensorProto, tensors: &mut Vec<&'a mut TensorProto>) {
    tensors.extend(sparse.values.as_mut());
    tensors.extend(sparse.indices.as_mut());
}

/// Where a tensor's bytes lie.
struct Piece {
    path: PathBuf,
    offset: u64,
    length: u64,
}

impl Piece {
    fn of(tensor: &TensorProto, model: &Path) -> Result<Self, String> {
        let path = locate(entry(tensor, "location").unwrap_or_default(), model)?;
        let wanted = size(tensor)?;
        let offset = number(tensor, "offset")?.unwrap_or(0);
        let length = number(tensor, "length")?.unwrap_or(wanted);
        if length != wanted {
            return Err(format!(
                "{length} bytes of it are named, but a tensor of this type and shape has {wanted}"
            ));
        }
        let there = bounded::regular(&path).map_err(|error| error.to_string())?;
        if offset.saturating_add(length) > there {
            return Err(format!(
                "it has {there} bytes, but {length} from {offset} are asked for"
            ));
        }
        Ok(Self {
            path,
            offset,
            length,
        })
    }

    fn read(&self) -> io::Result<Vec<u8>> {
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.offset))?;
        let mut bytes = Vec::new();
        file.take(self.length).read_to_end(&mut bytes)?;
        if bytes.len() as u64 == self.length {
            Ok(bytes)
        } else {
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }
}

/// The file that `location` names. A model from elsewhere must not reach files
/// outside its own folder, not by a link either.
fn locate(location: &str, model: &Path) -> Result<PathBuf, String> {
    let outside = || "it does not name a file below the model's folder".to_owned();
    let inside =
        |component: Component<'_>| matches!(component, Component::Normal(_) | Component::CurDir);
    if location.is_empty() || !Path::new(location).components().all(inside) {
        return Err(outside());
    }
    let failed = |error: io::Error| error.to_string();
    let folder = match model.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let folder = folder.canonicalize().map_err(failed)?;
    let path = folder.join(location).canonicalize().map_err(failed)?;
    if path.starts_with(&folder) {
        Ok(path)
    } else {
        Err(outside())
    }
}

/// Bytes of a tensor of its type and shape.
fn size(tensor: &TensorProto) -> Result<u64, String> {
    use DataType as Type;
    let kind = Type::from_i32(tensor.data_type);
    let bits = match kind {
        Some(Type::UINT4 | Type::INT4) => 4,
        Some(
            Type::UINT8
            | Type::INT8
            | Type::BOOL
            | Type::FLOAT8E4M3FN
            | Type::FLOAT8E4M3FNUZ
            | Type::FLOAT8E5M2
            | Type::FLOAT8E5M2FNUZ,
        ) => 8,
        Some(Type::UINT16 | Type::INT16 | Type::FLOAT16 | Type::BFLOAT16) => 16,
        Some(Type::FLOAT | Type::INT32 | Type::UINT32) => 32,
        Some(Type::INT64 | Type::UINT64 | Type::DOUBLE | Type::COMPLEX64) => 64,
        Some(Type::COMPLEX128) => 128,
        _ => return Err(format!("its type {kind:?} cannot lie in another file")),
    };
    let extents = tensor.dims.iter().map(|extent| u64::try_from(*extent));
    let extents = extents.collect::<Result<Vec<_>, _>>();
    let elements = limits::elements(extents.map_err(|_| "its shape is negative".to_owned())?);
    Ok(elements.saturating_mul(bits).div_ceil(8))
}

fn number(tensor: &TensorProto, key: &str) -> Result<Option<u64>, String> {
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
