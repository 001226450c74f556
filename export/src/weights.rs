//! Named arrays in and out: the weights of a network as a safetensors file.
//!
//! The format is eight bytes with the header's length, the header as JSON and
//! the raw elements: <https://github.com/huggingface/safetensors>.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensors};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::bounded;
use crate::durable::replace_file;

/// Four times what an ONNX file can hold: room for the moments of an optimiser
/// and more.
const LARGEST_FILE: u64 = 1 << 33;

/// An array of numbers with its shape, row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedArray {
    /// Extent of each dimension, outermost first; empty for a scalar.
    pub shape: Vec<usize>,
    /// The elements; as many as the product of the shape.
    pub data: Vec<f32>,
}

/// Arrays by name, in the order of their names.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NamedArrays {
    arrays: BTreeMap<String, NamedArray>,
    /// Free text by key, kept in the file's `__metadata__`.
    pub metadata: BTreeMap<String, String>,
}

impl NamedArrays {
    /// An empty collection.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an array, or replaces the one of that name.
    ///
    /// # Errors
    /// [`WeightsError::Shape`] when the number of elements is not the product
    /// of `shape`.
    pub fn insert(
        &mut self,
        name: impl Into<String>,
        shape: impl Into<Vec<usize>>,
        data: Vec<f32>,
    ) -> Result<(), WeightsError> {
        let (name, shape) = (name.into(), shape.into());
        if shape.iter().product::<usize>() != data.len() {
            return Err(WeightsError::Shape {
                name,
                shape,
                elements: data.len(),
            });
        }
        self.arrays.insert(name, NamedArray { shape, data });
        Ok(())
    }

    /// The array of that name.
    pub fn get(&self, name: &str) -> Option<&NamedArray> {
        self.arrays.get(name)
    }

    /// The array of that name, or an error that names it.
    ///
    /// # Errors
    /// [`WeightsError::Missing`].
    pub fn require(&self, name: &str) -> Result<&NamedArray, WeightsError> {
        self.get(name).ok_or_else(|| WeightsError::Missing {
            name: name.to_owned(),
        })
    }

    /// Takes an array out.
    pub fn remove(&mut self, name: &str) -> Option<NamedArray> {
        self.arrays.remove(name)
    }

    /// All arrays, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &NamedArray)> {
        self.arrays
            .iter()
            .map(|(name, array)| (name.as_str(), array))
    }

    /// All names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.arrays.keys().map(String::as_str)
    }

    /// Number of arrays.
    pub fn len(&self) -> usize {
        self.arrays.len()
    }

    /// Whether there is no array.
    pub fn is_empty(&self) -> bool {
        self.arrays.is_empty()
    }

    /// Number of elements in all arrays together.
    pub fn parameters(&self) -> usize {
        self.arrays.values().map(|array| array.data.len()).sum()
    }

    /// Reads a safetensors file. Half precision (`F16`, `BF16`) is widened,
    /// which is exact; `F64` and `I64` are rounded.
    ///
    /// # Errors
    /// When the file cannot be read, is no safetensors file, or holds an array
    /// of another type of elements.
    pub fn load(path: &Path) -> Result<Self, WeightsError> {
        Self::from_bytes(&Self::bytes_of(path)?, &path.display().to_string())
    }

    /// The bytes of a file of weights, for [`NamedArrays::from_bytes`].
    ///
    /// # Errors
    /// When the file cannot be read or is larger than any such file.
    pub fn bytes_of(path: &Path) -> Result<Vec<u8>, WeightsError> {
        bounded::read(path, LARGEST_FILE).map_err(|reason| WeightsError::Read {
            path: path.to_owned(),
            reason,
        })
    }

    /// Reads the bytes of a safetensors file; `origin` names them in errors.
    ///
    /// # Errors
    /// As [`NamedArrays::load`].
    pub fn from_bytes(bytes: &[u8], origin: &str) -> Result<Self, WeightsError> {
        if bytes.is_empty() {
            return Err(WeightsError::Empty {
                origin: origin.to_owned(),
            });
        }
        let malformed = |reason| WeightsError::Format {
            origin: origin.to_owned(),
            reason,
        };
        let tensors = SafeTensors::deserialize(bytes).map_err(malformed)?;
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(malformed)?;
        let mut arrays = Self::new();
        if let Some(metadata) = header.metadata() {
            arrays
                .metadata
                .extend(metadata.iter().map(|(k, v)| (k.clone(), v.clone())));
        }
        for (name, view) in tensors.iter() {
            let data =
                to_f32(view.dtype(), view.data()).ok_or_else(|| WeightsError::ElementType {
                    origin: origin.to_owned(),
                    name: name.to_owned(),
                    element: view.dtype().to_string(),
                })?;
            arrays.insert(name, view.shape(), data)?;
        }
        Ok(arrays)
    }

    /// The bytes of a safetensors file: `F32`, arrays and metadata in the
    /// order of their names, so that equal contents give equal bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut header = serde_json::Map::new();
        if !self.metadata.is_empty() {
            header.insert("__metadata__".to_owned(), json!(self.metadata));
        }
        let mut end = 0;
        for (name, array) in &self.arrays {
            let start = end;
            end += array.data.len() * size_of::<f32>();
            header.insert(
                name.clone(),
                json!({ "dtype": "F32", "shape": array.shape, "data_offsets": [start, end] }),
            );
        }
        let mut header = Value::Object(header).to_string().into_bytes();
        // Padded with spaces so that the elements start at a multiple of eight.
        header.resize(header.len().next_multiple_of(8), b' ');
        let mut bytes = Vec::with_capacity(8 + header.len() + end);
        bytes.extend((header.len() as u64).to_le_bytes());
        bytes.extend(header);
        for array in self.arrays.values() {
            bytes.extend(array.data.iter().flat_map(|value| value.to_le_bytes()));
        }
        bytes
    }

    /// SHA-256 in hexadecimal over names, shapes, elements and metadata: of
    /// two collections it is equal where their files are.
    pub fn digest(&self) -> String {
        hex::encode(Sha256::digest(self.to_bytes()))
    }

    /// Writes a safetensors file; a crash leaves the old file or the new one.
    ///
    /// # Errors
    /// [`WeightsError::Write`] with what the file system reports.
    pub fn save(&self, path: &Path) -> Result<(), WeightsError> {
        replace_file(path, &self.to_bytes()).map_err(|reason| WeightsError::Write {
            path: path.to_owned(),
            reason,
        })
    }
}

