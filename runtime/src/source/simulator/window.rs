//! A part of a tile that still shows what the tile's label promises.

use super::TILE;
use super::dice::Dice;

/// Step between the places that are tried.
const STEP: usize = 8;

/// Which pixels of a tile show what the label promises.
pub(super) struct Evidence(Vec<bool>);

impl Evidence {
    pub(super) fn none() -> Self {
        Self(vec![false; TILE * TILE])
    }

    /// Marks pixels of a line of the tile; those beside the tile are left out.
    pub(super) fn mark(&mut self, line: usize, pixels: impl Iterator<Item = usize>) {
        for pixel in pixels.filter(|&pixel| pixel < TILE) {
            self.0[line * TILE + pixel] = true;
        }
    }

    /// First line and pixel of a square window of `side`, drawn evenly among
    /// those that hold at least `needed` marked pixels and half as many as
    /// the fullest; the fullest where none holds so many.
    pub(super) fn window(&self, side: usize, needed: u32, dice: &mut Dice) -> (usize, usize) {
        let sums = self.sums();
        let at = |line: usize, pixel: usize| sums[line * (TILE + 1) + pixel];
        let places = (0..=TILE - side).step_by(STEP);
        let counted = places
            .clone()
            .flat_map(|line| places.clone().map(move |pixel| (line, pixel)))
            .map(|(line, pixel)| {
                let (below, right) = (line + side, pixel + side);
                let count = at(below, right) + at(line, pixel) - at(line, right) - at(below, pixel);
                ((line, pixel), count)
            });
        let most = counted.clone().map(|(_, count)| count).max().unwrap_or(0);
        let needed = needed.max(most / 2).min(most);
        let enough: Vec<(usize, usize)> = counted
            .filter(|&(_, count)| count >= needed)
            .map(|(place, _)| place)
            .collect();
        enough[dice.index(enough.len())]
    }

    /// Marked pixels above and to the left of each corner, `[TILE + 1, TILE + 1]`.
    fn sums(&self) -> Vec<u32> {
        let width = TILE + 1;
        let mut sums = vec![0; width * width];
        for (line, marks) in self.0.chunks_exact(TILE).enumerate() {
            let mut row = 0;
            for (pixel, &marked) in marks.iter().enumerate() {
                row += u32::from(marked);
                sums[(line + 1) * width + pixel + 1] = sums[line * width + pixel + 1] + row;
            }
        }
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_holds_what_is_needed() {
        let mut dice = Dice::new(3, &[]);
        let mut evidence = Evidence::none();
        for line in 300..320 {
            evidence.mark(line, (100..120).chain(TILE..TILE + 9));
        }
        for _ in 0..50 {
            let (line, pixel) = evidence.window(64, 400, &mut dice);
            assert!(line <= 300 && line + 64 >= 320, "{line}");
            assert!(pixel <= 100 && pixel + 64 >= 120, "{pixel}");
        }
        // More than there is: the best place.
        let (line, pixel) = evidence.window(64, 1_000, &mut dice);
        assert!(line <= 300 && line + 64 >= 320 && pixel <= 100 && pixel + 64 >= 120);
        assert_eq!(evidence.window(TILE, 1, &mut dice), (0, 0));
    }
}
