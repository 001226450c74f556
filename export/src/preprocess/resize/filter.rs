//! What each target pixel takes from the source, in fixed point.

use std::ops::Range;

/// Fractional bits of a weight: 32, less 8 for the levels and 2 of reserve.
pub(super) const PRECISION_BITS: u32 = 32 - 8 - 2;

/// What pixels weigh by their distance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kernel {
    /// A triangle over two pixels: Pillow's `BILINEAR`.
    Bilinear,
    /// The cubic convolution over four pixels with a = -1/2 (Keys, 1981):
    /// Pillow's `BICUBIC`.
    Bicubic,
}

impl Kernel {
    /// Half the width, in pixels of whichever is larger, those of the source or
    /// of the target.
    pub(super) fn support(self) -> usize {
        match self {
            Self::Bilinear => 1,
            Self::Bicubic => 2,
        }
    }

    /// The weight at a distance, in the order of Pillow's operations.
    fn weight(self, distance: f64) -> f64 {
        let x = distance.abs();
        match self {
            Self::Bilinear => (1.0 - x).max(0.0),
            Self::Bicubic if x < 1.0 => (1.5 * x - 2.5) * x * x + 1.0,
            Self::Bicubic if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * -0.5,
            Self::Bicubic => 0.0,
        }
    }
}

/// For each target pixel, where its source pixels begin and what they weigh.
#[derive(Debug)]
pub(super) struct Filter {
    kernel: Kernel,
    /// Source pixels for each target pixel.
    scale: f64,
    /// For each target pixel, its source pixels and their weights' total.
    targets: Vec<(Range<usize>, f64)>,
    pub part: Part,
}

/// What a filter takes from a part of the source.
#[derive(Debug, Default)]
pub(super) struct Part {
    source: Range<usize>,
    pub taps: Vec<Taps>,
    pub weights: Vec<i32>,
}

/// What one target pixel takes from a part of the source.
#[derive(Debug)]
pub(super) struct Taps {
    pub target: usize,
    /// First source pixel, counted from the part's beginning.
    pub first: usize,
    /// Its weights among those of the part.
    pub weights: Range<usize>,
    /// Whether these are the target's first source pixels.
    pub begins: bool,
    /// Whether these are its last.
    pub ends: bool,
}

impl Filter {
    /// `precompute_coeffs` of Pillow.
    pub fn new(source: usize, target: usize, kernel: Kernel) -> Self {
        let scale = source as f64 / target as f64;
        let mut filter = Self {
            kernel,
            scale,
            targets: Vec::with_capacity(target),
            part: Part::default(),
        };
        let support = kernel.support() as f64 * scale.max(1.0);
        for index in 0..target {
            let centre = filter.centre(index);
            // Float to integer casts saturate, so that a negative start is 0.
            let first = (centre - support + 0.5) as usize;
            let end = ((centre + support + 0.5) as usize).min(source);
            let total = (first..end).map(|pixel| filter.weight(pixel, centre)).sum();
            filter.targets.push((first..end, total));
        }
        filter
    }

    fn centre(&self, target: usize) -> f64 {
        (target as f64 + 0.5) * self.scale
    }

    /// What a source pixel weighs, before the total is taken into account.
    fn weight(&self, pixel: usize, centre: f64) -> f64 {
        let inverse = 1.0 / self.scale.max(1.0);
        self.kernel.weight((pixel as f64 - centre + 0.5) * inverse)
    }

    /// Prepares the weights for a part of the source, unless they are there:
    /// `normalize_coeffs_8bpc` of Pillow.
    pub fn take_from(&mut self, source: Range<usize>) {
        if self.part.source == source {
            return;
        }
        let mut part = std::mem::take(&mut self.part);
        part.taps.clear();
        part.weights.clear();
        let past = |(pixels, _): &(Range<usize>, f64)| pixels.end <= source.start;
        let from = self.targets.partition_point(past);
        for (target, (pixels, total)) in self.targets.iter().enumerate().skip(from) {
            if pixels.start >= source.end {
                break;
            }
            let here = pixels.start.max(source.start)..pixels.end.min(source.end);
            let centre = self.centre(target);
            let start = part.weights.len();
            part.weights.extend(here.clone().map(|pixel| {
                let weight = self.weight(pixel, centre) / total;
                let half = if weight < 0.0 { -0.5 } else { 0.5 };
                (weight * f64::from(1u32 << PRECISION_BITS) + half) as i32
            }));
            part.taps.push(Taps {
                target,
                first: here.start - source.start,
                weights: start..part.weights.len(),
                begins: here.start == pixels.start,
                ends: here.end == pixels.end,
            });
        }
        part.source = source;
        self.part = part;
    }
}
