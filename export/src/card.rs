//! The model card: what a model file says of itself.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

mod distance;
mod error;
mod operating;

pub use distance::Distance;
pub use error::CardError;
pub use operating::{
    Calibration, ClassFigures, ClassPoint, OperatingFigures, OperatingPoint, Proportion,
};

/// The class name that means "nothing wrong here".
pub const NO_DEFECT: &str = "no_defect";

/// Everything that a program must know to use a model file rightly.
///
/// Stored as JSON under the key [`ModelCard::METADATA_KEY`] of the ONNX
/// `metadata_props`, or as TOML in a sidecar beside a foreign ONNX file. A
/// sidecar needs no more than the classes; what else it leaves out is taken
/// from the graph or from the defaults stated here:
///
/// ```toml
/// classes = ["no_defect", "cracks", "overfill"]
///
/// # Only where the model was not trained with the ImageNet statistics:
/// [preprocessing]
/// mean = [0.5, 0.5, 0.5]
/// std = [0.5, 0.5, 0.5]
///
/// # Only where the graph ends with a softmax (Ultralytics):
/// [output]
/// kind = "probabilities"
/// ```
///
/// # Versions
///
/// A field that is new and may be left out is added without a new
/// [`schema`](ModelCard::schema) number as long as no version of Millsight has
/// been released. From the first release on, every change of this structure
/// takes the next number, because programs refuse fields that they do not
/// know; they look at the number first, and then say that the card is newer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelCard {
    /// Version of this structure; see [`ModelCard::SCHEMA`], the default.
    #[serde(default = "current_schema")]
    pub schema: u32,
    /// Name of the model, for people. By default the file's name.
    #[serde(default)]
    pub name: String,
    /// Architecture, for example `vit`. By default the graph's name.
    #[serde(default)]
    pub architecture: String,
    /// Class names; the index is that of the logit. One is [`NO_DEFECT`].
    pub classes: Vec<String>,
    /// What the network takes. By default what the graph states.
    #[serde(default)]
    pub input: InputSpec,
    /// What the network gives. By default the graph's first output, logits.
    #[serde(default)]
    pub output: OutputSpec,
    /// How a tile becomes the network's input. By default
    /// [`Preprocessing::imagenet`].
    #[serde(default)]
    pub preprocessing: Preprocessing,
    /// Least probability, 0 to 1, at which a defect class is flagged. A class
    /// that is absent is flagged when it is the most probable one.
    #[serde(default)]
    pub thresholds: BTreeMap<String, f32>,
    /// How logits become the probabilities that the thresholds are compared
    /// with. Without it, by softmax alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<Calibration>,
    /// Where the model came from.
    #[serde(default)]
    pub provenance: Provenance,
}

impl ModelCard {
    /// The version of the structure that this program writes and reads.
    pub const SCHEMA: u32 = 1;

    /// Key of the ONNX `metadata_props` that holds the card.
    pub const METADATA_KEY: &str = "millsight.card";

    /// Whether the model computes in 8 bits.
    pub fn is_quantized(&self) -> bool {
        self.provenance.quantization.is_some()
    }

