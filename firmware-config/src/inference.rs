//! The model and the engine that runs it.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Most threads that classify.
pub const MAXIMUM_WORKERS: usize = 256;

/// Threads that are assumed to classify where a station does not say how many:
/// as many as the processors of a large industrial PC have cores.
pub const ASSUMED_WORKERS: usize = 32;

/// The classifier's files.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Model {
    /// ONNX file of the classifier; without it the program uses the model that
    /// it was shipped with. A relative path starts at the station file's
    /// folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub file: Option<PathBuf>,
    /// Model card in TOML for an ONNX file that carries none, for example one
    /// written by another program. A relative path starts at the station
    /// file's folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub sidecar: Option<PathBuf>,
}

/// A small network that looks at every tile first, so that the classifier need
/// only look at those that it does not clear.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Screen {
    /// ONNX file of the screen; without it the program uses the screen that it
    /// was shipped with. A relative path starts at the station file's folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub file: Option<PathBuf>,
    /// Model card in TOML for an ONNX file that carries none. A relative path
    /// starts at the station file's folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub sidecar: Option<PathBuf>,
}

/// What runs the model, and on which device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Engine {
    /// Which engine runs the model.
    pub name: EngineChoice,
    /// Execution providers in the order in which they are tried.
    #[schemars(length(min = 1))]
    pub providers: Vec<Provider>,
    /// Whether the next provider, and at last the embedded engine, may take
    /// over from one that cannot start; the summary of a run says so. When it
    /// is `false` the program stops with the reason.
    pub fallback: bool,
    /// Shared library of ONNX Runtime; without it the usual places are
    /// searched. A relative path starts at the station file's folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub library: Option<PathBuf>,
    /// Whether TensorRT may compute in half precision, which is faster and rounds
    /// more.
    pub half_precision: bool,
    /// Folder for the engines that TensorRT builds from a model, which takes
    /// minutes and is kept; without it a folder in the user's cache. A relative
    /// path starts at the station file's folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub cache: Option<PathBuf>,
    /// Threads that classify, 1 to 256; without it the program chooses by the
    /// number of processor cores.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = MAXIMUM_WORKERS))]
    pub workers: Option<usize>,
    /// Tiles that go through the network at once, 1 to 256; on a processor, which
    /// gains nothing from more, at most 8.
    #[schemars(range(min = 1, max = 256))]
    pub batch: usize,
}

impl Default for Engine {
    fn default() -> Self {
        Self {
            name: EngineChoice::Auto,
            providers: vec![Provider::Cpu],
            fallback: false,
            library: None,
            half_precision: false,
            cache: None,
            workers: None,
            batch: 8,
        }
    }
}

/// Which engine runs the model.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EngineChoice {
    /// ONNX Runtime where its shared library is found, else the embedded one.
    #[default]
    Auto,
    /// ONNX Runtime; its absence is an error.
    #[serde(rename = "onnxruntime")]
    OnnxRuntime,
    /// The engine inside the program; it runs on the processor only.
    Embedded,
}

/// Execution provider of ONNX Runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Provider {
    /// NVIDIA TensorRT.
    #[serde(rename = "tensorrt")]
    TensorRt,
    /// NVIDIA CUDA.
    Cuda,
    /// The processor.
    Cpu,
}

impl Provider {
    /// The name that stands in a station file.
    pub fn name(self) -> &'static str {
        match self {
            Provider::TensorRt => "tensorrt",
            Provider::Cuda => "cuda",
            Provider::Cpu => "cpu",
        }
    }
}