/// Little-endian elements as `f32`, rounded to the nearest; `None` for other
/// types than floating point and the integers in which PyTorch counts.
fn to_f32(element: Dtype, bytes: &[u8]) -> Option<Vec<f32>> {
    Some(match element {
        Dtype::F64 => each(bytes, |word| f64::from_le_bytes(word) as f32),
        Dtype::F32 => each(bytes, f32::from_le_bytes),
        Dtype::F16 => each(bytes, |word| f32_from_f16(u16::from_le_bytes(word))),
        Dtype::BF16 => each(bytes, |word| f32_from_bf16(u16::from_le_bytes(word))),
        // Beside its weights a network may keep how many batches it saw, or
        // the numbers of its positions.
        Dtype::I64 => each(bytes, |word| i64::from_le_bytes(word) as f32),
        _ => return None,
    })
}

/// The number that each `N` bytes stand for.
fn each<const N: usize>(bytes: &[u8], number: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    let (words, _) = bytes.as_chunks::<N>();
    words.iter().map(|word| number(*word)).collect()
}

/// Widens IEEE 754 binary16 (1 sign, 5 exponent and 10 fraction bits).
fn f32_from_f16(bits: u16) -> f32 {
    let sign = u32::from(bits >> 15) << 31;
    let exponent = u32::from(bits >> 10 & 0x1f);
    let fraction = u32::from(bits & 0x3ff);
    match (exponent, fraction) {
        (0x1f, _) => f32::from_bits(sign | 0x7f80_0000 | fraction << 13),
        // Subnormal: fraction times 2^-24, which f32 holds exactly.
        (0, _) => f32::from_bits(sign | (fraction as f32 * 2f32.powi(-24)).to_bits()),
        _ => f32::from_bits(sign | (exponent + 127 - 15) << 23 | fraction << 13),
    }
}

/// Widens bfloat16, the upper half of an `f32`.
fn f32_from_bf16(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

/// Why named arrays could not be read, written or used.
///
/// The reasons stand in the messages and are no `source` besides.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// The file cannot be read.
    #[error("cannot read the weights {}: {reason}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the file system says.
        reason: std::io::Error,
    },
    /// The file cannot be written.
    #[error("cannot write the weights {}: {reason}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the file system says.
        reason: std::io::Error,
    },
    /// The file is empty.
    #[error("{origin} is empty; a safetensors file was expected")]
    Empty {
        /// File or description of the source.
        origin: String,
    },
    /// The file is no safetensors file, or a damaged one.
    #[error("{origin} is not a whole safetensors file: {reason}")]
    Format {
        /// File or description of the source.
        origin: String,
        /// What is wrong with it.
        reason: safetensors::SafeTensorError,
    },
    /// An array has elements that are not weights.
    #[error(
        "array `{name}` of {origin} has elements of type {element}; F64, F32, F16, BF16 or I64 is expected"
    )]
    ElementType {
        /// File or description of the source.
        origin: String,
        /// Name of the array.
        name: String,
        /// The type found.
        element: String,
    },
    /// The number of elements does not fit the shape.
    #[error("array `{name}` of shape {shape:?} cannot have {elements} elements")]
    Shape {
        /// Name of the array.
        name: String,
        /// The shape stated.
        shape: Vec<usize>,
        /// The number of elements given.
        elements: usize,
    },
    /// An array that is needed is absent.
    #[error("there is no array `{name}`")]
    Missing {
        /// Name of the array.
        name: String,
    },
}

#[cfg(test)]
mod tests;
