//! Train, validation and test parts with the same share of every class.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_pcg::Pcg64;

use super::DataError;
use super::table::{Row, Split, class_order};

/// Shares of the three parts, each 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shares {
    /// Share of the training part, above 0.
    pub train: f64,
    /// Share of the validation part.
    pub val: f64,
    /// Share of the test part.
    pub test: f64,
}

impl Default for Shares {
    fn default() -> Self {
        Self {
            train: 0.70,
            val: 0.15,
            test: 0.15,
        }
    }
}

/// Assigns every row to a part; the order of the rows is kept.
///
/// Two steps, as with scikit-learn's `train_test_split` with `stratify`: the
/// training part against the rest, then the rest into validation and test. In
/// each, classes get the floor of their proportional share, and the largest
/// remainders get one more until the total is right. Which rows of a class go
/// where follows from the seed alone.
///
/// # Errors
/// When the shares are outside 0 to 1 or do not sum to 1.
pub fn stratified(rows: &mut [Row], shares: Shares, seed: u64) -> Result<(), DataError> {
    let Shares { train, val, test } = shares;
    let in_range = [train, val, test]
        .iter()
        .all(|share| (0.0..=1.0).contains(share));
    if !in_range || train == 0.0 || ((train + val + test) - 1.0).abs() > 1e-6 {
        return Err(DataError::Shares { train, val, test });
    }
    let classes = class_order(rows.iter().map(|row| row.label.as_str()));
    let mut members: Vec<Vec<usize>> = classes
        .iter()
        .map(|class| {
            (0..rows.len())
                .filter(|&row| rows[row].label == *class)
                .collect()
        })
        .collect();
    let counts: Vec<usize> = members.iter().map(Vec::len).collect();
    let held_out = apportion(part_size(val + test, rows.len()), &counts);
    let test_share = if val + test > 0.0 {
        test / (val + test)
    } else {
        0.0
    };
    let test_counts = apportion(part_size(test_share, held_out.iter().sum()), &held_out);
    let mut random = Pcg64::seed_from_u64(seed);
    for ((members, held_out), test) in members.iter_mut().zip(&held_out).zip(&test_counts) {
        members.shuffle(&mut random);
        for (position, &row) in members.iter().enumerate() {
            rows[row].split = Some(if position < *test {
                Split::Test
            } else if position < *held_out {
                Split::Val
            } else {
                Split::Train
            });
        }
    }
    Ok(())
}

/// Size of a part: the share rounded up, whatever the last bit of the
/// product says.
fn part_size(share: f64, total: usize) -> usize {
    (share * total as f64 - 1e-9).ceil().max(0.0) as usize
}

/// Divides `total` among classes in proportion to their counts by the
/// largest-remainder method; ties go to the earlier class.
pub(crate) fn apportion(total: usize, counts: &[usize]) -> Vec<usize> {
    let sum: usize = counts.iter().sum();
    if sum == 0 {
        return vec![0; counts.len()];
    }
    let mut shares: Vec<usize> = counts.iter().map(|count| total * count / sum).collect();
    let mut by_remainder: Vec<usize> = (0..counts.len()).collect();
    by_remainder.sort_by_key(|&class| std::cmp::Reverse(total * counts[class] % sum));
    let missing = total - shares.iter().sum::<usize>();
    for &class in by_remainder.iter().take(missing) {
        shares[class] += 1;
    }
    shares
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    fn rows(counts: &[(&str, usize)]) -> Vec<Row> {
        counts
            .iter()
            .flat_map(|&(label, count)| {
                (0..count).map(move |number| Row {
                    path: format!("{label}/{number}.png"),
                    label: label.into(),
                    width: None,
                    height: None,
                    mode: None,
                    sha256: None,
                    split: None,
                })
            })
            .collect()
    }

    fn count(rows: &[Row], label: &str, split: Split) -> usize {
        rows.iter()
            .filter(|row| row.label == label && row.split == Some(split))
            .count()
    }

    #[test]
    fn counts_of_the_mill_equal_scikit_learn() {
        // scikit-learn 1.9: 0.30 held out, then halved; the same for 60 seeds.
        let mut rows = rows(&[
            ("no_defect", 26258),
            ("scrap_mark_ii", 799),
            ("scrap_mark", 692),
            ("cracks", 228),
            ("overfill", 950),
        ]);
        stratified(&mut rows, Shares::default(), 7).unwrap();
        let of = |split| {
            [
                "no_defect",
                "scrap_mark_ii",
                "scrap_mark",
                "cracks",
                "overfill",
            ]
            .map(|label| count(&rows, label, split))
        };
        assert_eq!(of(Split::Train), [18380, 559, 484, 160, 665]);
        let held_out: Vec<usize> = of(Split::Val)
            .iter()
            .zip(of(Split::Test))
            .map(|(val, test)| val + test)
            .collect();
        assert_eq!(held_out, [7878, 240, 208, 68, 285]);
    }

    #[test]
    fn every_part_is_within_one_and_a_half_of_its_share() {
        for total in [7, 10, 23, 100, 399] {
            let mut rows = rows(&[("no_defect", total), ("cracks", 13), ("overfill", 8)]);
            stratified(&mut rows, Shares::default(), 3).unwrap();
            for (label, number) in [("no_defect", total), ("cracks", 13), ("overfill", 8)] {
                for (split, share) in [(Split::Train, 0.7), (Split::Val, 0.15), (Split::Test, 0.15)]
                {
                    let got = count(&rows, label, split);
                    assert!(
                        (got as f64 - share * number as f64).abs() < 1.5,
                        "{label} {split:?} {got}"
                    );
                    assert!(got > 0, "{label} is missing in {split:?}");
                }
            }
            assert!(rows.iter().all(|row| row.split.is_some()));
        }
    }

    #[test]
    fn the_seed_alone_decides() {
        let splits = |seed| {
            let mut rows = rows(&[("no_defect", 40), ("cracks", 20)]);
            stratified(&mut rows, Shares::default(), seed).unwrap();
            rows
        };
        assert_eq!(splits(1), splits(1));
        assert_ne!(splits(1), splits(2));
    }

    #[test]
    fn shares_that_do_not_sum_to_one_are_refused() {
        let shares = Shares {
            train: 0.7,
            val: 0.2,
            test: 0.2,
        };
        let error = stratified(&mut rows(&[("a", 3)]), shares, 0).unwrap_err();
        assert!(error.to_string().contains("sum to 1"));
    }

    #[test]
    fn apportioning_loses_nothing() {
        assert_eq!(apportion(10, &[1, 1, 1]), [4, 3, 3]);
        assert_eq!(apportion(0, &[5, 5]), [0, 0]);
        assert_eq!(apportion(7, &[0, 7]), [0, 7]);
    }
}
