//! facebookresearch/dinov2: `dinov2/models/vision_transformer.py`. Names are
//! timm's, but for the token of masked patches and blocks in chunks.

use super::{Place, timm};

pub(super) fn place(name: &str) -> Place {
    if name == "mask_token" {
        return Place::Training;
    }
    // In `blocks.CHUNK.NUMBER.PART` the number counts through all chunks.
    if let Some((_, rest)) = timm::block(name)
        && let whole = format!("blocks.{rest}")
        && timm::block(&whole).is_some()
    {
        return timm::place(&whole);
    }
    timm::place(name)
}
