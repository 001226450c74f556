//! Pillow's antialiased resize of 8-bit images, bilinear and bicubic, to the
//! last bit.
//!
//! The arithmetic is that of `src/libImaging/Resample.c` of Pillow 11.3:
//! weights of a kernel, widened when shrinking, in fixed point with 22
//! fractional bits; a horizontal pass over all rows, rounded to 8 bits,
//! then a vertical pass. A pass that would not change the size is left out.
//! (Pillow 13 goes vertical first for some tall images; the weights of common
//! networks were trained long before.)
//!
//! Both passes add up whole rows, which compilers vectorise well. For the
//! horizontal pass the image is transposed, a strip of some rows at a time, so
//! that everything stays in the first-level cache.
//!
//! An image with a side of more than [`PART`] pixels is taken a part at a time,
//! and the sums that are not complete at the end of a part are kept for the
//! next one. So memory does not grow with the image, and since sums of integers
//! do not depend on their order, neither do the results.

mod filter;

use std::ops::Range;

pub use self::filter::Kernel;

use self::filter::{Filter, PRECISION_BITS, Part};
use super::image::ImageView;
use super::transpose::{self, SIDE};

/// Columns that are added up together; their sums stay in registers.
const LANES: usize = 32;

/// Columns or rows of the source that are taken at a time: a multiple of
/// `LANES`, and more than most images have.
const PART: usize = 1 << 14;

/// Resizes planes to one size, and remembers what it needs for the last size
/// that came in.
#[derive(Debug)]
pub struct Resizer {
    width: usize,
    height: usize,
    kernel: Kernel,
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
    /// A part of the rows after the horizontal pass, `stride` bytes each.
    rows: Vec<u8>,
    stride: usize,
    /// Sums of the horizontal pass that the next part completes.
    open_across: Vec<i32>,
    /// The same of the vertical pass.
    open_down: Vec<i32>,
}

impl Resizer {
    /// A resizer to `width` x `height` pixels, both at least 1.
    pub fn new(width: usize, height: usize, kernel: Kernel) -> Self {
        Self {
            width,
            height,
            kernel,
            source: (0, 0),
            across: Filter::new(0, 0, kernel),
            down: Filter::new(0, 0, kernel),
            buffers: Buffers::default(),
        }
    }

    /// Number of pixels of a resized plane.
    pub fn target_len(&self) -> usize {
        self.width * self.height
    }

    /// Resizes one channel of an image, counted from 0, to `output`.
    ///
    /// # Panics
    /// When `output` does not hold [`target_len`](Self::target_len) bytes, or
    /// the image has no such channel.
    pub fn resize(&mut self, image: ImageView<'_>, channel: usize, output: &mut [u8]) {
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
        for top in (0..image.height).step_by(PART) {
            let part = top..image.height.min(top + PART);
            self.narrow(image, channel, part.clone());
            let (width, buffers) = (self.width, &mut self.buffers);
            if self.source.1 == self.height {
                let rows = buffers.rows.chunks_exact(buffers.stride);
                let output = output[top * width..].chunks_exact_mut(width);
                for (output, row) in output.zip(rows).take(part.len()) {
                    output.copy_from_slice(&row[..width]);
                }
            } else {
                self.down.take_from(part);
                add_up(
                    &self.down.part,
                    &buffers.rows,
                    buffers.stride,
                    &mut buffers.open_down,
                    |row, left, sums| {
                        let wanted = LANES.min(width - left);
                        output[row * width + left..][..wanted].copy_from_slice(&sums[..wanted]);
                    },
                );
            }
        }
    }

    /// The horizontal pass over some rows of the image.
    #[inline(always)]
    fn narrow(&mut self, image: ImageView<'_>, channel: usize, rows: Range<usize>) {
        let buffers = &mut self.buffers;
        let stride = buffers.stride;
        if self.source.0 == self.width {
            for (y, row) in rows.zip(buffers.rows.chunks_exact_mut(stride)) {
                copy_channel(image, y, channel, &mut row[..self.width]);
            }
            return;
        }
        let strips = rows.step_by(LANES);
        for (top, strip) in strips.zip(buffers.rows.chunks_exact_mut(LANES * stride)) {
            for left in (0..image.width).step_by(PART) {
                let columns = left..image.width.min(left + PART);
                load_transposed(image, channel, top, columns.clone(), &mut buffers.strip);
                self.across.take_from(columns);
                add_up(
                    &self.across.part,
                    &buffers.strip,
                    LANES,
                    &mut buffers.open_across,
                    |column, _, sums| {
                        buffers.narrowed[column * LANES..][..LANES].copy_from_slice(sums);
                    },
                );
            }
            store_transposed(&buffers.narrowed, strip, stride);
        }
    }

