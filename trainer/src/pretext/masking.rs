//! Which patches of a tile are removed, in three patterns that all remove
//! exactly as many.

use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

/// A pattern of removed patches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Masking {
    /// Any patches, each set of them equally likely.
    Random,
    /// Rectangles, laid over one another until enough is removed.
    Block,
    /// A regular lattice of visible patches, shifted at random.
    Grid,
}

/// How many of `patches` stay visible when the share `ratio` (0 to 1) is
/// removed: `int(L * (1 - mask_ratio))` in double precision, as in
/// `random_masking` of facebookresearch/mae `models_mae.py`. 90 % of 100
/// patches leave 9, since `1 - 0.9` is a little below 0.1.
pub fn visible(patches: usize, ratio: f64) -> usize {
    (patches as f64 * (1.0 - ratio)) as usize
}

impl Masking {
    /// All patches of a grid of `rows` and `columns`, row by row from 0, in an
    /// order whose first `visible` ones are the visible ones.
    ///
    /// Only the numbers that `random` gives decide.
    pub fn order(
        self,
        [rows, columns]: [usize; 2],
        visible: usize,
        random: &mut impl Rng,
    ) -> Vec<usize> {
        match self {
            Self::Random => {
                let noise: Vec<f32> = (0..rows * columns).map(|_| random.random()).collect();
                by_noise(&noise)
            }
            Self::Block => blocks([rows, columns], visible, random),
            Self::Grid => lattice([rows, columns], random),
        }
    }
}

/// All patches, those of the smallest noise first: `ids_shuffle` in
/// `models_mae.py`.
pub fn by_noise(noise: &[f32]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..noise.len()).collect();
    order.sort_by(|&a, &b| noise[a].total_cmp(&noise[b]));
    order
}

/// Least share of the patches that a rectangle is to cover: 16 of 196 in BEiT.
const SMALLEST_BLOCK: f64 = 16.0 / 196.0;
/// Widest and, inverted, narrowest rectangle: height by width in BEiT.
const ASPECT: f64 = 0.3;

/// Blockwise masking as in BEiT (Bao et al., ICLR 2022, algorithm 1):
/// rectangles whose area is uniform between [`SMALLEST_BLOCK`] and what is
/// still to be removed, and whose aspect ratio is log-uniform between 0.3 and
/// 1 / 0.3.
///
/// Two things differ, so that exactly the due number is removed and every
/// rectangle removes something: each is laid over a visible patch drawn at
/// random, and the last one ends, row by row, where enough is removed.
fn blocks([rows, columns]: [usize; 2], visible: usize, random: &mut impl Rng) -> Vec<usize> {
    let patches = rows * columns;
    let mut removed = vec![false; patches];
    let mut due = patches - visible;
    let smallest = (SMALLEST_BLOCK * patches as f64).max(1.0);
    while due > 0 {
        let largest = due as f64;
        let area = random.random_range(smallest.min(largest)..=largest);
        let aspect = random.random_range(ASPECT.ln()..=-ASPECT.ln()).exp();
        let side = |length: f64, most: usize| (length.round() as usize).clamp(1, most);
        let height = side((area * aspect).sqrt(), rows);
        let width = side((area / aspect).sqrt(), columns);
        let open: Vec<usize> = (0..patches).filter(|&patch| !removed[patch]).collect();
        let over = open[random.random_range(0..open.len())];
        let top = start(over / columns, height, rows, random);
        let left = start(over % columns, width, columns, random);
        for row in top..top + height {
            for patch in (left..left + width).map(|column| row * columns + column) {
                if due > 0 && !removed[patch] {
                    removed[patch] = true;
                    due -= 1;
                }
            }
        }
    }
    let (removed, mut order): (Vec<usize>, Vec<usize>) =
        (0..patches).partition(|&patch| removed[patch]);
    order.extend(removed);
    order
}

/// Where an interval of `length` begins that covers `place` and lies within
/// `most`.
fn start(place: usize, length: usize, most: usize, random: &mut impl Rng) -> usize {
    let first = (place + 1).saturating_sub(length);
    let last = place.min(most - length);
    random.random_range(first..=last)
}

/// Grid-wise masking: the MAE paper (He et al., 2022, section 4.1) keeps one
/// of every 2 x 2 patches, which is the share of three quarters.
///
/// For any share the patches come in the order of Bayer's index matrix
/// (ordered dither, 1973), shifted at random along both axes, so that the
/// first n lie on as even a lattice as n allows: the first quarter is one of
/// each 2 x 2, the first half a chequerboard, the first sixteenth one of each
/// 4 x 4. A share between two of these, or a grid of odd sides, has the coarser
/// lattice complete (or as far as it goes) and some points of the finer one.
fn lattice([rows, columns]: [usize; 2], random: &mut impl Rng) -> Vec<usize> {
    let bits = rows.max(columns).next_power_of_two().ilog2();
    let period = 1 << bits;
    let [down, right] = [(); 2].map(|()| random.random_range(0..period));
    let mut order: Vec<usize> = (0..rows * columns).collect();
    // Patches of equal index never meet: the matrix is as large as the grid.
    order.sort_by_key(|patch| {
        let (row, column) = (patch / columns + down, patch % columns + right);
        bayer(row % period, column % period, bits)
    });
    order
}

