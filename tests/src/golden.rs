//! Golden vectors: numbers that the original programs (timm, Pillow,
//! torchvision, ...) produced, with a manifest for each case.
//!
//! Tests are driven by the manifests alone: whatever cases of a kind lie in
//! the folder are run, and everything that a case expects is checked; an
//! expectation that no test knows makes the tests of its kind fail. The folder
//! is `MILLSIGHT_GOLDEN_DIR` where that is set, else `tests/golden`.
//!
//! Everything here panics on a malformed case, with the file's name: a test
//! has nothing better to do.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use millsight_export::weights::{NamedArray, NamedArrays};
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;
use serde_json::Value;

mod check;
pub mod distillation;
mod formula;
pub mod mae;
pub mod network;
mod tolerance;

pub use tolerance::Tolerance;

/// Environment variable that names a folder of other vectors.
const FOLDER: &str = "MILLSIGHT_GOLDEN_DIR";

/// The kinds of case that there are tests for, each a folder.
const KINDS: [&str; 8] = [
    "vit",
    "preproc",
    "metrics",
    "mae",
    "dino",
    "downstream",
    "split",
    "pca",
];

/// The folder with the golden vectors.
pub fn folder() -> PathBuf {
    match std::env::var_os(FOLDER) {
        Some(folder) => resolve(Path::new(&folder)),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("golden"),
    }
}

/// Whether the vectors are others than those of this repository, which leaves
/// some of the large files out.
pub fn is_elsewhere() -> bool {
    std::env::var_os(FOLDER).is_some()
}

/// A folder that someone names in the workspace's root, where cargo is called;
/// the tests themselves are started elsewhere.
fn resolve(folder: &Path) -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package).join(folder)
}

/// All cases at or below `kind` (for example `vit`), in the order of their
/// names.
///
/// # Panics
/// When there is none in the vectors of this repository: a test that runs no
/// case proves nothing. Another folder may hold some of the kinds only; the
/// tests of the others say that they are skipped.
pub fn cases(kind: &str) -> Vec<GoldenCase> {
    let root = folder();
    let folders = |kind: &str| {
        let mut found = Vec::new();
        collect(&root.join(kind), &mut found);
        found.sort();
        found
    };
    let found = folders(kind);
    if found.is_empty() {
        let others = KINDS.iter().any(|other| !folders(other).is_empty());
        assert!(
            others && is_elsewhere(),
            "no golden case in {}; set {FOLDER} to a folder that holds some",
            root.join(kind).display()
        );
        eprintln!("skipped: {} holds no case of {kind}", root.display());
    }
    found
        .iter()
        .map(|folder| GoldenCase::load(folder))
        .collect()
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    if folder.join("manifest.json").is_file() {
        found.push(folder.to_owned());
    }
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    for entry in entries {
        let path = entry.expect("a readable folder").path();
        if path.is_dir() {
            collect(&path, found);
        }
    }
}

/// One case: its manifest and where it lies.
#[derive(Debug, Clone)]
pub struct GoldenCase {
    /// The case's folder.
    pub folder: PathBuf,
    /// What the folder holds.
    pub manifest: Manifest,
}

/// A case's `manifest.json`.
#[derive(Debug, Clone, Deserialize)]
pub struct Manifest {
    /// Name of the case, for example `vit/forward`.
    pub case: String,
    /// Sizes and hyper-parameters.
    pub config: Value,
    /// Every file of the case by its name, with what the maker says of it.
    #[serde(default)]
    pub files: BTreeMap<String, Value>,
    /// Every tensor of the case.
    pub tensors: Vec<TensorEntry>,
    /// Expected plain numbers.
    #[serde(default)]
    pub scalars: Value,
}

/// A tensor that a manifest lists.
#[derive(Debug, Clone, Deserialize)]
pub struct TensorEntry {
    /// Name in the file.
    pub name: String,
    /// The safetensors file, relative to the case's folder.
    pub file: String,
    /// Extent of each dimension.
    pub shape: Vec<usize>,
    /// What it is for.
    pub role: Role,
    /// The same in words.
    #[serde(default)]
    pub meaning: String,
    /// How close a result must come; expected tensors only.
    pub tol: Option<Tolerance>,
}

