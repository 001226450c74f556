//! Holding a replayed or simulated source to the camera's line rate.

use std::time::{Duration, Instant};

/// Waits until the moment at which a camera would have delivered a line.
#[derive(Debug)]
pub struct Pacer {
    start: Instant,
    line_rate: f64,
    lines: u64,
}

impl Pacer {
    /// Starts the clock. `line_rate` is in lines per second and positive.
    pub fn new(line_rate: f64) -> Self {
        Self {
            start: Instant::now(),
            line_rate,
            lines: 0,
        }
    }

    /// Waits until `lines` more lines would have been exposed. Returns at once
    /// when the source is behind its rate; the clock is not set back, so that
    /// a source that was late catches up as a camera's buffer would.
    pub fn wait(&mut self, lines: u64) {
        self.lines += lines;
        let due = Duration::from_secs_f64(self.lines as f64 / self.line_rate);
        if let Some(rest) = due.checked_sub(self.start.elapsed()) {
            std::thread::sleep(rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_paced_source_takes_the_time_of_its_lines() {
        let mut pacer = Pacer::new(10_000.0);
        let start = Instant::now();
        for _ in 0..10 {
            pacer.wait(50);
        }
        assert!(start.elapsed() >= Duration::from_millis(50));
    }
}
