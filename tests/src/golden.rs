//! Golden vectors: numbers that the original programs (timm, Pillow,
//! torchvision, ...) produced, with a manifest for each case.
//!
//! Tests are driven by the manifests alone: whatever cases of a kind lie in
//! the folder are run. The folder is `MILLSIGHT_GOLDEN_DIR` where that is set,
//! else `tests/golden`.
//!
//! Everything here panics on a malformed case, with the file's name: a test
//! has nothing better to do.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use millsight_export::graph::{Pooling, VitSpec};
use millsight_export::weights::{NamedArray, NamedArrays};
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;
use serde_json::Value;

mod formula;
mod tolerance;

pub use tolerance::Tolerance;

/// The folder with the golden vectors.
pub fn folder() -> PathBuf {
    match std::env::var_os("MILLSIGHT_GOLDEN_DIR") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("golden"),
    }
}

/// All cases at or below `kind` (for example `vit`), in the order of their
/// names.
///
/// # Panics
/// When there is none: a test that runs no case proves nothing.
pub fn cases(kind: &str) -> Vec<GoldenCase> {
    let root = folder();
    let mut found = Vec::new();
    collect(&root.join(kind), &mut found);
    found.sort();
    assert!(
        !found.is_empty(),
        "no golden case in {}; set MILLSIGHT_GOLDEN_DIR to a folder that holds some",
        root.join(kind).display()
    );
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
    /// Every tensor of the case.
    pub tensors: Vec<TensorEntry>,
    /// Expected plain numbers.
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

    /// Whether the manifest lists a tensor of that name, or has a formula for
    /// it.
    pub fn has(&self, name: &str) -> bool {
        self.manifest.tensors.iter().any(|entry| entry.name == name)
            || self.manifest.config["input"]["name"] == name
    }

    /// The manifest's entry for a tensor.
    pub fn entry(&self, name: &str) -> &TensorEntry {
        self.manifest
            .tensors
            .iter()
            .find(|entry| entry.name == name)
            .unwrap_or_else(|| panic!("{}: the manifest lists no `{name}`", self.manifest.case))
    }

    /// A tensor of 32-bit floating point, from its file or from the formula.
    pub fn array(&self, name: &str) -> NamedArray {
        let input = &self.manifest.config["input"];
        if input["name"] == name {
            return formula::array(&self.salt(), name, input);
        }
        let data = self.elements(name, Dtype::F32, f32::from_le_bytes);
        NamedArray {
            shape: self.entry(name).shape.clone(),
            data,
        }
    }

    /// The elements of an 8-bit tensor.
    pub fn bytes(&self, name: &str) -> Vec<u8> {
        self.elements(name, Dtype::U8, u8::from_le_bytes)
    }

    /// The elements of a tensor of 64-bit integers.
    pub fn integers(&self, name: &str) -> Vec<i64> {
        self.elements(name, Dtype::I64, i64::from_le_bytes)
    }

    fn elements<T, const SIZE: usize>(
        &self,
        name: &str,
        element: Dtype,
        convert: impl Fn([u8; SIZE]) -> T,
    ) -> Vec<T> {
        let entry = self.entry(name);
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
    /// relative to the case), or those that `config.params` gives a formula
    /// for. `None` where it has none of these.
    pub fn weights(&self) -> Option<NamedArrays> {
        let mut weights = NamedArrays::new();
        if let Some(shared) = self.manifest.config["weights"].as_str() {
            let file = shared.split(',').next().unwrap_or(shared);
            weights = NamedArrays::load(&self.folder.join(file)).expect("shared weights");
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
            for (name, parameter) in parameters {
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

    /// Dimensions of the case's Vision Transformer, read off its weights and
    /// `config`: timm's models without `config.heads` have heads of width 64.
    pub fn vit_spec(&self, weights: &NamedArrays) -> VitSpec {
        let config = &self.manifest.config;
        let shape = |name: &str| weights.require(name).expect("a ViT's weight").shape.clone();
        let embedding = shape("patch_embed.proj.weight");
        let (width, patch) = (embedding[0], embedding[2]);
        let input = if self.has("input") {
            self.array("input").shape
        } else {
            Vec::new()
        };
        let side = config["img"].as_u64().map(|side| side as usize);
        let (image_height, image_width) = match (input.as_slice(), side) {
            ([_, _, height, width], _) => (*height, *width),
            (_, Some(side)) => (side, side),
            _ => panic!("{}: neither an input nor config.img", self.manifest.case),
        };
        let depth = weights
            .names()
            .filter(|name| name.ends_with(".attn.qkv.weight"))
            .count();
        VitSpec {
            image_height,
            image_width,
            patch,
            width,
            depth,
            heads: config["heads"]
                .as_u64()
                .map_or(width / 64, |heads| heads as usize),
            mlp_width: shape("blocks.0.mlp.fc1.weight")[0],
            qkv_bias: weights.get("blocks.0.attn.qkv.bias").is_some(),
            layer_scale: weights.get("blocks.0.ls1.gamma").is_some(),
            pooling: match weights.get("fc_norm.weight") {
                Some(_) => Pooling::Mean,
                None => Pooling::ClassToken,
            },
            classes: shape("head.weight")[0],
            layer_norm_epsilon: config["ln_eps"].as_f64().unwrap_or(1e-6) as f32,
        }
    }

    /// Checks 32-bit results against the expected tensor `name` and its
    /// tolerance.
    ///
    /// # Errors
    /// A sentence that says how far off they are.
    pub fn check(&self, name: &str, got: &[f32]) -> Result<(), String> {
        let entry = self.entry(name);
        let expected = self.array(name);
        let outcome = match &entry.tol {
            Some(tolerance) => tolerance.check(&expected, got),
            None => Err("the manifest states no tolerance".to_owned()),
        };
        outcome.map_err(|problem| format!("{} `{name}`: {problem}", self.manifest.case))
    }

    /// Checks 8-bit results against the expected tensor `name`: equal where
    /// the manifest says that this can be reached.
    ///
    /// # Errors
    /// A sentence that says how many differ and by how much.
    pub fn check_levels(&self, name: &str, got: &[u8]) -> Result<(), String> {
        let expected = self.bytes(name);
        let case = &self.manifest.case;
        let Some(Tolerance::MaxAbsU8 {
            atol,
            min_frac_exact,
            bit_exact_achievable,
        }) = self.entry(name).tol
        else {
            return Err(format!("{case} `{name}`: no tolerance of kind max_abs_u8"));
        };
        if expected.len() != got.len() {
            return Err(format!(
                "{case} `{name}`: {} levels, not {}",
                got.len(),
                expected.len()
            ));
        }
        let differences = expected.iter().zip(got).map(|(a, b)| a.abs_diff(*b));
        let largest = differences.clone().max().unwrap_or(0);
        let unequal = differences.filter(|difference| *difference > 0).count();
        let share = 1.0 - unequal as f64 / expected.len().max(1) as f64;
        if largest > atol || share < min_frac_exact || (bit_exact_achievable && unequal > 0) {
            return Err(format!(
                "{case} `{name}`: {unequal} of {} levels differ, by up to {largest}",
                expected.len()
            ));
        }
        Ok(())
    }
}