/// What a tensor is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// A weight of the network.
    Weight,
    /// Something put in.
    Input,
    /// What must come out.
    Expected,
    /// What must come out, in double precision.
    ExpectedF64,
}

impl GoldenCase {
    /// Reads a case's manifest.
    pub fn load(folder: &Path) -> Self {
        let path = folder.join("manifest.json");
        let text = std::fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let manifest = serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self {
            folder: folder.to_owned(),
            manifest,
        }
    }

    /// What must come out.
    pub fn expected(&self) -> impl Iterator<Item = &TensorEntry> {
        let expected = |entry: &&TensorEntry| match entry.role {
            Role::Expected | Role::ExpectedF64 => true,
            Role::Weight | Role::Input => false,
        };
        self.manifest.tensors.iter().filter(expected)
    }

    /// Fails for something expected that no test knows how to check.
    ///
    /// # Panics
    /// Always.
    pub fn unknown(&self, name: &str) -> ! {
        panic!(
            "{} expects `{name}`, which no test checks",
            self.manifest.case
        )
    }

    /// Whether the manifest lists a tensor of that name, or has a formula for
    /// it.
    pub fn has(&self, name: &str) -> bool {
        self.manifest.tensors.iter().any(|entry| entry.name == name) || self.formula(name).is_some()
    }

    /// The formula that an entry of `config`, or an element of a list there,
    /// gives for a tensor that is not stored.
    fn formula(&self, name: &str) -> Option<&Value> {
        let entries = self.manifest.config.as_object().into_iter().flatten();
        entries
            .flat_map(|(_, entry)| match entry {
                Value::Array(list) => list.as_slice(),
                entry => std::slice::from_ref(entry),
            })
            .find(|entry| entry["name"] == name)
    }

    /// The image `name`, with any of the endings of image files.
    ///
    /// # Panics
    /// When there is none, or more than one.
    pub fn image(&self, name: &str) -> PathBuf {
        let endings = ["png", "jpg", "jpeg", "bmp", "tif", "tiff"];
        let candidates = endings.map(|ending| self.folder.join(format!("{name}.{ending}")));
        let mut found = candidates.into_iter().filter(|path| path.is_file());
        match (found.next(), found.next()) {
            (Some(path), None) => path,
            _ => panic!("{}: not one image `{name}`", self.manifest.case),
        }
    }

    /// The manifest's entry for a tensor.
    pub fn entry(&self, name: &str) -> &TensorEntry {
        self.manifest
            .tensors
            .iter()
            .find(|entry| entry.name == name)
            .unwrap_or_else(|| panic!("{}: the manifest lists no `{name}`", self.manifest.case))
    }

    /// A tensor of 32-bit floating point, from its file or from the formula
    /// that an entry of `config` gives for it.
    pub fn array(&self, name: &str) -> NamedArray {
        match self.formula(name) {
            Some(input) => formula::array(&self.salt(), name, input),
            None => self.stored(self.entry(name)),
        }
    }

    /// A tensor of 32-bit floating point from its file. Several entries of a
    /// manifest may have one name, in different files.
    pub fn stored(&self, entry: &TensorEntry) -> NamedArray {
        NamedArray {
            shape: entry.shape.clone(),
            data: self.elements(entry, Dtype::F32, f32::from_le_bytes),
        }
    }

    /// The elements of a tensor of 64-bit floating point.
    pub fn doubles(&self, entry: &TensorEntry) -> Vec<f64> {
        self.elements(entry, Dtype::F64, f64::from_le_bytes)
    }

    /// The elements of an 8-bit tensor.
    pub fn bytes(&self, name: &str) -> Vec<u8> {
        self.elements(self.entry(name), Dtype::U8, u8::from_le_bytes)
    }

    /// The elements of a tensor of 64-bit integers.
    pub fn integers(&self, name: &str) -> Vec<i64> {
        self.elements(self.entry(name), Dtype::I64, i64::from_le_bytes)
    }

