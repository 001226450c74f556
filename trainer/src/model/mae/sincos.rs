//! Positions of patches as sines and cosines.

/// Positions of a class token and of `rows` times `columns` patches, row by
/// row: `[1 + rows * columns, width]`, flat.
///
/// The class token's are zeros. Of a patch the first half of the channels
/// tells the column, the second half the row; each half has first the sines,
/// then the cosines of `place / 10000^(i / (width / 4))`. Source:
/// `get_2d_sincos_pos_embed` in facebookresearch/mae `util/pos_embed.py`.
/// `width` is a multiple of 4.
pub fn positions(width: usize, rows: usize, columns: usize) -> Vec<f32> {
    let quarter = width / 4;
    let angle = |place: usize, channel: usize| {
        place as f64 / 10_000f64.powf(channel as f64 / quarter as f64)
    };
    let mut positions = vec![0.0; width];
    positions.reserve(width * rows * columns);
    for row in 0..rows {
        for column in 0..columns {
            for place in [column, row] {
                let sines = (0..quarter).map(|channel| angle(place, channel).sin());
                let cosines = (0..quarter).map(|channel| angle(place, channel).cos());
                positions.extend(sines.chain(cosines).map(|value| value as f32));
            }
        }
    }
    positions
}
