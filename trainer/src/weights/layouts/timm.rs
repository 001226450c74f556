//! timm's `VisionTransformer`. DINO's backbone (facebookresearch/dino
//! `vision_transformer.py`) has the same names.

use super::Place;

/// The array that every one has.
pub(super) const ANCHOR: &str = "patch_embed.proj.weight";

/// Parameters outside the blocks.
const OUTSIDE: [&str; 10] = [
    "cls_token",
    "pos_embed",
    "patch_embed.proj.weight",
    "patch_embed.proj.bias",
    "norm.weight",
    "norm.bias",
    "fc_norm.weight",
    "fc_norm.bias",
    "head.weight",
    "head.bias",
];

/// Parameters of a block.
const BLOCK: [&str; 14] = [
    "norm1.weight",
    "norm1.bias",
    "attn.qkv.weight",
    "attn.qkv.bias",
    "attn.proj.weight",
    "attn.proj.bias",
    "ls1.gamma",
    "norm2.weight",
    "norm2.bias",
    "mlp.fc1.weight",
    "mlp.fc1.bias",
    "mlp.fc2.weight",
    "mlp.fc2.bias",
    "ls2.gamma",
];

/// Beginnings of what networks have that are built otherwise: more in their
/// blocks, register tokens, a distillation token, a norm before the blocks.
const FOREIGN: [&str; 6] = [
    "blocks.",
    "patch_embed.",
    "reg_token",
    "register_tokens",
    "dist_token",
    "norm_pre.",
];

pub(super) fn place(name: &str) -> Place {
    if OUTSIDE.contains(&name) || block(name).is_some_and(|(_, part)| BLOCK.contains(&part)) {
        Place::Parameter(name.to_owned())
    } else if FOREIGN.iter().any(|part| name.starts_with(part)) {
        Place::Foreign
    } else {
        Place::Unknown
    }
}

/// Number and part of a name `blocks.NUMBER.PART`.
pub(in super::super) fn block(name: &str) -> Option<(usize, &str)> {
    let (number, part) = name.strip_prefix("blocks.")?.split_once('.')?;
    Some((number.parse().ok()?, part))
}