    fn elements<T, const SIZE: usize>(
        &self,
        entry: &TensorEntry,
        element: Dtype,
        convert: impl Fn([u8; SIZE]) -> T,
    ) -> Vec<T> {
        let name = &entry.name;
        let path = self.folder.join(&entry.file);
        let bytes =
            std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let tensors = SafeTensors::deserialize(&bytes)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let view = tensors
            .tensor(name)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(view.dtype(), element, "{name} of {}", path.display());
        assert_eq!(view.shape(), entry.shape, "{name} of {}", path.display());
        let (words, _) = view.data().as_chunks::<SIZE>();
        words.iter().map(|word| convert(*word)).collect()
    }

    /// The weights of the case: its own, those of `config.weights` (a file
    /// relative to the case, perhaps with the prefix of the names that are
    /// meant: `FILE, prefix PREFIX`), or those that `config.params` gives a
    /// formula for, those to `skip` left out. `None` where it has none of
    /// these.
    pub fn weights(&self) -> Option<NamedArrays> {
        let mut weights = NamedArrays::new();
        if let Some(shared) = self.manifest.config["weights"].as_str() {
            let (file, prefix) = shared.split_once(", prefix ").unwrap_or((shared, ""));
            let all = NamedArrays::load(&self.folder.join(file)).expect("shared weights");
            for (name, array) in all.iter() {
                if let Some(name) = name.strip_prefix(prefix.trim()) {
                    weights
                        .insert(name, array.shape.clone(), array.data.clone())
                        .expect("a whole array");
                }
            }
            assert!(!weights.is_empty(), "{shared} of {}", self.manifest.case);
        }
        let own = self
            .manifest
            .tensors
            .iter()
            .filter(|entry| entry.role == Role::Weight);
        let mut files: BTreeMap<&str, NamedArrays> = BTreeMap::new();
        for entry in own {
            let file = files.entry(&entry.file).or_insert_with(|| {
                NamedArrays::load(&self.folder.join(&entry.file)).expect("the case's weights")
            });
            let array = file
                .remove(&entry.name)
                .expect("a weight that the manifest lists");
            assert_eq!(
                array.shape, entry.shape,
                "{} of {}",
                entry.name, self.manifest.case
            );
            weights
                .insert(entry.name.clone(), array.shape, array.data)
                .expect("a whole array");
        }
        if let Some(parameters) = self.manifest.config["params"].as_object() {
            let own = |entry: &(&String, &Value)| entry.1["skip"] != true;
            for (name, parameter) in parameters.iter().filter(own) {
                let array = formula::array(&self.salt(), name, parameter);
                weights
                    .insert(name.clone(), array.shape, array.data)
                    .expect("a whole array");
            }
        }
        (!weights.is_empty()).then_some(weights)
    }

    fn salt(&self) -> String {
        self.manifest.config["salt"]
            .as_str()
            .expect("config.salt")
            .to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_found_from_the_root_of_the_workspace() {
        let root = resolve(Path::new("tests/golden"));
        assert!(root.join("README.md").is_file(), "{}", root.display());
        assert_eq!(resolve(Path::new("/vectors")), Path::new("/vectors"));
    }

    #[test]
    fn shared_weights_are_those_of_the_prefix_without_the_files_notes() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = NamedArrays::new();
        file.metadata.insert("format".into(), "pt".into());
        for name in ["teacher.head.weight", "student.head.weight"] {
            file.insert(name, [1], vec![1.0]).unwrap();
        }
        file.save(&folder.path().join("shared.safetensors"))
            .unwrap();
        let case = |weights: &str| GoldenCase {
            folder: folder.path().join("case"),
            manifest: serde_json::from_value(serde_json::json!({
                "case": "vit/case", "config": { "weights": weights }, "tensors": [],
            }))
            .unwrap(),
        };
        std::fs::create_dir(folder.path().join("case")).unwrap();
        let weights = case("../shared.safetensors, prefix teacher.")
            .weights()
            .unwrap();
        assert_eq!(weights.names().collect::<Vec<_>>(), ["head.weight"]);
        assert!(weights.metadata.is_empty());
        let all = case("../shared.safetensors").weights().unwrap();
        assert_eq!(all.len(), 2);
    }
}
