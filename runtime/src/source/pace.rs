//! Holding a replayed or simulated source to the camera's line rate.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Longest time that a waiting source does not look whether it should stop.
const SLEEP_SLICE: Duration = Duration::from_millis(50);

/// A source that falls behind by less is held to keep its rate: a computer
/// that does other things too is now and then late by that much.
const TOLERATED_LAG: Duration = Duration::from_millis(100);

/// Waits until the moment at which a camera would have delivered a line.
#[derive(Debug)]
pub struct Pacer {
    start: Instant,
    line_rate: f64,
    lines: u64,
    largest_lag: Duration,
    /// Time since the start at the last wait's end.
    reached: Duration,
}

/// How far a source has fallen behind the line rate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shortfall {
    /// Lines per second that it gave over the whole run.
    pub given: f64,
    /// Lines per second that a camera would have given.
    pub wanted: f64,
    /// Longest time by which a line came too late.
    pub largest_lag: Duration,
}

impl Pacer {
    /// Starts the clock. `line_rate` is in lines per second and positive.
    pub fn new(line_rate: f64) -> Self {
        Self {
            start: Instant::now(),
            line_rate,
            lines: 0,
            largest_lag: Duration::ZERO,
            reached: Duration::ZERO,
        }
    }

    /// Waits until `lines` more lines would have been exposed, but not longer
    /// than `stop` is unset. Returns at once when the source is behind its
    /// rate; the clock is not set back, so that a source that was late catches
    /// up as a camera's buffer would.
    pub fn wait(&mut self, lines: u64, stop: &AtomicBool) {
        self.lines = self.lines.saturating_add(lines);
        let due = Duration::try_from_secs_f64(self.lines as f64 / self.line_rate)
            .unwrap_or(Duration::MAX);
        let mut now = self.start.elapsed();
        self.largest_lag = self.largest_lag.max(now.saturating_sub(due));
        while now < due && !stop.load(Ordering::Relaxed) {
            std::thread::sleep((due - now).min(SLEEP_SLICE));
            now = self.start.elapsed();
        }
        self.reached = now;
    }

    /// How far the source has fallen behind; `None` when it has kept its rate.
    pub fn shortfall(&self) -> Option<Shortfall> {
        (self.largest_lag > TOLERATED_LAG).then(|| Shortfall {
            given: self.lines as f64 / self.reached.as_secs_f64(),
            wanted: self.line_rate,
            largest_lag: self.largest_lag,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_paced_source_takes_the_time_of_its_lines() {
        let stop = AtomicBool::new(false);
        let mut pacer = Pacer::new(10_000.0);
        let start = Instant::now();
        for _ in 0..10 {
            pacer.wait(50, &stop);
        }
        assert!(start.elapsed() >= Duration::from_millis(50));
    }

    #[test]
    fn a_source_that_is_too_slow_is_found_out() {
        let stop = AtomicBool::new(false);
        let mut pacer = Pacer::new(10_000.0);
        pacer.wait(100, &stop);
        assert_eq!(pacer.shortfall(), None);
        std::thread::sleep(Duration::from_millis(190));
        pacer.wait(100, &stop);
        let shortfall = pacer.shortfall().unwrap();
        assert!(shortfall.largest_lag >= Duration::from_millis(150));
        assert!(shortfall.given < 1100.0, "{shortfall:?}");
        assert_eq!(shortfall.wanted, 10_000.0);
    }

    #[test]
    fn a_long_wait_ends_soon_after_the_stop() {
        let stop = AtomicBool::new(false);
        let mut pacer = Pacer::new(10.0);
        let start = Instant::now();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(100));
                stop.store(true, Ordering::Relaxed);
            });
            pacer.wait(u64::MAX, &stop);
        });
        assert!(start.elapsed() < Duration::from_secs(5));
    }
}