/// Element of Bayer's index matrix of side `2^bits`.
fn bayer(row: usize, column: usize, bits: u32) -> usize {
    (0..bits).fold(0, |index, bit| {
        let (row, column) = (row >> bit & 1, column >> bit & 1);
        index << 2 | (row ^ column) << 1 | row
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand_pcg::Pcg64;

    const ALL: [Masking; 3] = [Masking::Random, Masking::Block, Masking::Grid];

    proptest! {
        #[test]
        fn every_pattern_removes_exactly_the_stated_share(
            rows in 1usize..20,
            columns in 1usize..20,
            ratio in 0.0f64..1.0,
            seed: u64,
        ) {
            let grid = [rows, columns];
            let visible = visible(rows * columns, ratio);
            for masking in ALL {
                let draw = || masking.order(grid, visible, &mut Pcg64::seed_from_u64(seed));
                let order = draw();
                prop_assert_eq!(&order, &draw());
                let mut sorted = order;
                sorted.sort_unstable();
                prop_assert!(sorted.into_iter().eq(0..rows * columns));
            }
        }
    }

    fn seen(masking: Masking, side: usize, ratio: f64, seed: u64) -> Vec<bool> {
        let count = visible(side * side, ratio);
        let order = masking.order([side; 2], count, &mut Pcg64::seed_from_u64(seed));
        let mut seen = vec![false; side * side];
        for patch in &order[..count] {
            seen[*patch] = true;
        }
        assert_eq!(seen.iter().filter(|seen| **seen).count(), count);
        seen
    }

    #[test]
    fn bayers_matrix_is_the_printed_one() {
        let matrix: Vec<usize> = (0..16).map(|at| bayer(at / 4, at % 4, 2)).collect();
        assert_eq!(
            matrix,
            [0, 8, 2, 10, 12, 4, 14, 6, 3, 11, 1, 9, 15, 7, 13, 5]
        );
    }

    #[test]
    fn a_grid_keeps_one_of_each_two_by_two_and_is_shifted() {
        let mut places = std::collections::BTreeSet::new();
        for seed in 0..40 {
            let seen = seen(Masking::Grid, 14, 0.75, seed);
            let first = (0..28).find(|&patch| seen[patch]).unwrap();
            places.insert(first);
            for (patch, seen) in seen.into_iter().enumerate() {
                let (row, column) = (patch / 14, patch % 14);
                let on_lattice = row % 2 == first / 14 && column % 2 == first % 14;
                assert_eq!(seen, on_lattice, "patch {patch} of seed {seed}");
            }
        }
        assert_eq!(places.into_iter().collect::<Vec<_>>(), [0, 1, 14, 15]);
    }

    #[test]
    fn a_grid_of_half_the_patches_is_a_chequerboard() {
        let seen = seen(Masking::Grid, 8, 0.5, 3);
        for patch in 0..64 {
            let even = (patch / 8 + patch % 8) % 2 == 0;
            assert_eq!(seen[patch], even == seen[0]);
        }
    }

    /// Sides along which a removed patch meets another removed one, as a share
    /// of all sides.
    fn coherence(masking: Masking) -> f64 {
        let (mut both, mut sides) = (0, 0);
        for seed in 0..50 {
            let seen = seen(masking, 14, 0.5, seed);
            for patch in 0..14 * 13 {
                both += usize::from(!seen[patch] && !seen[patch + 14]);
                sides += 1;
            }
        }
        both as f64 / f64::from(sides)
    }

    #[test]
    fn blocks_hang_together_and_random_patches_do_not() {
        // By chance a quarter of the neighbours are both removed.
        let random = coherence(Masking::Random);
        assert!((0.22..0.28).contains(&random), "{random}");
        let block = coherence(Masking::Block);
        assert!(block > 0.38, "{block}");
        assert_eq!(coherence(Masking::Grid), 0.0);
    }

    #[test]
    fn every_patch_is_removed_about_equally_often() {
        for masking in ALL {
            let mut removed = [0usize; 64];
            for seed in 0..2000 {
                for (patch, seen) in seen(masking, 8, 0.75, seed).into_iter().enumerate() {
                    removed[patch] += usize::from(!seen);
                }
            }
            // Blocks lie within the tile and reach its corners less often.
            let (least, most) = match masking {
                Masking::Block => (800, 1950),
                Masking::Random | Masking::Grid => (1400, 1600),
            };
            assert!(
                removed.iter().all(|count| (least..most).contains(count)),
                "{masking:?}: {removed:?}"
            );
        }
    }

    #[test]
    fn noise_is_sorted_with_the_smallest_first() {
        assert_eq!(by_noise(&[0.5, 0.1, 0.9, 0.1]), [1, 3, 0, 2]);
    }

    #[test]
    fn ninety_percent_of_a_hundred_leave_nine() {
        assert_eq!(visible(100, 0.9), 9);
        assert_eq!(visible(196, 0.75), 49);
        assert_eq!(visible(16, 0.95), 0);
    }
}
