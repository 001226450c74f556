//! Tables of filtered noise, periodic in both directions, computed once.
//!
//! Every table has zero mean and unit variance and is stored as bytes, [`STEP`]
//! to the standard deviation, so that a line of texture is one contiguous read
//! and one multiplication per pixel.

use std::sync::LazyLock;

use super::dice::Dice;

/// Table units in one standard deviation.
pub(super) const STEP: f32 = 28.0;

/// A periodic field of noise.
pub(super) struct Table {
    width: usize,
    height: usize,
    values: Vec<i8>,
}

impl Table {
    fn from_field(width: usize, height: usize, mut field: Vec<f32>) -> Self {
        standardise(&mut field);
        let values = field
            .iter()
            .map(|value| (value * STEP).round().clamp(-127.0, 127.0) as i8)
            .collect();
        Self {
            width,
            height,
            values,
        }
    }

    /// The difference between rows `distance` apart: a band-pass along the piece.
    fn slope(&self, distance: usize) -> Self {
        let shift = distance * self.width;
        let count = self.values.len();
        let field = (0..count)
            .map(|index| {
                f32::from(self.values[(index + shift) % count]) - f32::from(self.values[index])
            })
            .collect();
        Self::from_field(self.width, self.height, field)
    }

    /// One row, cyclic in both directions; `row` is wrapped.
    pub(super) fn row(&self, row: i64) -> &[i8] {
        let row = row.rem_euclid(self.height as i64) as usize;
        &self.values[row * self.width..(row + 1) * self.width]
    }

    /// Value at an integer position in standard deviations, wrapped.
    pub(super) fn at(&self, column: i64, row: i64) -> f32 {
        let line = self.row(row);
        f32::from(line[column.rem_euclid(self.width as i64) as usize]) / STEP
    }

    /// Bilinear value at a real position in standard deviations, wrapped.
    pub(super) fn sample(&self, x: f32, y: f32) -> f32 {
        let (x0, y0) = (x.floor(), y.floor());
        let (fx, fy) = (x - x0, y - y0);
        let (column, row) = (x0 as i64, y0 as i64);
        let upper = self.at(column, row) * (1.0 - fx) + self.at(column + 1, row) * fx;
        let lower = self.at(column, row + 1) * (1.0 - fx) + self.at(column + 1, row + 1) * fx;
        upper * (1.0 - fy) + lower * fy
    }
}

/// Adds `amplitude` × a table row (in standard deviations) to `target`, the
/// row starting at column `start`, wrapped.
pub(super) fn add_row(target: &mut [f32], row: &[i8], start: i64, amplitude: f32) {
    let scale = amplitude / STEP;
    let mut at = start.rem_euclid(row.len() as i64) as usize;
    let mut rest = target;
    while !rest.is_empty() {
        let count = rest.len().min(row.len() - at);
        let (now, later) = rest.split_at_mut(count);
        for (value, &noise) in now.iter_mut().zip(&row[at..at + count]) {
            *value += scale * f32::from(noise);
        }
        rest = later;
        at = 0;
    }
}

/// Pixels and lines between two nodes of the cloud table.
pub(super) const CLOUD_STEP: usize = 16;

/// Pixel-sized grain; two rows for each line.
pub(super) static GRAIN: LazyLock<Table> =
    LazyLock::new(|| build(0, (1024, 2048), &[(0.62, 1.5, 1.0)]));
/// Grain of 2 to 5 pixels, slightly drawn out along the piece; two rows a line.
pub(super) static COARSE_GRAIN: LazyLock<Table> =
    LazyLock::new(|| build(1, (832, 1664), &[(1.3, 6.0, 0.8), (3.0, 16.0, 0.5)]));
/// Rolling lines: narrow across, hundreds of lines long; one row for 8 lines.
pub(super) static ROLLING: LazyLock<Table> = LazyLock::new(|| {
    let octaves = [(0.7, 26.0, 0.75), (2.5, 9.0, 0.5), (9.0, 40.0, 0.5)];
    build(2, (1920, 512), &octaves)
});
/// Ripple across the piece: short along, long across; two rows a line.
pub(super) static RIPPLE: LazyLock<Table> =
    LazyLock::new(|| build(3, (1472, 1536), &[(36.0, 5.0, 1.0), (9.0, 4.0, 0.3)]).slope(7));
