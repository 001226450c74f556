//! Values that change over the steps of a run.

use serde::{Deserialize, Serialize};

/// The learning rate: linear warm-up to the base rate, then half a cosine down
/// to the final rate (Loshchilov and Hutter, 2017, without restarts).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// The highest rate.
    pub base: f64,
    /// The rate after the last step.
    pub last: f64,
    /// Steps of warm-up.
    pub warmup: usize,
    /// All steps, warm-up included.
    pub steps: usize,
}

impl Schedule {
    /// The rate of step `step`, counted from 0. The first step of a warm-up
    /// already moves.
    pub fn rate(&self, step: usize) -> f64 {
        if step < self.warmup {
            return self.base * (step + 1) as f64 / self.warmup as f64;
        }
        let span = self.steps.saturating_sub(self.warmup).max(1);
        let progress = ((step - self.warmup) as f64 / span as f64).min(1.0);
        half_cosine(self.base, self.last, progress)
    }
}

/// What the learning rate does after its warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Course {
    /// It stays at its height.
    Constant,
    /// It falls along half a cosine.
    Cosine,
}

/// Half a cosine from `base` to `last`, after a share `progress` of its way.
pub(crate) fn half_cosine(base: f64, last: f64, progress: f64) -> f64 {
    let cosine = 1.0 + (std::f64::consts::PI * progress).cos();
    last + 0.5 * (base - last) * cosine
}

/// The schedule of DINO's learning rate, weight decay and teacher momentum
/// (facebookresearch/dino, `utils.cosine_scheduler`).
///
/// The warm-up begins with 0 and ends with the base value, with which the
/// half cosine begins once more; the final value is never reached.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CosineSchedule {
    /// The value at the end of the warm-up.
    pub base: f64,
    /// The value towards which the cosine runs.
    pub last: f64,
    /// Steps of warm-up.
    pub warmup: usize,
    /// All steps, warm-up included.
    pub steps: usize,
}

impl CosineSchedule {
    /// The value of step `step`, counted from 0.
    pub fn value(&self, step: usize) -> f64 {
        if step < self.warmup {
            return linear(0.0, self.base, self.warmup, step);
        }
        let span = self.steps.saturating_sub(self.warmup).max(1) as f64;
        let progress = (step - self.warmup) as f64 / span;
        half_cosine(self.base, self.last, progress)
    }
}

/// The temperature of DINO's teacher over the epochs: linear from the first to
/// the last value, both included, then constant.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TemperatureSchedule {
    /// The value of the first epoch, if there is a warm-up.
    pub first: f64,
    /// The value after the warm-up.
    pub last: f64,
    /// Epochs of warm-up.
    pub warmup: usize,
}

impl TemperatureSchedule {
    /// The value of an epoch, counted from 0.
    pub fn value(&self, epoch: usize) -> f64 {
        if epoch < self.warmup {
            linear(self.first, self.last, self.warmup, epoch)
        } else {
            self.last
        }
    }
}

/// Element `index` of `count` equally spaced numbers from `first` to `last`,
/// both included; the first alone when there is but one.
fn linear(first: f64, last: f64, count: usize, index: usize) -> f64 {
    if index == 0 {
        return first;
    }
    first + (last - first) * index as f64 / (count - 1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rises_linearly_then_falls_along_a_cosine() {
        let schedule = Schedule {
            base: 1.0,
            last: 0.1,
            warmup: 4,
            steps: 12,
        };
        let rates: Vec<f64> = (0..13).map(|step| schedule.rate(step)).collect();
        assert_eq!(&rates[..5], [0.25, 0.5, 0.75, 1.0, 1.0]);
        assert!((rates[8] - 0.55).abs() < 1e-12);
        assert!((rates[12] - 0.1).abs() < 1e-12);
        assert!(rates[4..].windows(2).all(|pair| pair[0] > pair[1]));
    }

    #[test]
    fn the_base_value_comes_twice_and_the_final_one_never() {
        let schedule = CosineSchedule {
            base: 1.0,
            last: 0.0,
            warmup: 3,
            steps: 7,
        };
        let values: Vec<f64> = (0..7).map(|step| schedule.value(step)).collect();
        assert_eq!(&values[..4], [0.0, 0.5, 1.0, 1.0]);
        assert!((values[5] - 0.5).abs() < 1e-12);
        assert!(values[6] > 0.1);
        let short = CosineSchedule {
            warmup: 1,
            ..schedule
        };
        assert_eq!((short.value(0), short.value(1)), (0.0, 1.0));
    }

    #[test]
    fn temperatures_warm_up_to_the_end_point() {
        let schedule = TemperatureSchedule {
            first: 0.04,
            last: 0.07,
            warmup: 4,
        };
        let values: Vec<f64> = (0..6).map(|epoch| schedule.value(epoch)).collect();
        for (value, expected) in values.iter().zip([0.04, 0.05, 0.06, 0.07, 0.07, 0.07]) {
            assert!((value - expected).abs() < 1e-12, "{values:?}");
        }
    }
}
