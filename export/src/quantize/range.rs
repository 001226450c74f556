//! From observed values to whole numbers.

/// Bins of a histogram.
pub(super) const BINS: usize = 4096;

/// How much of the observed values is kept: what lies outside becomes the
/// nearest end of the range, and what lies inside has finer steps for it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Clipping {
    /// All of it.
    None,
    /// This share of the values, 0 to 1, the rest at both ends alike.
    Percentile(f64),
    /// As much as makes the distribution of the whole numbers most like that of
    /// the values, by the Kullback-Leibler divergence (Migacz, "8-bit Inference
    /// with TensorRT", 2017), on the absolute values.
    Entropy,
}

/// The whole numbers that stand for values: `scale * (level - zero)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Levels {
    /// The value of one step, above 0.
    pub scale: f32,
    /// The level of 0.
    pub zero: u8,
}

impl Levels {
    /// Levels from 0 to 255 for values from `least` to `largest`. 0 is always
    /// among them, and exactly so: images are padded with it.
    pub fn of(least: f32, largest: f32) -> Self {
        let (least, largest) = (least.min(0.0), largest.max(0.0));
        let scale = (f64::from(largest) - f64::from(least)) / 255.0;
        if scale < f64::from(f32::MIN_POSITIVE) {
            return Self {
                scale: 1.0,
                zero: 0,
            };
        }
        let zero = (-f64::from(least) / scale).round().clamp(0.0, 255.0);
        Self {
            scale: scale as f32,
            zero: zero as u8,
        }
    }
}

/// Values of one tensor over all tiles.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Observed {
    pub(super) least: f32,
    pub(super) largest: f32,
    /// Numbers of values in equal steps from `least` to `largest`.
    pub(super) histogram: Vec<u64>,
}

impl Observed {
    /// Nothing yet.
    pub(super) fn new() -> Self {
        Self {
            least: f32::INFINITY,
            largest: f32::NEG_INFINITY,
            histogram: vec![0; BINS],
        }
    }

    /// Counts values within the bounds that are known already.
    pub(super) fn count(&mut self, values: &[f32]) {
        let width = f64::from(self.largest) - f64::from(self.least);
        let per_value = match width > 0.0 {
            true => BINS as f64 / width,
            false => 0.0,
        };
        for &value in values {
            let bin = (f64::from(value) - f64::from(self.least)) * per_value;
            self.histogram[(bin as usize).min(BINS - 1)] += 1;
        }
    }

    /// The levels that stand for the values.
    pub(super) fn levels(&self, clipping: Clipping) -> Levels {
        let (least, largest) = match clipping {
            Clipping::None => (self.least, self.largest),
            Clipping::Percentile(share) => self.percentile(share),
            Clipping::Entropy => {
                let most = self.most_alike();
                (self.least.max(-most), self.largest.min(most))
            }
        };
        Levels::of(least, largest)
    }

    /// The lower edge of a bin, of [`BINS`] the largest value.
    fn edge(&self, bin: usize) -> f32 {
        let width = f64::from(self.largest) - f64::from(self.least);
        (f64::from(self.least) + width * bin as f64 / BINS as f64) as f32
    }

    fn percentile(&self, share: f64) -> (f32, f32) {
        let all: u64 = self.histogram.iter().sum();
        let outside = (all as f64 * (1.0 - share) / 2.0) as u64;
        // How many bins at one end hold no more values than may lie outside.
        let passed = |bins: &mut dyn Iterator<Item = &u64>| {
            let mut sum = 0;
            bins.take_while(|&&count| {
                sum += count;
                sum <= outside
            })
            .count()
        };
        let below = passed(&mut self.histogram.iter());
        let above = passed(&mut self.histogram.iter().rev());
        (self.edge(below), self.edge(BINS - above))
    }

    /// The absolute value up to which the values are kept so that their
    /// distribution changes least.
    fn most_alike(&self) -> f32 {
        let largest = self.least.abs().max(self.largest.abs());
        let absolute = self.absolute(largest);
        let divergence = |kept: usize| divergence(&absolute, kept);
        let kept = (LEVELS..=absolute.len())
            .step_by(STEP)
            .min_by(|&a, &b| divergence(a).total_cmp(&divergence(b)));
        let share = kept.unwrap_or(absolute.len()) as f32 / absolute.len() as f32;
        largest * share
    }

