//! A small convolutional network that looks at every tile, so that the
//! classifier need only look at the suspicious ones.
//!
//! It takes the tile as the camera gives it. A stem of filters as large as its
//! stride reads each pixel once; 3x3 convolutions that halve the image follow,
//! each with a batch norm, which is folded into it in the graph, and ReLU. The
//! head sees the maximum and the mean of each channel: a mean alone would lose
//! a defect that fills a thousandth of the tile, a maximum alone what is faint
//! and wide.

#[cfg(test)]
mod tests;
mod writer;

use onnx_protobuf::ModelProto;
use serde::{Deserialize, Serialize};

use super::builder::Builder;
use super::{GraphError, InputForm, check_weights};
use crate::weights::NamedArrays;
use writer::Writer;

/// The shape of the network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScreenSpec {
    /// Height of the input in pixels, a multiple of [`ScreenSpec::stride`].
    pub image_height: usize,
    /// Width of the input in pixels, a multiple of [`ScreenSpec::stride`].
    pub image_width: usize,
    /// Side of the stem's filters in pixels, and their stride.
    pub stem: usize,
    /// Channels after the stem and after each halving convolution.
    pub widths: Vec<usize>,
    /// Number of classes.
    pub classes: usize,
}

impl ScreenSpec {
    /// By how much the image shrinks to the last features.
    pub fn stride(&self) -> usize {
        self.stem << self.widths.len().saturating_sub(1)
    }

    /// Channels of the last features.
    pub fn features(&self) -> usize {
        self.widths.last().copied().unwrap_or_default()
    }

    /// Name and shape of every parameter and of the statistics of the batch
    /// norms (`running_mean`, `running_var`): the stem, the halving convolutions
    /// and the head, whose inputs are the maxima and then the means.
    pub fn parameters(&self) -> Vec<(String, Vec<usize>)> {
        let mut all = Vec::new();
        let mut inputs = 3;
        for (layer, &outputs) in self.widths.iter().enumerate() {
            let name = convolution_name(layer);
            let side = if layer == 0 { self.stem } else { 3 };
            all.push((
                format!("{name}.conv.weight"),
                vec![outputs, inputs, side, side],
            ));
            for part in ["weight", "bias", "running_mean", "running_var"] {
                all.push((format!("{name}.bn.{part}"), vec![outputs]));
            }
            inputs = outputs;
        }
        all.push(("head.weight".into(), vec![self.classes, 2 * inputs]));
        all.push(("head.bias".into(), vec![self.classes]));
        all
    }

    /// Those of [`ScreenSpec::parameters`] that are learnt: all but the
    /// statistics.
    pub fn learnt(&self) -> Vec<(String, Vec<usize>)> {
        let mut all = self.parameters();
        all.retain(|(name, _)| !name.contains(".running_"));
        all
    }

    /// Multiplications and additions for one grey tile.
    pub fn multiply_adds(&self) -> usize {
        let mut area = self.image_height * self.image_width / (self.stem * self.stem);
        let (mut all, mut inputs) = (0, 1);
        for (layer, &outputs) in self.widths.iter().enumerate() {
            let side = if layer == 0 { self.stem } else { 3 };
            if layer > 0 {
                area /= 4;
            }
            all += area * outputs * inputs * side * side;
            inputs = outputs;
        }
        all + 2 * inputs * self.classes
    }

    /// Checks that the sizes go together.
    ///
    /// # Errors
    /// [`GraphError::Architecture`] naming the field.
    pub fn check(&self) -> Result<(), GraphError> {
        let impossible = |reason: String| Err(GraphError::Architecture(reason));
        if self.stem == 0 {
            return impossible("`stem` is 0".into());
        }
        if self.widths.is_empty() || self.widths.contains(&0) {
            return impossible(format!("`widths` {:?} are no layers", self.widths));
        }
        if self.widths.len() > MOST_LAYERS {
            return impossible(format!("`widths` has more than {MOST_LAYERS} layers"));
        }
        for (name, side) in [
            ("image_height", self.image_height),
            ("image_width", self.image_width),
        ] {
            if side == 0 || !side.is_multiple_of(self.stride()) {
                return impossible(format!(
                    "`{name}` {side} is no multiple of {}",
                    self.stride()
                ));
            }
        }
        if self.classes == 0 {
            return impossible("`classes` is 0".into());
        }
        Ok(())
    }
}

/// More than an image can be halved.
const MOST_LAYERS: usize = 12;

/// Name of a convolution with its batch norm, the stem being the first.
pub fn convolution_name(layer: usize) -> String {
    match layer {
        0 => "stem".into(),
        layer => format!("halvings.{}", layer - 1),
    }
}

/// Writes a screen as ONNX: input [`INPUT`](super::INPUT), output
/// [`OUTPUT`](super::OUTPUT) `[N, classes]`, the batch free.
///
/// # Errors
/// When the sizes contradict each other or the weights do not fit them.
pub fn screen_classifier(
    spec: &ScreenSpec,
    weights: &NamedArrays,
    form: InputForm,
) -> Result<ModelProto, GraphError> {
    spec.check()?;
    check_weights(&spec.parameters(), weights)?;
    let writer = Writer {
        builder: Builder::new("screen"),
        spec,
        weights,
    };
    Ok(writer.write(form))
}
