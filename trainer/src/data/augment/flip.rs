//! Mirror images.

use super::Owned;

/// Mirrors left to right.
pub(super) fn horizontal(tile: &mut Owned) {
    for row in tile.levels.chunks_exact_mut(tile.size[1]) {
        row.reverse();
    }
}

/// Mirrors top to bottom.
pub(super) fn vertical(tile: &mut Owned) {
    let [height, width] = tile.size;
    for plane in tile.levels.chunks_exact_mut(height * width) {
        let (top, bottom) = plane.split_at_mut(height.div_ceil(2) * width);
        for (upper, lower) in top
            .chunks_exact_mut(width)
            .zip(bottom.rchunks_exact_mut(width))
        {
            upper.swap_with_slice(lower);
        }
    }
}
