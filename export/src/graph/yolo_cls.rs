//! A convolutional classifier in the manner of YOLOv8-cls, size n (Ultralytics,
//! 2023: `yolov8-cls.yaml`, `nn/modules`), with its layout and parameter names.
//!
//! Nine stages of convolutions and C2f blocks (cross-stage partial blocks with
//! two convolutions) halve the image five times; the classify head is a 1x1
//! convolution, the mean over the image and a linear layer. Every convolution
//! is followed by a batch norm, which is folded into it in the graph, and by
//! SiLU.

#[cfg(test)]
mod tests;
mod writer;

use onnx_protobuf::ModelProto;
use serde::{Deserialize, Serialize};

use super::builder::Builder;
use super::{GraphError, InputForm, check_weights};
use crate::weights::NamedArrays;
use writer::Writer;

/// The side of the input is a multiple of this: the image is halved five
/// times.
pub const STRIDE: usize = 32;
/// Channels of the convolution in the classify head.
pub const HEAD_CHANNELS: usize = 1280;

/// The shape of the network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct YoloClsSpec {
    /// Height of the input in pixels, a multiple of [`STRIDE`].
    pub image_height: usize,
    /// Width of the input in pixels, a multiple of [`STRIDE`].
    pub image_width: usize,
    /// Number of classes.
    pub classes: usize,
}

/// A stage of the body; its number is its index in [`STAGES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// A 3x3 convolution that halves the image.
    Halving {
        /// Channels in.
        inputs: usize,
        /// Channels out.
        outputs: usize,
    },
    /// A C2f block, as many channels in as out.
    C2f {
        /// Channels.
        channels: usize,
        /// Bottlenecks.
        repeats: usize,
    },
}

/// The body at size n: a quarter of the channels and a third of the depth of
/// `yolov8-cls.yaml`.
pub const STAGES: [Stage; 9] = [
    Stage::Halving {
        inputs: 3,
        outputs: 16,
    },
    Stage::Halving {
        inputs: 16,
        outputs: 32,
    },
    Stage::C2f {
        channels: 32,
        repeats: 1,
    },
    Stage::Halving {
        inputs: 32,
        outputs: 64,
    },
    Stage::C2f {
        channels: 64,
        repeats: 2,
    },
    Stage::Halving {
        inputs: 64,
        outputs: 128,
    },
    Stage::C2f {
        channels: 128,
        repeats: 2,
    },
    Stage::Halving {
        inputs: 128,
        outputs: 256,
    },
    Stage::C2f {
        channels: 256,
        repeats: 1,
    },
];

/// Channels after the last stage.
pub const BODY_CHANNELS: usize = 256;

/// Parameters of one convolution with its batch norm.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Convolution {
    name: String,
    inputs: usize,
    outputs: usize,
    kernel: usize,
}

impl YoloClsSpec {
    /// Name and shape of every parameter and of the statistics of the batch
    /// norms (`running_mean`, `running_var`), in Ultralytics' order.
    pub fn parameters(&self) -> Vec<(String, Vec<usize>)> {
        let mut all = Vec::new();
        for Convolution {
            name,
            inputs,
            outputs,
            kernel,
        } in convolutions()
        {
            all.push((
                format!("{name}.conv.weight"),
                vec![outputs, inputs, kernel, kernel],
            ));
            for part in ["weight", "bias", "running_mean", "running_var"] {
                all.push((format!("{name}.bn.{part}"), vec![outputs]));
            }
        }
        let head = format!("model.{}.linear", STAGES.len());
        all.push((format!("{head}.weight"), vec![self.classes, HEAD_CHANNELS]));
        all.push((format!("{head}.bias"), vec![self.classes]));
        all
    }

    /// Those of [`YoloClsSpec::parameters`] that are learnt: all but the
    /// statistics.
    pub fn learnt(&self) -> Vec<(String, Vec<usize>)> {
        let mut all = self.parameters();
        all.retain(|(name, _)| !name.contains(".running_"));
        all
    }

    /// Checks that the sizes go together.
    ///
    /// # Errors
    /// [`GraphError::Architecture`] naming the field.
    pub fn check(&self) -> Result<(), GraphError> {
        for (name, side) in [
            ("image_height", self.image_height),
            ("image_width", self.image_width),
        ] {
            if side == 0 || !side.is_multiple_of(STRIDE) {
                return Err(GraphError::Architecture(format!(
                    "`{name}` {side} is no multiple of {STRIDE}"
                )));
            }
        }
        if self.classes == 0 {
            return Err(GraphError::Architecture("`classes` is 0".into()));
        }
        Ok(())
    }
}

fn convolutions() -> Vec<Convolution> {
    let mut all = Vec::new();
    let mut add = |name: String, inputs: usize, outputs: usize, kernel: usize| {
        all.push(Convolution {
            name,
            inputs,
            outputs,
            kernel,
        });
    };
    for (number, stage) in STAGES.into_iter().enumerate() {
        let name = format!("model.{number}");
        match stage {
            Stage::Halving { inputs, outputs } => add(name, inputs, outputs, 3),
            Stage::C2f { channels, repeats } => {
                let half = channels / 2;
                add(format!("{name}.cv1"), channels, channels, 1);
                add(format!("{name}.cv2"), (2 + repeats) * half, channels, 1);
                for bottleneck in 0..repeats {
                    add(format!("{name}.m.{bottleneck}.cv1"), half, half, 3);
                    add(format!("{name}.m.{bottleneck}.cv2"), half, half, 3);
                }
            }
        }
    }
    add(
        format!("model.{}.conv", STAGES.len()),
        BODY_CHANNELS,
        HEAD_CHANNELS,
        1,
    );
    all
}

/// Writes a classifier as ONNX: input [`INPUT`](super::INPUT), output
/// [`OUTPUT`](super::OUTPUT) `[N, classes]`, the batch free.
///
/// # Errors
/// When the sizes contradict each other or the weights do not fit them.
pub fn yolo_classifier(
    spec: &YoloClsSpec,
    weights: &NamedArrays,
    form: InputForm,
) -> Result<ModelProto, GraphError> {
    spec.check()?;
    check_weights(&spec.parameters(), weights)?;
    let writer = Writer {
        builder: Builder::new("yolo_cls"),
        spec,
        weights,
    };
    Ok(writer.write(form))
}
