//! Train, validation and test parts with the same share of every class.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_pcg::Pcg64;
use regex::Regex;

use super::DataError;
use super::table::{Row, Split, class_order};

/// Shares of the three parts, each 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shares {
    /// Share of the training part.
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

impl Shares {
    fn check(self) -> Result<(), DataError> {
        let Self { train, val, test } = self;
        let in_range = [train, val, test]
            .iter()
            .all(|share| (0.0..=1.0).contains(share));
        if !in_range || ((train + val + test) - 1.0).abs() > 1e-6 {
            return Err(DataError::Shares { train, val, test });
        }
        Ok(())
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
    shares.check()?;
    let Shares { val, test, .. } = shares;
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

/// Assigns every row to a part such that rows of one group, for example the
/// tiles of one piece, share a part; `groups` has the group of each row. Gives
/// the number of groups.
///
/// Groups come in the order of their size, those of the same size shuffled by
/// the seed, and each goes to the part that it leaves most evenly filled: with
/// the fill f of part p in class c, its count over its share of the class's
/// rows, the sum of share(p) f(p, c)² is least where all parts are equally
/// full. scikit-learn's `StratifiedGroupKFold` follows the same idea.
///
/// # Errors
/// When the shares are outside 0 to 1 or do not sum to 1.
pub fn grouped(
    rows: &mut [Row],
    groups: &[String],
    shares: Shares,
    seed: u64,
) -> Result<usize, DataError> {
    shares.check()?;
    let classes = class_order(rows.iter().map(|row| row.label.as_str()));
    let class = |row: &Row| classes.iter().position(|class| *class == row.label);
    let class_of: Vec<Option<usize>> = rows.iter().map(class).collect();
    let mut members: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (row, group) in groups.iter().enumerate() {
        members.entry(group).or_default().push(row);
    }
    let counts = |members: &[usize]| {
        let mut counts = vec![0usize; classes.len()];
        for class in members.iter().filter_map(|&row| class_of[row]) {
            counts[class] += 1;
        }
        counts
    };
    let all: Vec<usize> = (0..rows.len()).collect();
    let totals = counts(&all);
    let mut members: Vec<Vec<usize>> = members.into_values().collect();
    members.shuffle(&mut Pcg64::seed_from_u64(seed));
    members.sort_by_key(|members| Reverse(members.len()));
    let mut parts: Vec<(Split, f64, Vec<usize>)> = [
        (Split::Train, shares.train),
        (Split::Val, shares.val),
        (Split::Test, shares.test),
    ]
    .into_iter()
    .filter(|&(_, share)| share > 0.0)
    .map(|(part, share)| (part, share, vec![0; classes.len()]))
    .collect();
    for members in &members {
        let group = counts(members);
        let growth = |share: f64, filled: &[usize]| -> f64 {
            let classes = group.iter().zip(filled).zip(&totals);
            classes
                .filter(|((added, _), _)| **added > 0)
                .map(|((&added, &filled), &total)| {
                    let added = added as f64;
                    added * (2.0 * filled as f64 + added) / (share * (total as f64).powi(2))
                })
                .sum()
        };
        let best = parts
            .iter_mut()
            .min_by(|(_, share_a, filled_a), (_, share_b, filled_b)| {
                growth(*share_a, filled_a).total_cmp(&growth(*share_b, filled_b))
            });
        if let Some((part, _, filled)) = best {
            for &row in members {
                rows[row].split = Some(*part);
            }
            for (filled, added) in filled.iter_mut().zip(&group) {
                *filled += added;
            }
        }
    }
    Ok(members.len())
}

/// The group of each row: that of the table, or else what `pattern` matches in its path,
/// or the first parenthesis in the pattern where it has one. Without a pattern a row that
/// has no group is one by itself.
///
/// # Errors
/// When the pattern does not match a path.
pub fn groups(rows: &[Row], pattern: Option<&Regex>) -> Result<Vec<String>, DataError> {
    let matched = |row: &Row, pattern: &Regex| {
        pattern
            .captures(&row.path)
            .and_then(|found| found.get(1).or_else(|| found.get(0)))
            .map(|group| group.as_str().to_owned())
            .ok_or_else(|| DataError::NoGroup {
                path: row.path.clone(),
                pattern: pattern.to_string(),
            })
    };
    rows.iter()
        .map(|row| match (&row.group, pattern) {
            (Some(group), _) => Ok(group.clone()),
            (None, Some(pattern)) => matched(row, pattern),
            (None, None) => Ok(row.path.clone()),
        })
        .collect()
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
    by_remainder.sort_by_key(|&class| Reverse(total * counts[class] % sum));
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
                    group: None,
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
    fn groups_stay_together_and_classes_keep_their_shares() {
        let mut rows: Vec<Row> = (0..600)
            .map(|number| Row {
                path: format!("x/piece{:03}_{number}.png", number / 5),
                ..rows(&[(["no_defect", "no_defect", "cracks"][number / 5 % 3], 1)]).remove(0)
            })
            .collect();
        let pattern = Regex::new("/([^_]+)_").unwrap();
        let groups = groups(&rows, Some(&pattern)).unwrap();
        assert_eq!(groups[7], "piece001");
        assert_eq!(
            grouped(&mut rows, &groups, Shares::default(), 5).unwrap(),
            120
        );
        for five in rows.chunks(5) {
            assert!(five.iter().all(|row| row.split == five[0].split));
        }
        for (label, number) in [("no_defect", 400.0), ("cracks", 200.0)] {
            for (split, share) in [(Split::Train, 0.7), (Split::Val, 0.15), (Split::Test, 0.15)] {
                let got = count(&rows, label, split) as f64;
                assert!(
                    (got - share * number).abs() <= 5.0,
                    "{label} {split:?} {got}"
                );
            }
        }
        let error = super::groups(&rows, Some(&Regex::new("coil").unwrap())).unwrap_err();
        assert!(error.to_string().contains("x/piece000_0.png"), "{error}");
    }

    #[test]
    fn a_group_of_the_table_goes_before_the_pattern() {
        let mut rows = rows(&[("cracks", 3)]);
        rows[0].path = "x/piece1_0.png".into();
        rows[1].group = Some("coil 7".into());
        rows[2].path = "x/piece1_2.png".into();
        let pattern = Regex::new("/([^_]+)_").unwrap();
        assert_eq!(
            groups(&rows, Some(&pattern)).unwrap(),
            ["piece1", "coil 7", "piece1"]
        );
        assert_eq!(
            groups(&rows, None).unwrap(),
            ["x/piece1_0.png", "coil 7", "x/piece1_2.png"]
        );
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
