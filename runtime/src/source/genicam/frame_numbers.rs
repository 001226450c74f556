//! From the frame ids of a camera to running numbers.

/// Most that a frame id of 16 bits can be. After it comes 1: 0 is no id in GigE Vision.
const MOST_NARROW: u64 = 65_535;

/// How a camera counts its frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counting {
    /// GigE Vision: from 1 on, in 16 bits, where 0 is left out, or in 64 bits. Which of
    /// them it is shows when the first id needs more than 16 bits.
    GigEVision,
    /// USB3 Vision: from 0 on, in 64 bits.
    Usb3Vision,
}

/// Numbers the frames of a stream from 0 on by their ids; frames that were lost count.
#[derive(Debug, Clone)]
pub struct FrameNumbers {
    counting: Counting,
    is_wide: bool,
    /// Most frames that are believed to have been lost before the first.
    most_before_first: u64,
    /// Id and number of the last frame.
    last: Option<(u64, u64)>,
}

impl FrameNumbers {
    /// For a stream that was just started. Where the id of the first frame says that at
    /// most `most_before_first` were sent before it, they count; a higher id tells that
    /// the camera goes on counting from an earlier stream.
    pub fn new(counting: Counting, most_before_first: u64) -> Self {
        Self {
            counting,
            is_wide: counting == Counting::Usb3Vision,
            most_before_first,
            last: None,
        }
    }

    /// Number of the frame that has come with an id.
    pub fn take(&mut self, id: u64) -> u64 {
        let number = match self.last {
            None => self.first(id),
            Some((last, number)) => number + self.ahead(last, id),
        };
        self.last = Some((id, number));
        number
    }

    fn first(&self, id: u64) -> u64 {
        let before = match self.counting {
            Counting::GigEVision => id.saturating_sub(1),
            Counting::Usb3Vision => id,
        };
        if before <= self.most_before_first {
            before
        } else {
            0
        }
    }

    /// Steps from the last frame to one, at least 1. Ids that go back, as a camera gives
    /// that was started anew by itself, tell of no loss.
    fn ahead(&mut self, last: u64, id: u64) -> u64 {
        self.is_wide |= id > MOST_NARROW;
        if self.is_wide {
            return id.saturating_sub(last).max(1);
        }
        let ahead = match id.checked_sub(last) {
            Some(ahead) => ahead,
            None => id + MOST_NARROW - last,
        };
        if (1..=MOST_NARROW / 2).contains(&ahead) {
            ahead
        } else {
            1
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(counting: Counting, ids: &[u64]) -> Vec<u64> {
        let mut numbers = FrameNumbers::new(counting, 100);
        ids.iter().map(|&id| numbers.take(id)).collect()
    }

    #[test]
    fn lost_frames_count() {
        assert_eq!(numbers(Counting::GigEVision, &[1, 2, 5, 6]), [0, 1, 4, 5]);
        assert_eq!(numbers(Counting::Usb3Vision, &[0, 1, 4, 5]), [0, 1, 4, 5]);
    }

    #[test]
    fn the_due_number_is_that_after_the_last() {
        let mut numbers = FrameNumbers::new(Counting::GigEVision, 0);
        numbers.take(1);
        numbers.take(4);
    }

    #[test]
    fn frames_lost_at_the_start_count_unless_the_camera_goes_on_counting() {
        assert_eq!(numbers(Counting::GigEVision, &[4, 5]), [3, 4]);
        assert_eq!(numbers(Counting::Usb3Vision, &[4, 5]), [4, 5]);
        assert_eq!(numbers(Counting::GigEVision, &[65_401, 65_402]), [0, 1]);
    }

    #[test]
    fn narrow_ids_go_round_without_0() {
        let ids = [65_534, 65_535, 1, 2];
        assert_eq!(numbers(Counting::GigEVision, &ids), [0, 1, 2, 3]);
        let ids = [65_533, 65_535, 3];
        assert_eq!(numbers(Counting::GigEVision, &ids), [0, 2, 5]);
        let mut numbers = FrameNumbers::new(Counting::GigEVision, 0);
        for round in 0..3 {
            for id in 1..=MOST_NARROW {
                assert_eq!(numbers.take(id), round * MOST_NARROW + id - 1);
            }
        }
    }

    #[test]
    fn wide_ids_do_not_go_round() {
        let ids = [65_534, 65_535, 65_536, 65_539, 1 << 40];
        let expected = [0, 1, 2, 5, (1 << 40) - 65_534];
        assert_eq!(numbers(Counting::GigEVision, &ids), expected);
        // Seen before, or lost, at the very change.
        assert_eq!(numbers(Counting::GigEVision, &[65_530, 65_540]), [0, 10]);
    }

    #[test]
    fn ids_that_go_back_tell_of_no_loss() {
        assert_eq!(
            numbers(Counting::GigEVision, &[1, 2, 3, 1, 2]),
            [0, 1, 2, 3, 4]
        );
        assert_eq!(
            numbers(Counting::Usb3Vision, &[0, 1, 2, 0, 1]),
            [0, 1, 2, 3, 4]
        );
        assert_eq!(numbers(Counting::GigEVision, &[7, 7]), [6, 7]);
    }
}
