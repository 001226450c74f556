//! A file of named arrays: of safetensors, of PyTorch, or a model file of ours.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use millsight_export::graph::vit_weights;
use millsight_export::model_file::ModelFile;
use millsight_export::weights::{NamedArray, NamedArrays};

use super::backbone::{CLASSES, NETWORK, PREPROCESSING};
use super::pytorch;
use crate::TrainError;

/// With what an ONNX file begins: the key of its version, which comes first.
const ONNX: u8 = 0x08;

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
    /// When the file cannot be read, is empty, damaged or no checkpoint, or a model
    /// file of another network than a Vision Transformer that was exported here.
    pub fn open(path: &Path) -> Result<Self, TrainError> {
        let read = TrainError::io("read the weights", path);
        let (beginning, size) = beginning(path).map_err(read)?;
        let contents = if is_safetensors(path, &beginning) {
            Contents::Safetensors(NamedArrays::load(path)?)
        } else if beginning.first() == Some(&ONNX) {
            Contents::Safetensors(of_model(path)?)
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

/// The weights of a model file, with what its card says of them.
fn of_model(path: &Path) -> Result<NamedArrays, TrainError> {
    let misfit = |reason: String| TrainError::Initial {
        path: path.to_path_buf(),
        reason,
    };
    let model = ModelFile::load(path, None).map_err(|error| misfit(error.to_string()))?;
    let (network, mut weights) = vit_weights(&model).map_err(|error| misfit(error.to_string()))?;
    let card = &model.card;
    for (key, value) in [
        (NETWORK, serde_json::to_string(&network)),
        (PREPROCESSING, serde_json::to_string(&card.preprocessing)),
        (CLASSES, serde_json::to_string(&card.classes)),
    ] {
        let value = value.map_err(|error| misfit(error.to_string()))?;
        weights.metadata.insert(key.to_owned(), value);
    }
    Ok(weights)
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::weights::backbone::Backbone;

    fn shipped(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../models")
            .join(name)
    }

    #[test]
    fn a_model_file_says_all_that_a_network_needs_to_begin_with_it() {
        let backbone = Backbone::open(&shipped("millsight-vit.onnx")).unwrap();
        let network = backbone.stated.clone().unwrap();
        assert_eq!((network.width, network.depth, network.heads), (128, 4, 4));
        assert_eq!((network.image_height, network.patch), (224, 16));
        assert_eq!(backbone.classes.clone().unwrap().len(), 5);
        assert!(backbone.preprocessing.is_some());
        assert!(backbone.unknown.is_empty(), "{:?}", backbone.unknown);
        backbone.check(&network).unwrap();
        for (name, shape) in network.parameters() {
            assert_eq!(backbone.weights.get(&name).unwrap().shape, shape, "{name}");
        }
    }

    #[test]
    fn a_model_file_of_another_network_is_refused() {
        let error = WeightsFile::open(&shipped("millsight-screen.onnx"));
        let error = error.unwrap_err().to_string();
        for part in ["millsight-screen.onnx", "no Vision Transformer"] {
            assert!(error.contains(part), "{error}");
        }
    }
}