/// Field whose level sets are drawn-out flakes with ragged edges; one row for 2 lines.
pub(super) static FLAKES: LazyLock<Table> = LazyLock::new(|| {
    let octaves = [(4.5, 20.0, 1.0), (1.6, 7.0, 0.34), (0.8, 2.0, 0.16)];
    build(4, (1600, 1024), &octaves)
});
/// Field whose level sets are round blotches with ragged edges; one row a line.
pub(super) static BLOTCHES: LazyLock<Table> = LazyLock::new(|| {
    let octaves = [(15.0, 18.0, 1.0), (4.5, 6.0, 0.4), (1.5, 2.0, 0.22)];
    build(5, (1280, 1280), &octaves)
});
/// Field whose level sets are small spots; one row a line.
pub(super) static SPOTS: LazyLock<Table> =
    LazyLock::new(|| build(6, (1152, 1152), &[(2.2, 2.6, 1.0), (0.9, 1.0, 0.3)]));
/// Slow clouds; one row and one column for [`CLOUD_STEP`] pixels.
pub(super) static CLOUDS: LazyLock<Table> =
    LazyLock::new(|| build(7, (320, 320), &[(5.0, 9.0, 0.8), (14.0, 30.0, 0.9)]));
/// White noise, for the sensor.
pub(super) static WHITE: LazyLock<Table> =
    LazyLock::new(|| build(8, (8192, 64), &[(0.0, 0.0, 1.0)]));

/// Sums octaves of blurred white noise; an octave is the standard deviation of
/// its blur along x and along y in table cells, and its weight.
fn build(index: u64, (width, height): (usize, usize), octaves: &[(f32, f32, f32)]) -> Table {
    let mut dice = Dice::new(0x5EED_0F57_EE1D, &[index]);
    let mut field = vec![0.0f32; width * height];
    for &(across, along, weight) in octaves {
        let mut octave: Vec<f32> = (0..width * height).map(|_| dice.normal()).collect();
        blur_rows(&mut octave, width, across);
        blur_columns(&mut octave, width, along);
        standardise(&mut octave);
        for (sum, value) in field.iter_mut().zip(&octave) {
            *sum += weight * value;
        }
    }
    Table::from_field(width, height, field)
}

fn deviation(field: &[f32]) -> f32 {
    let count = field.len() as f64;
    let mean = field.iter().map(|&v| f64::from(v)).sum::<f64>() / count;
    let square = field
        .iter()
        .map(|&v| f64::from(v) * f64::from(v))
        .sum::<f64>()
        / count;
    (square - mean * mean).max(0.0).sqrt() as f32
}

fn standardise(field: &mut [f32]) {
    let mean = (field.iter().map(|&v| f64::from(v)).sum::<f64>() / field.len() as f64) as f32;
    let spread = deviation(field).max(f32::MIN_POSITIVE);
    for value in field {
        *value = (*value - mean) / spread;
    }
}

/// Approximates a Gaussian blur by three cyclic box blurs; a standard
/// deviation below 0.9 is a three-tap kernel instead.
fn blur(line: &mut [f32], scratch: &mut Vec<f32>, deviation: f32) {
    let count = line.len();
    if deviation <= 0.0 {
        return;
    }
    if deviation < 0.9 {
        let side = (-0.5 / (deviation * deviation)).exp();
        let norm = 1.0 / (1.0 + 2.0 * side);
        scratch.clear();
        scratch.extend_from_slice(line);
        for (index, value) in line.iter_mut().enumerate() {
            let before = scratch[(index + count - 1) % count];
            let after = scratch[(index + 1) % count];
            *value = norm * (scratch[index] + side * (before + after));
        }
        return;
    }
    // Three boxes of width w have variance (w² − 1) / 4.
    let half = (((4.0 * deviation * deviation + 1.0).sqrt() - 1.0) / 2.0).round() as usize;
    let half = half.clamp(1, count / 2 - 1);
    let norm = 1.0 / (2 * half + 1) as f64;
    for _ in 0..3 {
        scratch.clear();
        scratch.extend_from_slice(line);
        let mut sum: f64 = (0..=2 * half)
            .map(|offset| f64::from(scratch[(count - half + offset) % count]))
            .sum();
        for (index, value) in line.iter_mut().enumerate() {
            *value = (sum * norm) as f32;
            sum += f64::from(scratch[(index + half + 1) % count]);
            sum -= f64::from(scratch[(index + count - half) % count]);
        }
    }
}

fn blur_rows(field: &mut [f32], width: usize, deviation: f32) {
    let mut scratch = Vec::new();
    for row in field.chunks_exact_mut(width) {
        blur(row, &mut scratch, deviation);
    }
}

fn blur_columns(field: &mut [f32], width: usize, deviation: f32) {
    let height = field.len() / width;
    let mut scratch = Vec::new();
    let mut column = vec![0.0; height];
    for x in 0..width {
        for (value, source) in column.iter_mut().zip(field[x..].iter().step_by(width)) {
            *value = *source;
        }
        blur(&mut column, &mut scratch, deviation);
        for (target, value) in field[x..].iter_mut().step_by(width).zip(&column) {
            *target = *value;
        }
    }
}
