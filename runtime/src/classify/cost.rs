//! What the network costs, to know which verdicts cannot come in time.

use std::time::Duration;

/// Weight of the newest measurement.
const WEIGHT: f64 = 1.0 / 8.0;

/// Measured cost of the network's runs: moving averages.
#[derive(Debug, Clone, Default)]
pub(super) struct Cost {
    /// Seconds and tiles of a run; `None` before the first one.
    run: Option<(f64, f64)>,
}

impl Cost {
    /// Notes how long a run of some tiles took.
    pub(super) fn note(&mut self, took: Duration, tiles: usize) {
        let newest = (took.as_secs_f64(), tiles as f64);
        self.run = Some(match self.run {
            None => newest,
            Some((seconds, tiles)) => (
                seconds + (newest.0 - seconds) * WEIGHT,
                tiles + (newest.1 - tiles) * WEIGHT,
            ),
        });
    }

    /// Least time that some tiles will take, `batch` of them at once; nothing
    /// while nothing is known. On a processor every tile takes its time, on a
    /// GPU a run takes the same whatever its number of tiles: the lesser of
    /// both is taken, so that only what cannot be in time is given up.
    pub(super) fn of(&self, tiles: usize, batch: usize) -> Duration {
        let Some((seconds, tiles_of_a_run)) = self.run else {
            return Duration::ZERO;
        };
        let by_tile = seconds / tiles_of_a_run * tiles as f64;
        let by_run = seconds * tiles.div_ceil(batch) as f64;
        Duration::try_from_secs_f64(by_tile.min(by_run)).unwrap_or(Duration::ZERO)
    }

    /// Lowers the estimate when a row was given up because of it: one slow
    /// moment must not put off everything that follows, and only a run can
    /// show that it is over.
    pub(super) fn fade(&mut self) {
        if let Some((seconds, _)) = &mut self.run {
            *seconds *= 1.0 - WEIGHT;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn the_estimate_is_the_least_that_the_measurements_allow() {
        let mut cost = Cost::default();
        assert_eq!(cost.of(8, 8), Duration::ZERO);
        for _ in 0..100 {
            cost.note(MS(10), 1);
            cost.note(MS(80), 8);
        }
        // Ten milliseconds a tile.
        assert!(cost.of(4, 8) > MS(35) && cost.of(4, 8) < MS(45));
        let mut cost = Cost::default();
        for _ in 0..100 {
            cost.note(MS(10), 1);
            cost.note(MS(10), 8);
        }
        // Ten milliseconds a run.
        assert!(cost.of(8, 8) > MS(9) && cost.of(8, 8) < MS(11));
        assert!(cost.of(16, 8) > MS(19) && cost.of(16, 8) < MS(21));
    }

    #[test]
    fn the_estimate_fades() {
        let mut cost = Cost::default();
        cost.note(MS(800), 8);
        for _ in 0..40 {
            cost.fade();
        }
        assert!(cost.of(8, 8) < MS(10));
    }
}
