//! From what a camera says of its encoder to places along the material.

use crate::source::EncoderSpan;

/// Counters of 32 bits begin anew: what seems to be a step of half their range is one.
const HALF_RANGE: i64 = 1 << 31;

/// Follows the encoder that a camera reads at the first line of each frame. Counts become
/// lines of the material, as many to a metre as the station has at its nominal speed, so
/// that they mean the same in recordings.
#[derive(Debug, Clone)]
pub(super) struct EncoderTrack {
    lines_per_count: f64,
    last: Option<Reading>,
    /// Lines of the material that pass from a line to the next.
    step: f64,
    /// Whether the camera was gone since the last reading.
    was_away: bool,
}

#[derive(Debug, Clone, Copy)]
struct Reading {
    count: i64,
    line: u64,
    /// Lines of the material.
    place: f64,
}

impl EncoderTrack {
    /// An encoder of which a count is so many lines of the material.
    pub(super) fn new(lines_per_count: f64) -> Self {
        Self {
            lines_per_count,
            last: None,
            step: 0.0,
            was_away: false,
        }
    }

    /// The camera was gone, and may have forgotten what it had counted.
    pub(super) fn restarted(&mut self) {
        self.was_away = true;
    }

    /// Places of the lines of a frame at whose first line the camera has read `count`. How
    /// fast the material moves within it, the frame before it tells.
    pub(super) fn span(&mut self, count: i64, first_line: u64, lines: u64) -> EncoderSpan {
        let place = match self.last {
            None => count as f64 * self.lines_per_count,
            Some(last) => {
                let counted = without_wrap(count.wrapping_sub(last.count));
                let moved = counted as f64 * self.lines_per_count;
                let passed = first_line.saturating_sub(last.line) as f64;
                if self.was_away && moved * self.step < 0.0 {
                    // It counts from 0 again.
                    last.place + self.step * passed
                } else {
                    if !self.was_away && passed > 0.0 {
                        self.step = moved / passed;
                    }
                    last.place + moved
                }
            }
        };
        self.was_away = false;
        self.last = Some(Reading {
            count,
            line: first_line,
            place,
        });
        EncoderSpan {
            first: place.round() as i64,
            last: (place + self.step * lines.saturating_sub(1) as f64).round() as i64,
        }
    }
}

fn without_wrap(difference: i64) -> i64 {
    match difference {
        forward if forward > HALF_RANGE => forward - 2 * HALF_RANGE,
        back if back < -HALF_RANGE => back + 2 * HALF_RANGE,
        difference => difference,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(first: i64, last: i64) -> EncoderSpan {
        EncoderSpan { first, last }
    }

    #[test]
    fn the_frame_before_tells_how_fast_the_material_moves() {
        // Two counts a line of the material, which moves by half a line from line to line.
        let mut track = EncoderTrack::new(0.5);
        assert_eq!(track.span(1000, 0, 101), span(500, 500));
        assert_eq!(track.span(1101, 101, 101), span(551, 601));
        // Twice as fast, after a frame that was lost.
        assert_eq!(track.span(1505, 303, 101), span(753, 853));
    }

    #[test]
    fn material_may_move_back_and_counters_may_wrap() {
        let mut track = EncoderTrack::new(1.0);
        let most = i64::from(u32::MAX);
        assert_eq!(track.span(most - 9, 0, 10).first, most - 9);
        assert_eq!(track.span(0, 10, 10), span(most + 1, most + 10));
        assert_eq!(track.span(most - 9, 20, 10), span(most - 9, most - 18));
    }

    #[test]
    fn a_camera_that_forgets_its_counts_does_not_throw_the_piece_back() {
        let mut track = EncoderTrack::new(1.0);
        track.span(5000, 0, 100);
        track.span(5100, 100, 100);
        track.restarted();
        assert_eq!(track.span(7, 300, 100), span(5300, 5399));
        assert_eq!(track.span(107, 400, 100), span(5400, 5499));
        // One that goes on counting knows better than the clock.
        track.restarted();
        assert_eq!(track.span(357, 600, 100), span(5650, 5749));
    }
}
