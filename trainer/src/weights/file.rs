//! A file of named arrays, of safetensors or of PyTorch.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use millsight_export::weights::{NamedArray, NamedArrays};

use super::pytorch;
use crate::TrainError;

/// A file of named arrays. Those within dictionaries have the keys on the way
/// to them in their names: `teacher.backbone.cls_token`.
#[derive(Debug)]
pub struct WeightsFile {
    /// The file.
    pub path: PathBuf,
    contents: Contents,
}

#[derive(Debug)]
enum Contents {
    Safetensors(NamedArrays),
    PyTorch(BTreeMap<String, pytorch::Unread>),
}

impl WeightsFile {
    /// Opens a file, whose contents and not its name say what it is.
    ///
    /// PyTorch's files are not run, as Python would run them: of the objects
    /// in them only dictionaries, lists and arrays are looked at.
    ///
    /// # Errors
    /// When the file cannot be read, is empty, damaged or no checkpoint.
    pub fn open(path: &Path) -> Result<Self, TrainError> {
        let read = TrainError::io("read the weights", path);
        let (beginning, size) = beginning(path).map_err(read)?;
        let contents = if is_safetensors(path, &beginning) {
            Contents::Safetensors(NamedArrays::load(path)?)
        } else {
            Contents::PyTorch(pytorch::open(path, size)?)
        };
        let path = path.to_path_buf();
        Ok(Self { path, contents })
    }

    /// The contents of a safetensors file; `path` names it in errors.
    pub fn of_arrays(path: &Path, arrays: NamedArrays) -> Self {
        Self {
            path: path.to_path_buf(),
            contents: Contents::Safetensors(arrays),
        }
    }

    /// Whether the file is one that `torch.save` wrote.
    pub fn is_pytorch(&self) -> bool {
        matches!(self.contents, Contents::PyTorch(_))
    }

    /// Free text under a key; only safetensors files have any.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        match &self.contents {
            Contents::Safetensors(arrays) => arrays.metadata.get(key).map(String::as_str),
            Contents::PyTorch(_) => None,
        }
    }

    /// Names of all arrays, in order.
    pub fn names(&self) -> Vec<String> {
        match &self.contents {
            Contents::Safetensors(arrays) => arrays.names().map(str::to_owned).collect(),
            Contents::PyTorch(arrays) => arrays.keys().cloned().collect(),
        }
    }

    /// Takes an array out, half and double precision as `f32`; `None` when
    /// there is none of that name.
    ///
    /// # Errors
    /// When it is damaged or not of floating point.
    pub fn take(&mut self, name: &str) -> Result<Option<NamedArray>, TrainError> {
        match &mut self.contents {
            Contents::Safetensors(arrays) => Ok(arrays.remove(name)),
            Contents::PyTorch(arrays) => match arrays.remove(name) {
                Some(array) => pytorch::read(&array, &self.path).map(Some),
                None => Ok(None),
            },
        }
    }
}

/// The first bytes of a file, and how many it has.
fn beginning(path: &Path) -> std::io::Result<(Vec<u8>, u64)> {
    let file = File::open(path)?;
    let size = file.metadata()?.len();
    let mut beginning = Vec::new();
    file.take(9).read_to_end(&mut beginning)?;
    Ok((beginning, size))
}

/// A safetensors file begins with the length of its header and the header's
/// brace; one that is cut before is known by its ending.
fn is_safetensors(path: &Path, beginning: &[u8]) -> bool {
    let ending = path.extension().is_some_and(|end| end == "safetensors");
    ending || beginning.get(8) == Some(&b'{')
}
