//! The model card: what a model file says of itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The class name that means "nothing wrong here".
pub const NO_DEFECT: &str = "no_defect";

/// Everything that a program must know to use a model file rightly.
///
/// Stored as JSON under the key `millsight.card` of the ONNX
/// `metadata_props`, or as TOML in a sidecar beside a foreign ONNX file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelCard {
    /// Version of this structure; see [`ModelCard::SCHEMA`].
    pub schema: u32,
    /// Name of the model, for people.
    pub name: String,
    /// Architecture, for example `vit`.
    pub architecture: String,
    /// Class names; the index is that of the logit.
    pub classes: Vec<String>,
    /// What the network takes.
    pub input: InputSpec,
    /// What the network gives.
    pub output: OutputSpec,
    /// How a tile becomes the network's input.
    pub preprocessing: Preprocessing,
    /// Least probability, 0 to 1, at which a defect class is flagged. A class
    /// that is absent is flagged when it is the most probable one.
    #[serde(default)]
    pub thresholds: BTreeMap<String, f32>,
    /// Where the model came from.
    #[serde(default)]
    pub provenance: Provenance,
}

impl ModelCard {
    /// The version of the structure that this program writes and reads.
    pub const SCHEMA: u32 = 1;
}

/// The network's input tensor, `[batch, channels, height, width]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputSpec {
    /// Name of the graph's input.
    pub name: String,
    /// Width in pixels.
    pub width: usize,
    /// Height in pixels.
    pub height: usize,
    /// 1 (grey) or 3 (RGB).
    pub channels: usize,
    /// Element type. With [`ElementType::U8`] scaling and normalisation are
    /// folded into the graph and the network takes raw levels.
    pub element: ElementType,
}

/// Element type of the network's input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ElementType {
    /// Raw levels 0 to 255.
    U8,
    /// Normalised values.
    F32,
}

/// The network's output tensor, `[batch, classes]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutputSpec {
    /// Name of the graph's output.
    pub name: String,
    /// What the numbers are.
    pub kind: OutputKind,
}

/// Meaning of the network's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputKind {
    /// Unnormalised scores; softmax gives probabilities.
    Logits,
    /// Probabilities that already sum to 1 (an Ultralytics export).
    Probabilities,
}

/// Resize, scale to 0..1 and normalise: `(x / 255 - mean) / std`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preprocessing {
    /// How the tile is brought to the input's size.
    pub resize: Resize,
    /// Mean of each of the channels red, green, blue, in units of 0..1.
    pub mean: [f32; 3],
    /// Standard deviation of each channel, in units of 0..1.
    pub std: [f32; 3],
}

impl Preprocessing {
    /// Pillow's bilinear resize and the ImageNet statistics (torchvision).
    pub fn imagenet() -> Self {
        Self {
            resize: Resize::PillowBilinear,
            mean: [0.485, 0.456, 0.406],
            std: [0.229, 0.224, 0.225],
        }
    }
}

/// Resizing method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resize {
    /// Pillow's antialiased bilinear in 8-bit integer arithmetic.
    PillowBilinear,
}

/// Where a model came from.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Provenance {
    /// Git revision of the trainer.
    pub git_revision: String,
    /// The command line that trained it.
    pub command: String,
    /// Seed of the run.
    pub seed: Option<u64>,
    /// SHA-256 of the training data's index.
    pub data_sha256: String,
    /// When it was made, RFC 3339.
    pub created: String,
    /// Metrics by name (for example `test.balanced_accuracy`), 0 to 1.
    pub metrics: BTreeMap<String, f64>,
    /// Parity of the exported graph with the trainer's own logits.
    pub parity: Option<Parity>,
}

/// Result of a verification before the card was written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parity {
    /// The engine that ran the graph, with its version.
    pub engine: String,
    /// Number of inputs compared.
    pub samples: usize,
    /// Largest absolute difference of a logit.
    pub max_abs: f32,
    /// The difference that was tolerated.
    pub tolerance: f32,
}