    /// Checks what the card says of itself, without looking at a graph.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn validate(&self) -> Result<(), CardError> {
        if self.schema == 0 || self.schema > Self::SCHEMA {
            return Err(CardError::Schema { found: self.schema });
        }
        if self.classes.len() < 2 {
            return Err(CardError::TooFewClasses {
                count: self.classes.len(),
            });
        }
        for (index, class) in self.classes.iter().enumerate() {
            if class.trim().is_empty() {
                return Err(CardError::UnnamedClass { index });
            }
            if let Some(first) = self.classes[..index]
                .iter()
                .position(|other| other == class)
            {
                return Err(CardError::DuplicateClass {
                    class: class.clone(),
                    first,
                    second: index,
                });
            }
        }
        if !self.classes.iter().any(|class| class == NO_DEFECT) {
            return Err(CardError::NoDefectMissing {
                classes: self.classes.join(", "),
            });
        }
        for (class, &threshold) in &self.thresholds {
            if !self.classes.contains(class) {
                return Err(CardError::UnknownThreshold {
                    class: class.clone(),
                    classes: self.classes.join(", "),
                });
            }
            if class == NO_DEFECT {
                return Err(CardError::NoDefectThreshold);
            }
            if !(0.0..=1.0).contains(&threshold) {
                return Err(CardError::Threshold {
                    class: class.clone(),
                    threshold,
                });
            }
        }
        if let Some(calibration) = &self.calibration {
            if self.output.kind == OutputKind::Probabilities {
                return Err(CardError::CalibratedProbabilities);
            }
            calibration.validate()?;
        }
        if let Some(distance) = &self.output.distance {
            distance.validate()?;
        }
        self.provenance.validate()?;
        self.validate_input()
    }

    fn validate_input(&self) -> Result<(), CardError> {
        let input = &self.input;
        if !matches!(input.channels, 1 | 3) {
            return Err(CardError::Channels {
                channels: input.channels,
            });
        }
        for (side, pixels) in [("width", input.width), ("height", input.height)] {
            if !(1..=InputSpec::LARGEST_SIDE).contains(&pixels) {
                return Err(CardError::Side { side, pixels });
            }
        }
        let statistics = self.preprocessing.mean.iter().zip(&self.preprocessing.std);
        for (channel, (&mean, &std)) in statistics.enumerate() {
            if !mean.is_finite() {
                return Err(CardError::Mean { channel, mean });
            }
            if !(std.is_finite() && std > 0.0) {
                return Err(CardError::Std { channel, std });
            }
        }
        Ok(())
    }
}

fn current_schema() -> u32 {
    ModelCard::SCHEMA
}

/// What must be known of a card before it is read as a whole.
#[derive(Debug, Deserialize)]
pub(crate) struct CardPreface {
    #[serde(default = "current_schema")]
    schema: u32,
    #[serde(default)]
    input: InputPreface,
}

#[derive(Debug, Default, Deserialize)]
struct InputPreface {
    element: Option<IgnoredAny>,
}

impl CardPreface {
    /// The version of a card that is newer than this program.
    pub(crate) fn newer(&self) -> Option<u32> {
        (self.schema > ModelCard::SCHEMA).then_some(self.schema)
    }

    /// Whether the card states the element type of the input.
    pub(crate) fn has_element(&self) -> bool {
        self.input.element.is_some()
    }
}

/// The network's input tensor, `[batch, channels, height, width]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct InputSpec {
    /// Name of the graph's input. Empty in a sidecar: the graph's only input.
    pub name: String,
    /// Width in pixels. 0 in a sidecar: what the graph states.
    pub width: usize,
    /// Height in pixels. 0 in a sidecar: what the graph states.
    pub height: usize,
    /// 1 (grey) or 3 (RGB). 0 in a sidecar: what the graph states.
    pub channels: usize,
    /// Element type; where a sidecar leaves it out, what the graph states. With [`ElementType::U8`] scaling and normalisation are
    /// folded into the graph and the network takes raw levels.
    pub element: ElementType,
}

impl InputSpec {
    /// Largest width and height that a network's input may have, in pixels.
    pub const LARGEST_SIDE: usize = 4096;
}

/// Element type of the network's input.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ElementType {
    /// Raw levels 0 to 255.
    U8,
    /// Normalised values.
    #[default]
    F32,
}

/// What the network gives.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OutputSpec {
    /// Name of the graph's output of scores, `[batch, classes]`. Empty in a sidecar: the
    /// graph's first.
    pub name: String,
    /// What the scores are.
    pub kind: OutputKind,
    /// The output that tells how far a tile is from the training data, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distance: Option<Distance>,
}

/// Meaning of the network's output.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputKind {
    /// Unnormalised scores; softmax gives probabilities.
    #[default]
    Logits,
    /// Probabilities that already sum to 1 (an Ultralytics export).
    Probabilities,
}

