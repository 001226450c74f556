//! Pillow's antialiased bilinear resize of 8-bit images, to the last bit.
//!
//! The arithmetic is that of `src/libImaging/Resample.c` of Pillow 11.3:
//! weights of a triangle filter, widened when shrinking, in fixed point with
//! 22 fractional bits; a horizontal pass over all rows, rounded to 8 bits,
//! then a vertical pass. A pass that would not change the size is left out.
//! (Pillow 13 goes vertical first for some tall images; the weights of common
//! networks were trained long before.)
//!
//! Both passes add up whole rows, which compilers vectorise well. For the
//! horizontal pass the image is transposed, a strip of some rows at a time, so
//! that everything stays in the first-level cache.

use super::image::ImageView;
use super::transpose::{self, SIDE};

/// Columns that are added up together; their sums stay in registers.
const LANES: usize = 32;

/// Fractional bits of a weight: 32, less 8 for the levels and 2 of reserve.
const PRECISION_BITS: u32 = 32 - 8 - 2;

/// Resizes planes to one size, and remembers what it needs for the last size
/// that came in.
#[derive(Debug)]
pub(super) struct Resizer {
    width: usize,
    height: usize,
    source: (usize, usize),
    across: Filter,
    down: Filter,
    buffers: Buffers,
}

/// Intermediate images; all sizes are rounded up so that blocks need no tails.
#[derive(Debug, Default)]
struct Buffers {
    /// A strip of the source, transposed: one row of `LANES` for each column.
    strip: Vec<u8>,
    /// The same after the horizontal pass.
    narrowed: Vec<u8>,
    /// All rows after the horizontal pass, `stride` bytes each.
    rows: Vec<u8>,
    stride: usize,
}

impl Resizer {
    /// A resizer to `width` x `height` pixels, both at least 1.
    pub(super) fn new(width: usize, height: usize) -> Self {
        Self {
            width,
            height,
            source: (0, 0),
            across: Filter::default(),
            down: Filter::default(),
            buffers: Buffers::default(),
        }
    }

    /// Number of pixels of a resized plane.
    pub(super) fn target_len(&self) -> usize {
        self.width * self.height
    }

    /// Resizes one channel of an image to `output`, which holds
    /// [`target_len`](Self::target_len) bytes.
    pub(super) fn resize(&mut self, image: ImageView<'_>, channel: usize, output: &mut [u8]) {
        self.plan(image.width, image.height);
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has the one feature that the function is
            // compiled for, as was just detected.
            unsafe { self.resize_avx2(image, channel, output) };
            return;
        }
        self.resize_portably(image, channel, output);
    }

    /// The same code, compiled for processors with AVX2.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn resize_avx2(&mut self, image: ImageView<'_>, channel: usize, output: &mut [u8]) {
        self.resize_portably(image, channel, output);
    }

    #[inline(always)]
    fn resize_portably(&mut self, image: ImageView<'_>, channel: usize, output: &mut [u8]) {
        let buffers = &mut self.buffers;
        if self.source.0 == self.width {
            for y in 0..image.height {
                let row = &mut buffers.rows[y * buffers.stride..][..self.width];
                copy_channel(image, y, channel, row);
            }
        } else {
            for top in (0..image.height).step_by(LANES) {
                load_transposed(image, channel, top, &mut buffers.strip);
                add_up(&self.across, &buffers.strip, LANES, |column, _, sums| {
                    buffers.narrowed[column * LANES..][..LANES].copy_from_slice(sums);
                });
                let rows = &mut buffers.rows[top * buffers.stride..];
                store_transposed(&buffers.narrowed, rows, buffers.stride);
            }
        }
        if self.source.1 == self.height {
            let rows = buffers.rows.chunks_exact(buffers.stride);
            for (output, row) in output.chunks_exact_mut(self.width).zip(rows) {
                output.copy_from_slice(&row[..self.width]);
            }
        } else {
            let width = self.width;
            add_up(
                &self.down,
                &buffers.rows,
                buffers.stride,
                |row, left, sums| {
                    let wanted = LANES.min(width - left);
                    output[row * width + left..][..wanted].copy_from_slice(&sums[..wanted]);
                },
            );
        }
    }

    /// Prepares filters and buffers for a source size, unless they are there.
    fn plan(&mut self, width: usize, height: usize) {
        if self.source == (width, height) {
            return;
        }
        self.source = (width, height);
        self.across = Filter::new(width, self.width);
        self.down = Filter::new(height, self.height);
        let stride = self.width.next_multiple_of(LANES);
        let buffers = &mut self.buffers;
        buffers.stride = stride;
        buffers.strip.resize(width * LANES, 0);
        buffers.narrowed.resize(stride * LANES, 0);
        buffers
            .rows
            .resize(height.next_multiple_of(LANES) * stride, 0);
    }
}

/// For each target pixel, where its source pixels begin and what they weigh.
#[derive(Debug, Default)]
struct Filter {
    /// First source pixel, and the range of the weights.
    taps: Vec<(usize, std::ops::Range<usize>)>,
    weights: Vec<u32>,
}