    /// The histogram of the absolute values, from 0 to `largest`.
    fn absolute(&self, largest: f32) -> Vec<f64> {
        let mut absolute = vec![0.0; BINS / 2];
        let bins = absolute.len();
        for (bin, &count) in self.histogram.iter().enumerate() {
            let centre = (self.edge(bin) + self.edge(bin + 1)) / 2.0;
            let place = (centre.abs() / largest * bins as f32) as usize;
            absolute[place.min(bins - 1)] += count as f64;
        }
        // Zeros, of which a rectifier gives as many as anything else, need no
        // room, and would make all else count for nothing.
        absolute[0] = absolute[1];
        absolute
    }
}

/// Levels of a side in the search for the most alike distribution.
const LEVELS: usize = 128;
/// Bins from one candidate to the next.
const STEP: usize = 8;

/// How far the first `kept` bins, with all beyond them in the last one, are from
/// what [`LEVELS`] equal levels make of them.
fn divergence(histogram: &[f64], kept: usize) -> f64 {
    let beyond: f64 = histogram[kept..].iter().sum();
    let mut reference = histogram[..kept].to_vec();
    if let Some(last) = reference.last_mut() {
        *last += beyond;
    }
    // A level spreads what it holds evenly over those of its bins that hold
    // anything.
    let mut quantized = vec![0.0; kept];
    for level in 0..LEVELS {
        let bins = level * kept / LEVELS..(level + 1) * kept / LEVELS;
        let sum: f64 = histogram[bins.clone()].iter().sum();
        let filled = |&bin: &usize| reference[bin] > 0.0;
        let count = bins.clone().filter(filled).count();
        for bin in bins.filter(filled) {
            quantized[bin] = sum / count as f64;
        }
    }
    let all = |values: &[f64]| values.iter().sum::<f64>().max(f64::MIN_POSITIVE);
    let (p_all, q_all) = (all(&reference), all(&quantized));
    reference
        .iter()
        .zip(&quantized)
        .filter(|(p, _)| **p > 0.0)
        .map(|(p, q)| {
            let (p, q) = (p / p_all, (q / q_all).max(1e-12));
            p * (p / q).ln()
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observed(values: &[f32]) -> Observed {
        let mut observed = Observed::new();
        for &value in values {
            observed.least = observed.least.min(value);
            observed.largest = observed.largest.max(value);
        }
        observed.count(values);
        observed
    }

    #[test]
    fn zero_is_a_level() {
        for (least, largest, zero) in [(0.0, 2.55, 0), (-1.0, 1.55, 100), (0.5, 1.0, 0)] {
            let levels = Levels::of(least, largest);
            assert_eq!(levels.zero, zero, "{least} {largest}");
            let top = levels.scale * f32::from(255 - levels.zero);
            assert!((top - largest).abs() < 1e-5, "{top} {largest}");
        }
        assert_eq!(Levels::of(-2.0, -1.0).zero, 255);
        assert_eq!(Levels::of(0.0, 0.0).scale, 1.0);
    }

    /// Ten thousand values up to 1 and one of 100.
    #[test]
    fn a_value_that_stands_alone_is_clipped() {
        let mut values: Vec<f32> = (0..10_000).map(|at| at as f32 / 10_000.0).collect();
        values.push(100.0);
        let observed = observed(&values);
        let largest = |clipping| 255.0 * observed.levels(clipping).scale;
        assert!((largest(Clipping::None) - 100.0).abs() < 1e-3);
        // As near as a bin.
        let clipped = largest(Clipping::Percentile(0.999));
        assert!((0.9..1.1).contains(&clipped), "{clipped}");
        let alike = largest(Clipping::Entropy);
        assert!((0.9..10.0).contains(&alike), "{alike}");
    }

    #[test]
    fn what_a_rectifier_gives_begins_at_zero() {
        let values: Vec<f32> = (0..1000)
            .map(|at| (at as f32 - 500.0).max(0.0) / 500.0)
            .collect();
        for clipping in [
            Clipping::None,
            Clipping::Percentile(0.99),
            Clipping::Entropy,
        ] {
            assert_eq!(observed(&values).levels(clipping).zero, 0, "{clipping:?}");
        }
    }

    #[test]
    fn a_constant_has_a_level() {
        let levels = observed(&[0.5; 10]).levels(Clipping::Percentile(0.999));
        assert!((255.0 * levels.scale - 0.5).abs() < 1e-6);
    }
}
