//! A Vision Transformer classifier (Dosovitskiy et al., "An Image is Worth
//! 16x16 Words", 2021) in the layout and with the parameter names of timm's
//! `VisionTransformer`.

mod reader;
#[cfg(test)]
mod tests;
mod writer;

use onnx_protobuf::ModelProto;
use serde::{Deserialize, Serialize};

use super::builder::Builder;
use super::{GraphError, InputForm, check_weights};
use crate::weights::NamedArrays;
pub use reader::vit_weights;
use writer::Writer;

/// The shape of a Vision Transformer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VitSpec {
    /// Height of the input in pixels, a multiple of `patch`.
    pub image_height: usize,
    /// Width of the input in pixels, a multiple of `patch`.
    pub image_width: usize,
    /// Side of a patch in pixels.
    pub patch: usize,
    /// Width of a token (timm: `embed_dim`).
    pub width: usize,
    /// Number of blocks.
    pub depth: usize,
    /// Attention heads; a divisor of `width`.
    pub heads: usize,
    /// Width of the hidden layer of the block's perceptron.
    pub mlp_width: usize,
    /// Whether query, key and value have a bias.
    pub qkv_bias: bool,
    /// Whether each block scales its branches by `ls1.gamma` and `ls2.gamma`.
    pub layer_scale: bool,
    /// What the head looks at.
    pub pooling: Pooling,
    /// Number of classes; 0 for a backbone without a head.
    pub classes: usize,
    /// Epsilon of every LayerNorm; timm's is 1e-6.
    pub layer_norm_epsilon: f32,
}

/// What the head looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// The class token after the final norm (`norm`).
    ClassToken,
    /// The mean of the patch tokens, then a norm (`fc_norm`); timm's
    /// `global_pool="avg"`.
    Mean,
}

impl VitSpec {
    /// Patches of an image.
    pub fn patches(&self) -> usize {
        (self.image_height / self.patch) * (self.image_width / self.patch)
    }

    /// The same network without its head.
    pub fn backbone(&self) -> Self {
        Self {
            classes: 0,
            ..self.clone()
        }
    }

    /// Name and shape of every parameter, in timm's order.
    pub fn parameters(&self) -> Vec<(String, Vec<usize>)> {
        let width = self.width;
        let mut all: Vec<(String, Vec<usize>)> = vec![
            ("cls_token".into(), vec![1, 1, width]),
            ("pos_embed".into(), vec![1, self.patches() + 1, width]),
            (
                "patch_embed.proj.weight".into(),
                vec![width, 3, self.patch, self.patch],
            ),
            ("patch_embed.proj.bias".into(), vec![width]),
        ];
        for block in 0..self.depth {
            let mut add = |name: &str, shape: &[usize]| {
                all.push((format!("blocks.{block}.{name}"), shape.to_vec()));
            };
            add("norm1.weight", &[width]);
            add("norm1.bias", &[width]);
            add("attn.qkv.weight", &[3 * width, width]);
            if self.qkv_bias {
                add("attn.qkv.bias", &[3 * width]);
            }
            add("attn.proj.weight", &[width, width]);
            add("attn.proj.bias", &[width]);
            if self.layer_scale {
                add("ls1.gamma", &[width]);
            }
            add("norm2.weight", &[width]);
            add("norm2.bias", &[width]);
            add("mlp.fc1.weight", &[self.mlp_width, width]);
            add("mlp.fc1.bias", &[self.mlp_width]);
            add("mlp.fc2.weight", &[width, self.mlp_width]);
            add("mlp.fc2.bias", &[width]);
            if self.layer_scale {
                add("ls2.gamma", &[width]);
            }
        }
        let norm = match self.pooling {
            Pooling::ClassToken => "norm",
            Pooling::Mean => "fc_norm",
        };
        all.push((format!("{norm}.weight"), vec![width]));
        all.push((format!("{norm}.bias"), vec![width]));
        if self.classes > 0 {
            all.push(("head.weight".into(), vec![self.classes, width]));
            all.push(("head.bias".into(), vec![self.classes]));
        }
        all
    }

    /// Checks that the sizes go together.
    ///
    /// # Errors
    /// [`GraphError::Architecture`] naming the field.
    pub fn check(&self) -> Result<(), GraphError> {
        let sizes = [
            ("image_height", self.image_height),
            ("image_width", self.image_width),
            ("patch", self.patch),
            ("width", self.width),
            ("depth", self.depth),
            ("heads", self.heads),
            ("mlp_width", self.mlp_width),
        ];
        if let Some((name, _)) = sizes.iter().find(|(_, size)| *size == 0) {
            return Err(GraphError::Architecture(format!("`{name}` is 0")));
        }
        for (name, size) in &sizes[..2] {
            if !size.is_multiple_of(self.patch) {
                return Err(GraphError::Architecture(format!(
                    "`{name}` {size} is no multiple of `patch` {}",
                    self.patch
                )));
            }
        }
        if !self.width.is_multiple_of(self.heads) {
            return Err(GraphError::Architecture(format!(
                "`width` {} is no multiple of `heads` {}",
                self.width, self.heads
            )));
        }
        Ok(())
    }
}

/// Writes a classifier as ONNX: input [`INPUT`](super::INPUT), output
/// [`OUTPUT`](super::OUTPUT) `[N, classes]`, the batch free.
///
/// # Errors
/// When the sizes contradict each other, the weights do not fit them, or the
/// network has no head.
pub fn vit_classifier(
    spec: &VitSpec,
    weights: &NamedArrays,
    form: InputForm,
) -> Result<ModelProto, GraphError> {
    spec.check()?;
    if spec.classes == 0 {
        let reason = "`classes` is 0: a backbone without a head classifies nothing";
        return Err(GraphError::Architecture(reason.into()));
    }
    check_weights(&spec.parameters(), weights)?;
    let writer = Writer {
        builder: Builder::new("vision_transformer"),
        spec,
        weights,
    };
    Ok(writer.write(form))
}
