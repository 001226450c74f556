//! What the network costs, to know which verdicts cannot come in time.

use std::time::Duration;

/// Weight of the newest measurement.
const WEIGHT: f64 = 1.0 / 8.0;

/// Share of the estimate that is taken off for a row that was given up.
const FADING: f64 = 1.0 / 16.0;

/// Spread of the number of tiles below which nothing can be said of a run's
/// own time and a tile's apart.
const LEAST_SPREAD: f64 = 0.25;

/// Measured cost of the network's runs: moving averages, from which a run's
/// own time and the time of each of its tiles follow by least squares. On a
/// processor nearly all is a tile's, on a GPU nearly all is the run's.
#[derive(Debug, Clone, Default)]
pub(super) struct Cost {
    /// `None` before the first run.
    means: Option<Means>,
}

#[derive(Debug, Clone, Copy)]
struct Means {
    tiles: f64,
    seconds: f64,
    tiles_squared: f64,
    tiles_seconds: f64,
}

impl Cost {
    /// Notes how long a run of some tiles took.
    pub(super) fn note(&mut self, took: Duration, tiles: usize) {
        let (tiles, seconds) = (tiles as f64, took.as_secs_f64());
        let newest = Means {
            tiles,
            seconds,
            tiles_squared: tiles * tiles,
            tiles_seconds: tiles * seconds,
        };
        let towards = |mean: &mut f64, value: f64| *mean += (value - *mean) * WEIGHT;
        match &mut self.means {
            None => self.means = Some(newest),
            Some(means) => {
                towards(&mut means.tiles, newest.tiles);
                towards(&mut means.seconds, newest.seconds);
                towards(&mut means.tiles_squared, newest.tiles_squared);
                towards(&mut means.tiles_seconds, newest.tiles_seconds);
            }
        }
    }

    /// Time that some tiles will take, `batch` of them at once; nothing while
    /// nothing is known.
    pub(super) fn of(&self, tiles: usize, batch: usize) -> Duration {
        let Some(means) = self.means else {
            return Duration::ZERO;
        };
        let (run, tile) = means.of_run_and_tile();
        let seconds = run * tiles.div_ceil(batch) as f64 + tile * tiles as f64;
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::ZERO)
    }

    /// Lowers the estimate when a row was given up because of it: one slow
    /// moment must not put off everything that follows, and only a run can
    /// show that it is over.
    pub(super) fn fade(&mut self) {
        if let Some(means) = &mut self.means {
            means.seconds *= 1.0 - FADING;
            means.tiles_seconds *= 1.0 - FADING;
        }
    }
}

impl Means {
    /// Seconds of a run for itself, and of each of its tiles. Neither can be
    /// negative; where runs differ too little, all is taken to be the tiles'.
    fn of_run_and_tile(&self) -> (f64, f64) {
        let spread = self.tiles_squared - self.tiles * self.tiles;
        if spread < LEAST_SPREAD {
            return (0.0, self.seconds / self.tiles);
        }
        let tile = (self.tiles_seconds - self.tiles * self.seconds) / spread;
        let tile = tile.clamp(0.0, self.seconds / self.tiles);
        (self.seconds - tile * self.tiles, tile)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn is_about(cost: Duration, milliseconds: f64) -> bool {
        (cost.as_secs_f64() * 1000.0 - milliseconds).abs() < 0.1 * milliseconds
    }

    #[test]
    fn the_time_of_a_run_and_of_its_tiles_are_told_apart() {
        let mut processor = Cost::default();
        let mut gpu = Cost::default();
        assert_eq!(processor.of(8, 8), Duration::ZERO);
        for tiles in [1, 8, 3, 8, 2, 8, 8, 1, 5, 8] {
            processor.note(MS(10 * tiles), tiles as usize);
            gpu.note(MS(10), tiles as usize);
        }
        assert!(is_about(processor.of(4, 8), 40.0));
        assert!(is_about(processor.of(16, 8), 160.0));
        assert!(is_about(gpu.of(8, 8), 10.0));
        assert!(is_about(gpu.of(16, 8), 20.0));
    }

    #[test]
    fn runs_that_are_all_alike_are_taken_for_the_time_of_their_tiles() {
        let mut cost = Cost::default();
        cost.note(MS(80), 8);
        cost.note(MS(80), 8);
        assert!(is_about(cost.of(8, 8), 80.0));
        assert!(is_about(cost.of(4, 8), 40.0));
    }

    #[test]
    fn the_estimate_fades() {
        let mut cost = Cost::default();
        cost.note(MS(800), 8);
        for _ in 0..100 {
            cost.fade();
        }
        assert!(cost.of(8, 8) < MS(10));
    }
}
