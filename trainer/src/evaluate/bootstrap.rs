//! Intervals of a balanced accuracy, by the bootstrap.
//!
//! The tiles of each class are drawn anew from themselves, as many as there are,
//! and the figure is computed again: the percentile bootstrap (Efron and Tibshirani,
//! An Introduction to the Bootstrap, 1993, chapter 13), stratified by class, so that
//! rare classes keep their number. Two classifiers are compared on the same draws.

use rand::RngExt;
use serde::{Deserialize, Serialize};

use super::bounds::CONFIDENCE;
use crate::data::order::{Stream, generator};

/// Draws, enough for the second decimal of a percentage.
const DRAWS: usize = 2000;

/// A figure with the bounds between which it would lie on other tiles, at
/// [`CONFIDENCE`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The figure on the tiles that there are.
    pub value: f64,
    /// Lower bound.
    pub lower: f64,
    /// Upper bound.
    pub upper: f64,
}

/// Balanced accuracies of two classifiers on the same tiles.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Compared {
    /// Of the first.
    pub first: Interval,
    /// Of the second.
    pub second: Interval,
    /// By how much the second is above the first.
    pub difference: Interval,
}

/// Whether a tile is right by the first and by the second: 1 or 0.
type Right = [f64; 2];

/// Mean recalls of both over the classes, and by how much the second is above the
/// first, of as many tiles as each class has. `draw` gives them by their number.
fn mean_recalls(tiles: &[Vec<Right>], mut draw: impl FnMut(&[Right], usize) -> Right) -> [f64; 3] {
    let mut means = [0.0; 2];
    for of_class in tiles {
        let mut right = [0.0; 2];
        for number in 0..of_class.len() {
            let tile = draw(of_class, number);
            right = [right[0] + tile[0], right[1] + tile[1]];
        }
        let share = (of_class.len() * tiles.len()) as f64;
        means = [means[0] + right[0] / share, means[1] + right[1] / share];
    }
    [means[0], means[1], means[1] - means[0]]
}

/// Compares two classifiers by which tiles each has right, `labels` being the true
/// classes. The same tiles give the same bounds.
pub fn compare(labels: &[usize], first: &[bool], second: &[bool]) -> Compared {
    let classes = labels.iter().max().map_or(0, |largest| largest + 1);
    let mut tiles: Vec<Vec<Right>> = vec![Vec::new(); classes];
    for ((&label, &first), &second) in labels.iter().zip(first).zip(second) {
        tiles[label].push([first, second].map(f64::from));
    }
    tiles.retain(|of_class| !of_class.is_empty());
    let values = mean_recalls(&tiles, |of_class, number| of_class[number]);
    let mut random = generator(0, Stream::Bootstrap, 0);
    let mut draws: [Vec<f64>; 3] = Default::default();
    for _ in 0..DRAWS {
        let drawn = mean_recalls(&tiles, |of_class, _| {
            of_class[random.random_range(0..of_class.len())]
        });
        for (draws, drawn) in draws.iter_mut().zip(drawn) {
            draws.push(drawn);
        }
    }
    let interval = |figure: usize| {
        let mut draws = draws[figure].clone();
        draws.sort_by(f64::total_cmp);
        let at = |share: f64| draws[(share * (DRAWS - 1) as f64).round() as usize];
        let tail = (1.0 - CONFIDENCE) / 2.0;
        Interval {
            value: values[figure],
            lower: at(tail),
            upper: at(1.0 - tail),
        }
    };
    Compared {
        first: interval(0),
        second: interval(1),
        difference: interval(2),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of one class the interval is that of a binomial share: its normal
    /// approximation is close for 400 tiles.
    #[test]
    fn of_one_class_the_interval_is_that_of_a_share() {
        let first: Vec<bool> = (0..400).map(|tile| tile % 5 != 0).collect();
        let compared = compare(&[0; 400], &first, &first);
        let half = 1.96 * (0.8f64 * 0.2 / 400.0).sqrt();
        let Interval {
            value,
            lower,
            upper,
        } = compared.first;
        assert!((value - 0.8).abs() < 1e-12);
        assert!((lower - (0.8 - half)).abs() < 0.005, "{lower}");
        assert!((upper - (0.8 + half)).abs() < 0.005, "{upper}");
        assert_eq!(compared.first, compared.second);
        let none = compared.difference;
        assert_eq!((none.value, none.lower, none.upper), (0.0, 0.0, 0.0));
    }

    /// Both have most tiles wrong together, so that the difference is known better
    /// than either; a rare class weighs as much as a frequent one.
    #[test]
    fn the_difference_is_known_better_than_what_it_is_of() {
        let labels: Vec<usize> = (0..500).map(|tile| usize::from(tile < 100) * 2).collect();
        let first: Vec<bool> = (0..500).map(|tile| tile % 2 == 0).collect();
        let second: Vec<bool> = (0..500).map(|tile| tile % 2 == 0 && tile != 4).collect();
        let Compared {
            first, difference, ..
        } = compare(&labels, &first, &second);
        assert!((difference.value + 0.005).abs() < 1e-12, "{difference:?}");
        assert!(difference.lower < difference.value && difference.upper == 0.0);
        let width = |interval: Interval| interval.upper - interval.lower;
        assert!(
            width(difference) < width(first) / 3.0,
            "{difference:?} {first:?}"
        );
    }
}
