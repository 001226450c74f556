//! From the numbers of frames to the numbers of lines.

/// Most frames that are believed to have been lost before the first of a stream: a higher
/// number tells that the camera does not count from 0.
const MOST_AT_FIRST: u64 = 1000;

/// Counts lines by the frames of a camera, each of the same number of lines.
#[derive(Debug, Clone)]
pub(super) struct FrameSequence {
    /// Lines of a frame.
    height: u64,
    /// Number of the next line.
    next_line: u64,
    /// The frame that is due.
    due: u64,
    /// Whether none has come since the stream was started.
    is_new: bool,
}

impl FrameSequence {
    /// Counts from line 0 on, for frames of `height` lines.
    pub(super) fn new(height: u64) -> Self {
        Self {
            height,
            next_line: 0,
            due: 0,
            is_new: true,
        }
    }

    /// The stream was started anew, and with it the numbers of its frames.
    pub(super) fn restarted(&mut self) {
        (self.due, self.is_new) = (0, true);
    }

    /// Number of the next line.
    pub(super) fn next_line(&self) -> u64 {
        self.next_line
    }

    /// How many frames are missing before one. A number that went back, as a camera gives
    /// that starts anew by itself, tells of none.
    pub(super) fn missing(&self, number: u64) -> u64 {
        match number.saturating_sub(self.due) {
            ahead if self.is_new && ahead > MOST_AT_FIRST => 0,
            ahead => ahead,
        }
    }

    /// Leaves out the frames that are missing before one; gives the number of their lines.
    pub(super) fn leave_out_frames(&mut self, number: u64) -> u64 {
        let lines = self.height.saturating_mul(self.missing(number));
        (self.due, self.is_new) = (number, false);
        self.leave_out(lines);
        lines
    }

    /// Leaves out lines that never came.
    pub(super) fn leave_out(&mut self, lines: u64) {
        self.next_line = self.next_line.saturating_add(lines);
    }

    /// Takes a frame that has come; gives the number of its first line.
    pub(super) fn take(&mut self, number: u64) -> u64 {
        let first_line = self.next_line;
        self.leave_out(self.height);
        (self.due, self.is_new) = (number.saturating_add(1), false);
        first_line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn follow(sequence: &mut FrameSequence, frame: u64) -> u64 {
        sequence.leave_out_frames(frame);
        sequence.take(frame)
    }

    #[test]
    fn missing_frames_leave_a_hole_of_their_lines() {
        let mut sequence = FrameSequence::new(256);
        let lines = [0, 1, 4, 5].map(|frame| follow(&mut sequence, frame));
        assert_eq!(lines, [0, 256, 1024, 1280]);
        assert_eq!(sequence.next_line(), 6 * 256);
    }

    #[test]
    fn frames_lost_at_the_start_count_unless_the_camera_counts_from_elsewhere() {
        let mut sequence = FrameSequence::new(100);
        assert_eq!(follow(&mut sequence, 3), 300);
        let mut sequence = FrameSequence::new(100);
        assert_eq!(follow(&mut sequence, 70_000), 0);
        assert_eq!(follow(&mut sequence, 70_002), 200);
    }

    #[test]
    fn a_stream_may_begin_anew() {
        let mut sequence = FrameSequence::new(10);
        assert_eq!(follow(&mut sequence, 0), 0);
        assert_eq!(follow(&mut sequence, 2), 20);
        // Back to 0 by itself: nothing is known to be missing.
        assert_eq!(follow(&mut sequence, 0), 30);
        // Started anew after lines were left out.
        sequence.leave_out(1000);
        sequence.restarted();
        assert_eq!(follow(&mut sequence, 1), 1050);
    }
}
