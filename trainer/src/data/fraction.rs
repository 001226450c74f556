//! A part of the training part: what can be learnt from few labels?

use rand::seq::SliceRandom;

use super::order::{Stream, generator};
use super::table::{Row, class_order};

/// A share of the rows of each class, above 0 and at most 1: the nearest
/// number of them, and at least one. The order of the rows is kept.
///
/// Which rows they are follows from the seed alone, and those of a smaller
/// share are among those of a larger one.
pub fn labelled(rows: &[Row], share: f64, seed: u64) -> Vec<Row> {
    let classes = class_order(rows.iter().map(|row| row.label.as_str()));
    let mut taken = Vec::new();
    for (class, label) in classes.iter().enumerate() {
        let mut members: Vec<usize> = (0..rows.len())
            .filter(|&row| rows[row].label == *label)
            .collect();
        let count = (share * members.len() as f64).round() as usize;
        members.shuffle(&mut generator(seed, Stream::Labels, class as u64));
        members.truncate(count.max(1));
        taken.extend(members);
    }
    taken.sort_unstable();
    taken.into_iter().map(|row| rows[row].clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Row> {
        let classes = [("no_defect", 200), ("cracks", 30), ("overfill", 3)];
        let row = |label: &str, number: usize| Row {
            path: format!("{label}/{number}.png"),
            label: label.into(),
            width: None,
            height: None,
            mode: None,
            sha256: None,
            group: None,
            split: None,
        };
        classes
            .into_iter()
            .flat_map(|(label, count)| (0..count).map(move |number| row(label, number)))
            .collect()
    }

    fn counts(rows: &[Row]) -> [usize; 3] {
        ["no_defect", "cracks", "overfill"]
            .map(|label| rows.iter().filter(|row| row.label == label).count())
    }

    #[test]
    fn classes_keep_their_shares_and_none_is_lost() {
        let all = rows();
        for (share, expected) in [
            (1.0, [200, 30, 3]),
            (0.5, [100, 15, 2]),
            (0.1, [20, 3, 1]),
            (0.01, [2, 1, 1]),
            (1e-9, [1, 1, 1]),
        ] {
            assert_eq!(counts(&labelled(&all, share, 7)), expected, "{share}");
        }
        assert_eq!(labelled(&all, 1.0, 7), all);
    }

    #[test]
    fn a_smaller_share_lies_within_a_larger_one_and_the_seed_decides() {
        let all = rows();
        let tenth = labelled(&all, 0.1, 7);
        let half = labelled(&all, 0.5, 7);
        assert!(tenth.iter().all(|row| half.contains(row)));
        assert_eq!(tenth, labelled(&all, 0.1, 7));
        assert_ne!(tenth, labelled(&all, 0.1, 8));
    }
}
