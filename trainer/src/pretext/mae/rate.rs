//! The learning rate of pretraining.

use serde::{Deserialize, Serialize};

use crate::optimise::schedule::{Course, half_cosine};

/// Linear warm-up from 0, then a [`Course`]; by epochs, of which steps are
/// fractions. With the cosine it is `adjust_learning_rate` in
/// facebookresearch/mae `util/lr_sched.py`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LearningRate {
    /// The rate after the warm-up.
    pub base: f64,
    /// What follows the warm-up.
    pub course: Course,
    /// The rate at the end of the cosine.
    pub last: f64,
    /// Epochs of warm-up; fractions are allowed.
    pub warmup_epochs: f64,
}

impl LearningRate {
    /// The rate after `epoch` epochs, fractions included, of a run of
    /// `epochs`. A warm-up begins with a rate of 0.
    pub fn after(&self, epoch: f64, epochs: usize) -> f64 {
        if epoch < self.warmup_epochs {
            return self.base * epoch / self.warmup_epochs;
        }
        match self.course {
            Course::Constant => self.base,
            Course::Cosine => {
                let progress = (epoch - self.warmup_epochs) / (epochs as f64 - self.warmup_epochs);
                half_cosine(self.base, self.last, progress)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_rises_and_then_stays_or_falls() {
        let cosine = LearningRate {
            base: 1.0,
            course: Course::Cosine,
            last: 0.2,
            warmup_epochs: 2.0,
        };
        let constant = LearningRate {
            course: Course::Constant,
            ..cosine
        };
        for rate in [cosine, constant] {
            assert_eq!(rate.after(0.0, 10), 0.0);
            assert_eq!(rate.after(0.5, 10), 0.25);
            assert_eq!(rate.after(2.0, 10), 1.0);
        }
        assert!((cosine.after(6.0, 10) - 0.6).abs() < 1e-12);
        assert!((cosine.after(10.0, 10) - 0.2).abs() < 1e-12);
        assert_eq!(constant.after(9.9, 10), 1.0);
    }
}
