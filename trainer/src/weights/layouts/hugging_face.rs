//! `Dinov2Model` of Hugging Face's transformers
//! (`models/dinov2/modeling_dinov2.py`).

use super::super::positions::Convention;
use super::{Place, timm};

/// The array that every one has.
pub(super) const ANCHOR: &str = "embeddings.patch_embeddings.projection.weight";

/// `Dinov2Embeddings.interpolate_pos_encoding` gives PyTorch the size, as MAE
/// does; DINOv2's own program gives it a factor with an offset. Of the same
/// weights the two make positions that differ (ViT-S/14 at 224 pixels: by 7 %
/// of their norm), and whoever has a file with these names uses transformers.
pub(super) const CONVENTION: Convention = Convention::Mae;

/// Names outside the blocks, and timm's.
const OUTSIDE: [(&str, &str); 6] = [
    ("embeddings.cls_token", "cls_token"),
    ("embeddings.position_embeddings", "pos_embed"),
    (
        "embeddings.patch_embeddings.projection.weight",
        "patch_embed.proj.weight",
    ),
    (
        "embeddings.patch_embeddings.projection.bias",
        "patch_embed.proj.bias",
    ),
    ("layernorm.weight", "norm.weight"),
    ("layernorm.bias", "norm.bias"),
];

/// Modules of a block, and timm's.
const BLOCK: [(&str, &str); 7] = [
    ("norm1.", "norm1."),
    ("norm2.", "norm2."),
    ("attention.output.dense.", "attn.proj."),
    ("mlp.fc1.", "mlp.fc1."),
    ("mlp.fc2.", "mlp.fc2."),
    ("layer_scale1.lambda1", "ls1.gamma"),
    ("layer_scale2.lambda1", "ls2.gamma"),
];

/// What timm keeps as one `attn.qkv`, in its order.
const THIRDS: [&str; 3] = [
    "attention.attention.query.",
    "attention.attention.key.",
    "attention.attention.value.",
];

pub(super) fn place(name: &str) -> Place {
    if name == "embeddings.mask_token" {
        return Place::Training;
    }
    if let Some((_, ours)) = OUTSIDE.iter().find(|(theirs, _)| *theirs == name) {
        return Place::Parameter((*ours).to_owned());
    }
    let Some(block) = name.strip_prefix("encoder.layer.") else {
        return match name.starts_with("embeddings.") {
            true => Place::Foreign,
            false => Place::Unknown,
        };
    };
    let Some((number, part)) = block.split_once('.') else {
        return Place::Foreign;
    };
    let ours = |module: &str, rest: &str| format!("blocks.{number}.{module}{rest}");
    for (index, third) in THIRDS.iter().enumerate() {
        if let Some(rest) = part.strip_prefix(third) {
            return Place::Third(ours("attn.qkv.", rest), index);
        }
    }
    let known = BLOCK.iter().find_map(|(theirs, module)| {
        let rest = part.strip_prefix(theirs)?;
        Some(ours(module, rest))
    });
    known.map_or(Place::Foreign, |name| timm::place(&name))
}
