//! The learning rate over the steps of a run.

use serde::{Deserialize, Serialize};

/// Linear warm-up to the base rate, then half a cosine down to the final rate
/// (Loshchilov and Hutter, 2017, without restarts).
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
        let cosine = 1.0 + (std::f64::consts::PI * progress).cos();
        self.last + 0.5 * (self.base - self.last) * cosine
    }
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
}