/// Resize, scale to 0..1 and normalise: `(x / 255 - mean) / std`.
///
/// A network with a single float channel uses the statistics of the first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
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

    /// Pillow's bilinear resize and mean and deviation 0.5, timm's
    /// `IMAGENET_INCEPTION_MEAN` and `IMAGENET_INCEPTION_STD`.
    pub fn inception() -> Self {
        Self {
            mean: [0.5; 3],
            std: [0.5; 3],
            ..Self::imagenet()
        }
    }
}

impl Default for Preprocessing {
    fn default() -> Self {
        Self::imagenet()
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
    /// SHA-256 of the file of weights that the training began with; absent
    /// when it began with random ones.
    pub initial_weights_sha256: Option<String>,
    /// When it was made, RFC 3339.
    pub created: String,
    /// Metrics by name (for example `test.balanced_accuracy`), 0 to 1.
    pub metrics: BTreeMap<String, f64>,
    /// What the thresholds were chosen for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operating_point: Option<OperatingPoint>,
    /// Parity of the exported graph with the trainer's own logits.
    pub parity: Option<Parity>,
    /// How the model was put into 8 bits, where it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quantization: Option<Quantization>,
}

impl Provenance {
    /// Numbers that are not finite cannot be written into a model file.
    fn validate(&self) -> Result<(), CardError> {
        for (name, &value) in &self.metrics {
            if !value.is_finite() {
                let name = format!("provenance.metrics.{name}");
                return Err(CardError::NotFinite { name, value });
            }
        }
        if let Some(point) = &self.operating_point {
            point.validate()?;
        }
        if let Some(quantization) = &self.quantization {
            quantization.validate()?;
        }
        let Some(parity) = &self.parity else {
            return Ok(());
        };
        for (name, value) in [
            ("provenance.parity.max_abs", parity.max_abs),
            ("provenance.parity.tolerance", parity.tolerance),
        ] {
            if !value.is_finite() {
                let (name, value) = (name.to_owned(), value.into());
                return Err(CardError::NotFinite { name, value });
            }
        }
        Ok(())
    }
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
    /// What the engine gave for tiles that anyone can draw
    /// ([`verify::drawn`](crate::verify::drawn)); none in cards of before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vectors: Vec<ParityVector>,
}

/// What the network gives for a drawn tile.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParityVector {
    /// Seed of the tile.
    pub seed: u64,
    /// Scores, one for each class.
    pub scores: Vec<f32>,
}

/// How a model was put into 8 bits, and what that cost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quantization {
    /// `static` or `dynamic`; see [`crate::quantize::Form`].
    pub form: String,
    /// `none`, `percentile` or `entropy`; see [`crate::quantize::Clipping`].
    pub clipping: String,
    /// Tiles from which the ranges of the activations come.
    pub calibration_tiles: usize,
    /// SHA-256 of the model file that it was made from.
    pub original_sha256: String,
    /// The engine that ran both, with its version.
    pub engine: String,
    /// Labelled tiles on which both were run.
    pub tiles: usize,
    /// Balanced accuracy of the original, 0 to 1.
    pub balanced_accuracy_before: f64,
    /// Balanced accuracy in 8 bits, 0 to 1.
    pub balanced_accuracy_after: f64,
}

impl Quantization {
    fn validate(&self) -> Result<(), CardError> {
        for (name, value) in [
            ("balanced_accuracy_before", self.balanced_accuracy_before),
            ("balanced_accuracy_after", self.balanced_accuracy_after),
        ] {
            if !value.is_finite() {
                let name = format!("provenance.quantization.{name}");
                return Err(CardError::NotFinite { name, value });
            }
        }
        Ok(())
    }
}

/// For people.
impl fmt::Display for Quantization {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} ({}), balanced accuracy {:.4} instead of {:.4} on {} tiles",
            self.form,
            self.clipping,
            self.balanced_accuracy_after,
            self.balanced_accuracy_before,
            self.tiles
        )
    }
}

#[cfg(test)]
mod tests;