impl Filter {
    /// `precompute_coeffs` and `normalize_coeffs_8bpc` of Pillow for the
    /// triangle filter (support 1). Weights are never negative.
    fn new(source: usize, target: usize) -> Self {
        let scale = source as f64 / target as f64;
        let support = scale.max(1.0);
        let mut filter = Self::default();
        for index in 0..target {
            let centre = (index as f64 + 0.5) * scale;
            // Float to integer casts saturate, so that a negative start is 0.
            let first = (centre - support + 0.5) as usize;
            let end = ((centre + support + 0.5) as usize).min(source);
            let inverse = 1.0 / support;
            let triangle =
                |pixel: usize| (1.0 - ((pixel as f64 - centre + 0.5) * inverse).abs()).max(0.0);
            let total: f64 = (first..end).map(triangle).sum();
            let start = filter.weights.len();
            filter.weights.extend((first..end).map(|pixel| {
                (triangle(pixel) / total * f64::from(1u32 << PRECISION_BITS) + 0.5) as u32
            }));
            filter.taps.push((first, start..filter.weights.len()));
        }
        filter
    }
}

/// Adds up weighted rows of `source`, each `stride` bytes long, and hands out
/// every piece of `LANES` bytes of every target row: its row, the column at
/// which it starts, its bytes.
#[inline(always)]
fn add_up(
    filter: &Filter,
    source: &[u8],
    stride: usize,
    mut store: impl FnMut(usize, usize, &[u8; LANES]),
) {
    for (target, (first, range)) in filter.taps.iter().enumerate() {
        let rows = &source[first * stride..][..range.len() * stride];
        let weights = &filter.weights[range.clone()];
        for left in (0..stride).step_by(LANES) {
            let mut sums = [1u32 << (PRECISION_BITS - 1); LANES];
            for (row, &weight) in rows.chunks_exact(stride).zip(weights) {
                let pixels = &row[left..][..LANES];
                for (sum, &pixel) in sums.iter_mut().zip(pixels) {
                    // 255 times weights that sum to some 2^22 stay below 2^32.
                    *sum = sum.wrapping_add(weight.wrapping_mul(u32::from(pixel)));
                }
            }
            store(
                target,
                left,
                &sums.map(|sum| (sum >> PRECISION_BITS).min(255) as u8),
            );
        }
    }
}

/// One channel of row `y`.
#[inline(always)]
fn copy_channel(image: ImageView<'_>, y: usize, channel: usize, output: &mut [u8]) {
    let row = image.row(y);
    match image.channels {
        1 => output.copy_from_slice(row),
        channels => {
            for (output, pixel) in output.iter_mut().zip(row.chunks_exact(channels)) {
                *output = pixel[channel];
            }
        }
    }
}

/// Transposes the `LANES` rows from `top` into `strip`. Below the image its
/// last row is repeated; what comes of it is never looked at.
#[inline(always)]
fn load_transposed(image: ImageView<'_>, channel: usize, top: usize, strip: &mut [u8]) {
    let row = |lane: usize| image.row((top + lane).min(image.height - 1));
    let whole = if image.channels == 1 {
        image.width / SIDE * SIDE
    } else {
        0
    };
    for lane in (0..LANES).step_by(SIDE) {
        let rows: [&[u8]; SIDE] = std::array::from_fn(|index| row(lane + index));
        for left in (0..whole).step_by(SIDE) {
            let mut block = [[0; SIDE]; SIDE];
            for (piece, row) in block.iter_mut().zip(&rows) {
                piece.copy_from_slice(&row[left..][..SIDE]);
            }
            for (column, piece) in transpose::transpose(block).iter().enumerate() {
                strip[(left + column) * LANES + lane..][..SIDE].copy_from_slice(piece);
            }
        }
    }
    for lane in 0..LANES {
        let rest = row(lane)
            .chunks_exact(image.channels)
            .enumerate()
            .skip(whole);
        for (column, pixel) in rest {
            strip[column * LANES + lane] = pixel[channel];
        }
    }
}

/// Transposes `narrowed` back into `LANES` rows of `stride` bytes.
#[inline(always)]
fn store_transposed(narrowed: &[u8], rows: &mut [u8], stride: usize) {
    for lane in (0..LANES).step_by(SIDE) {
        for left in (0..stride).step_by(SIDE) {
            let mut block = [[0; SIDE]; SIDE];
            for (column, piece) in block.iter_mut().enumerate() {
                piece.copy_from_slice(&narrowed[(left + column) * LANES + lane..][..SIDE]);
            }
            for (row, piece) in transpose::transpose(block).iter().enumerate() {
                rows[(lane + row) * stride + left..][..SIDE].copy_from_slice(piece);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever the processor, the code that every processor can run gives
    /// the bytes that the code chosen for this one gives.
    #[test]
    fn all_processors_give_the_same_bytes() {
        let pixels: Vec<u8> = (0..300 * 200u32)
            .map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8)
            .collect();
        for (width, height, channels) in [(300, 200, 1), (100, 200, 3)] {
            let image = ImageView {
                width,
                height,
                channels,
                row_stride: 300,
                pixels: &pixels,
            };
            let mut resizer = Resizer::new(45, 61);
            let (mut chosen, mut portable) = (vec![0; 45 * 61], vec![1; 45 * 61]);
            resizer.resize(image, channels - 1, &mut chosen);
            resizer.resize_portably(image, channels - 1, &mut portable);
            assert_eq!(chosen, portable);
        }
    }
}
