//! Which tile comes when: a function of the seed and the epoch alone.

use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

/// Streams of random numbers that must not repeat one another.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Stream {
    /// Order of the tiles in an epoch.
    Order = 1,
    /// Changes of one tile in an epoch.
    Augmentation = 2,
    /// Initial weights.
    Weights = 3,
    /// Removed patches of one tile in an epoch.
    Mask = 4,
    /// Removed patches of one tile of the validation part.
    ValidationMask = 5,
    /// What is dropped of a network while it learns.
    DropPath = 6,
    /// Initial weights of a head for pretraining.
    PretrainingHead = 7,
    /// Tiles whose labels are used.
    Labels = 8,
    /// Tiles that are drawn to find the bounds of a figure.
    Bootstrap = 9,
}

/// The generator of one stream, for example of one epoch.
///
/// Nothing is carried from one epoch to the next, so that a resumed run needs
/// to know only the seed and the epoch.
pub(crate) fn generator(seed: u64, stream: Stream, number: u64) -> Pcg64 {
    let stream = (u128::from(number) << 8) | stream as u128;
    let mut mixed = Pcg64::new(u128::from(seed), stream);
    // Streams of one state start alike; a jump through the seeding parts them.
    Pcg64::seed_from_u64(mixed.random())
}

/// At most `most` of `count` tiles, spread evenly over the table.
pub fn spread(count: usize, most: usize) -> Vec<usize> {
    let looked = count.min(most);
    (0..looked).map(|number| number * count / looked).collect()
}

/// The order of `count` tiles in one epoch: each once, shuffled.
pub fn shuffled(count: usize, seed: u64, epoch: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    order.shuffle(&mut generator(seed, Stream::Order, epoch as u64));
    order
}

/// As many draws as there are tiles, each class equally often in the mean.
///
/// Within a class every tile comes once before any comes again. `labels` has
/// the class index of each tile, below `classes`; classes without tiles are
/// left out.
pub fn balanced(labels: &[usize], classes: usize, seed: u64, epoch: usize) -> Vec<usize> {
    let mut random = generator(seed, Stream::Order, epoch as u64);
    let mut members: Vec<Vec<usize>> = vec![Vec::new(); classes];
    for (tile, &label) in labels.iter().enumerate() {
        members[label].push(tile);
    }
    members.retain(|members| !members.is_empty());
    for members in &mut members {
        members.shuffle(&mut random);
    }
    let mut next = vec![0; members.len()];
    (0..labels.len())
        .map(|_| {
            let class = random.random_range(0..members.len());
            if next[class] == members[class].len() {
                members[class].shuffle(&mut random);
                next[class] = 0;
            }
            next[class] += 1;
            members[class][next[class] - 1]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_holds_each_tile_once_and_differs_from_the_next() {
        let first = shuffled(50, 9, 0);
        let mut sorted = first.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..50).collect::<Vec<_>>());
        assert_eq!(first, shuffled(50, 9, 0));
        assert_ne!(first, shuffled(50, 9, 1));
        assert_ne!(first, shuffled(50, 10, 0));
    }

    #[test]
    fn a_look_is_bounded_and_goes_over_the_whole_table() {
        assert_eq!(spread(4, 10), [0, 1, 2, 3]);
        assert_eq!(spread(10, 4), [0, 2, 5, 7]);
        assert!(spread(0, 4).is_empty());
    }

    #[test]
    fn balanced_draws_are_near_equal_and_use_every_rare_tile() {
        let labels: Vec<usize> = (0..1000).map(|tile| usize::from(tile >= 990)).collect();
        let draws = balanced(&labels, 3, 1, 0);
        assert_eq!(draws.len(), 1000);
        let rare = draws.iter().filter(|&&tile| labels[tile] == 1).count();
        assert!((400..600).contains(&rare), "{rare}");
        for tile in 990..1000 {
            let times = draws.iter().filter(|&&draw| draw == tile).count();
            assert!(times.abs_diff(rare / 10) <= 1);
        }
    }
}
