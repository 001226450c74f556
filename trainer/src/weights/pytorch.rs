//! Arrays of the files that `torch.save` writes (`.pth`, `.pt`).

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

use burn::tensor::{DType, TensorData};
use millsight_export::weights::NamedArray;
use pytorch_reader::{DType as Element, PytorchError, PytorchReader};

use crate::TrainError;

/// An array whose elements are still in the file.
pub(super) type Unread = pytorch_reader::Tensor;

/// Views can state far more elements than a file holds. Arrays that share
/// their elements are common, but not so many times over.
const LARGEST_SHARE: u64 = 4;

/// Lists the arrays of a file of `size` bytes by name.
///
/// # Errors
/// When the file cannot be read, is no such file or a damaged one.
pub(super) fn open(path: &Path, size: u64) -> Result<BTreeMap<String, Unread>, TrainError> {
    if size == 0 {
        return Err(unusable(path, "the file is empty".to_owned()));
    }
    let reader = PytorchReader::new(path).map_err(|error| match error {
        PytorchError::Io(error) if is_of_the_system(error.kind()) => {
            TrainError::io("read the weights", path)(error)
        }
        PytorchError::InvalidFormat(reason) if reason.starts_with("not a PyTorch checkpoint") => {
            TrainError::NotWeights {
                path: path.to_path_buf(),
            }
        }
        other => unusable(path, other.to_string()),
    })?;
    let arrays: BTreeMap<String, Unread> = reader.into_tensors().into_iter().collect();
    let bytes = arrays.values().fold(0, |sum: u64, array| {
        sum.saturating_add(array.byte_len() as u64)
    });
    if bytes > size.saturating_mul(LARGEST_SHARE) {
        let reason = format!("its arrays would take {bytes} bytes, but the file has {size}");
        return Err(unusable(path, reason));
    }
    Ok(arrays)
}

/// Reads an array of the file; half and double precision become `f32`.
///
/// # Errors
/// When it is damaged or not of floating point.
pub(super) fn read(array: &Unread, path: &Path) -> Result<NamedArray, TrainError> {
    let element = match array.dtype() {
        Element::F64 => DType::F64,
        Element::F32 => DType::F32,
        Element::F16 => DType::F16,
        Element::BF16 => DType::BF16,
        other => {
            let name = &array.name;
            let reason =
                format!("array '{name}' holds {other:?}; weights are numbers of floating point");
            return Err(unusable(path, reason));
        }
    };
    let bytes = array.read().map_err(|error| match error.kind() {
        kind if is_of_the_system(kind) => TrainError::io("read the weights", path)(error),
        _ => unusable(path, error.to_string()),
    })?;
    let data = TensorData::from_bytes_vec(bytes, array.shape(), element)
        .try_cast_as::<f32>()
        .and_then(TensorData::try_into_vec)
        .map_err(|error| unusable(path, format!("array '{}': {error}", array.name)))?;
    Ok(NamedArray {
        shape: array.shape().to_vec(),
        data,
    })
}

/// Whether the operating system reports the error rather than the contents of
/// the file.
fn is_of_the_system(kind: ErrorKind) -> bool {
    !matches!(kind, ErrorKind::InvalidData | ErrorKind::UnexpectedEof)
}

fn unusable(path: &Path, reason: String) -> TrainError {
    TrainError::Checkpoint {
        path: path.to_path_buf(),
        reason,
    }
}