    /// Prepares filters and buffers for a source size, unless they are there.
    fn plan(&mut self, width: usize, height: usize) {
        if self.source == (width, height) {
            return;
        }
        self.source = (width, height);
        self.across = Filter::new(width, self.width, self.kernel);
        self.down = Filter::new(height, self.height, self.kernel);
        let stride = self.width.next_multiple_of(LANES);
        let rows = height.min(PART).next_multiple_of(LANES);
        let buffers = &mut self.buffers;
        buffers.stride = stride;
        buffers.strip.resize(width.min(PART) * LANES, 0);
        buffers.narrowed.resize(stride * LANES, 0);
        buffers.rows.resize(rows * stride, 0);
        let open = open_sums(width, self.width, self.kernel) * LANES;
        buffers.open_across.resize(open, 0);
        let open = open_sums(height, self.height, self.kernel) * stride;
        buffers.open_down.resize(open, 0);
    }
}

/// How many neighbouring targets may take from both sides of the border
/// between two parts; none where there is no border.
fn open_sums(source: usize, target: usize, kernel: Kernel) -> usize {
    if source <= PART {
        return 0;
    }
    2 + 2 * kernel.support() * (1 + target.div_ceil(source))
}

/// Adds up weighted rows of `source`, a part of the whole of `stride` bytes a
/// row, and hands out every piece of `LANES` bytes of every target row that is
/// complete: its row, the column at which it starts, its bytes. Those that are
/// not wait in `open`.
#[inline(always)]
fn add_up(
    part: &Part,
    source: &[u8],
    stride: usize,
    open: &mut [i32],
    mut store: impl FnMut(usize, usize, &[u8; LANES]),
) {
    for taps in &part.taps {
        let rows = &source[taps.first * stride..][..taps.weights.len() * stride];
        let weights = &part.weights[taps.weights.clone()];
        let whole = taps.begins && taps.ends;
        let slot = if whole {
            0
        } else {
            taps.target % (open.len() / stride) * stride
        };
        for left in (0..stride).step_by(LANES) {
            let mut sums = [1i32 << (PRECISION_BITS - 1); LANES];
            if !taps.begins {
                sums.copy_from_slice(&open[slot + left..][..LANES]);
            }
            for (row, &weight) in rows.chunks_exact(stride).zip(weights) {
                let pixels = &row[left..][..LANES];
                for (sum, &pixel) in sums.iter_mut().zip(pixels) {
                    // 255 times weights of which those above 0 sum to less than
                    // 1.3 times 2^22 stay below 2^31.
                    *sum = sum.wrapping_add(weight.wrapping_mul(i32::from(pixel)));
                }
            }
            if taps.ends {
                store(
                    taps.target,
                    left,
                    &sums.map(|sum| (sum >> PRECISION_BITS).clamp(0, 255) as u8),
                );
            } else {
                open[slot + left..][..LANES].copy_from_slice(&sums);
            }
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

/// Transposes some columns of the `LANES` rows from `top` into `strip`. Below
/// the image its last row is repeated; what comes of it is never looked at.
#[inline(always)]
fn load_transposed(
    image: ImageView<'_>,
    channel: usize,
    top: usize,
    columns: Range<usize>,
    strip: &mut [u8],
) {
    let bytes = columns.start * image.channels..columns.end * image.channels;
    let row = |lane: usize| &image.row((top + lane).min(image.height - 1))[bytes.clone()];
    let whole = if image.channels == 1 {
        columns.len() / SIDE * SIDE
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

    /// A tall or wide image of few pixels must not take memory by its side.
    #[test]
    fn memory_does_not_grow_with_the_image() {
        let pixels = vec![100; 1 << 22];
        for (width, height) in [(1, 1 << 22), (1 << 22, 1), (16, 1 << 18), (1 << 18, 16)] {
            let image = ImageView {
                width,
                height,
                channels: 1,
                row_stride: width,
                pixels: &pixels,
            };
            let mut resizer = Resizer::new(224, 224, Kernel::Bicubic);
            let mut output = vec![0; 224 * 224];
            resizer.resize(image, 0, &mut output);
            assert!(output.iter().all(|level| *level == 100));
            let buffers = &resizer.buffers;
            let bytes = buffers.strip.capacity()
                + buffers.narrowed.capacity()
                + buffers.rows.capacity()
                + 4 * (buffers.open_across.capacity() + buffers.open_down.capacity())
                + 4 * resizer.across.part.weights.capacity()
                + 4 * resizer.down.part.weights.capacity();
            assert!(bytes < 8 << 20, "{width}x{height}: {bytes} bytes");
        }
    }

    /// Whatever the processor, the code that every processor can run gives
    /// the bytes that the code chosen for this one gives.
    #[test]
    fn all_processors_give_the_same_bytes() {
        let pixels: Vec<u8> = (0..300 * 200u32)
            .map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8)
            .collect();
        for (width, height, channels, kernel) in [
            (300, 200, 1, Kernel::Bilinear),
            (100, 200, 3, Kernel::Bicubic),
        ] {
            let image = ImageView {
                width,
                height,
                channels,
                row_stride: 300,
                pixels: &pixels,
            };
            let mut resizer = Resizer::new(45, 61, kernel);
            let (mut chosen, mut portable) = (vec![0; 45 * 61], vec![1; 45 * 61]);
            resizer.resize(image, channels - 1, &mut chosen);
            resizer.resize_portably(image, channels - 1, &mut portable);
            assert_eq!(chosen, portable);
        }
    }
}
