//! Stratified parts against scikit-learn.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;

use millsight_tests::golden::{self, GoldenCase};
use millsight_trainer::data::split::{Shares, stratified};
use millsight_trainer::data::table::{Row, Split};
use serde_json::Value;

const PARTS: [Split; 3] = [Split::Train, Split::Val, Split::Test];

/// Seeds that are tried.
const SEEDS: u64 = 8;

fn rows(classes: &[(String, usize)]) -> Vec<Row> {
    let row = |label: &String, number: usize| Row {
        path: format!("{label}/{number}.png"),
        label: label.clone(),
        width: None,
        height: None,
        mode: None,
        sha256: None,
        group: None,
        split: None,
    };
    classes
        .iter()
        .flat_map(|(label, count)| (0..*count).map(move |number| row(label, number)))
        .collect()
}

fn split(classes: &[(String, usize)], shares: Shares, seed: u64) -> Vec<Row> {
    let mut rows = rows(classes);
    stratified(&mut rows, shares, seed).unwrap();
    rows
}

/// Of each class how many rows stand in a part.
fn counts(rows: &[Row], classes: &[(String, usize)], part: Split) -> Vec<u64> {
    let belongs = |row: &&Row, label: &str| row.label == *label && row.split == Some(part);
    let count =
        |(label, _): &(String, usize)| rows.iter().filter(|row| belongs(row, label)).count();
    classes.iter().map(|class| count(class) as u64).collect()
}

fn integers(value: &Value) -> Vec<u64> {
    let values = value.as_array().expect("a list");
    values.iter().map(|value| value.as_u64().unwrap()).collect()
}

/// The recipes whose outcome, the same for all seeds, passes a test.
fn recipes(outcomes: &Value, test: impl Fn(&Value) -> bool) -> BTreeSet<String> {
    let recipes = outcomes.as_object().expect("recipes").iter();
    recipes
        .filter(|(_, outcomes)| outcomes.as_array().expect("outcomes").iter().any(&test))
        .map(|(name, _)| name.clone())
        .collect()
}

struct Parts {
    classes: Vec<(String, usize)>,
    shares: Shares,
}

impl Parts {
    fn of(case: &GoldenCase) -> Self {
        let config = &case.manifest.config;
        let names = config["order"].as_array().expect("order");
        let names = names.iter().map(|name| name.as_str().unwrap().to_owned());
        let counts = integers(&config["counts"]);
        assert_eq!(config["total"].as_u64(), Some(counts.iter().sum()));
        let fractions: Vec<f64> = serde_json::from_value(config["fractions"].clone()).unwrap();
        Self {
            classes: names
                .zip(counts.iter().map(|&count| count as usize))
                .collect(),
            shares: Shares {
                train: fractions[0],
                val: fractions[1],
                test: fractions[2],
            },
        }
    }

    fn fractions(&self) -> [f64; 3] {
        let Shares { train, val, test } = self.shares;
        [train, val, test]
    }

    /// Counts of the classes in train, val and test, the same for all seeds.
    fn counts(&self) -> [Vec<u64>; 3] {
        let of = |seed| {
            let rows = split(&self.classes, self.shares, seed);
            PARTS.map(|part| counts(&rows, &self.classes, part))
        };
        let first = of(0);
        for seed in 1..SEEDS {
            assert_eq!(of(seed), first);
        }
        first
    }

    /// Checks a property that the manifest states in words.
    fn check_property(&self, case: &GoldenCase, property: &str, got: &[Vec<u64>; 3]) {
        let whole: Vec<u64> = self
            .classes
            .iter()
            .map(|(_, count)| *count as u64)
            .collect();
        if property.contains("exactly one of train/val/test") {
            let rows = split(&self.classes, self.shares, 3);
            assert!(rows.iter().all(|row| row.split.is_some()));
            let paths: BTreeSet<&str> = rows.iter().map(|row| row.path.as_str()).collect();
            assert_eq!(paths.len() as u64, whole.iter().sum::<u64>());
        } else if property.contains("|count - fraction*n_c| < 1.5") {
            for (part, fraction) in got.iter().zip(self.fractions()) {
                for (&count, &whole) in part.iter().zip(&whole) {
                    assert!((count as f64 - fraction * whole as f64).abs() < 1.5);
                }
            }
        } else if property.contains("total within 1 of fraction*N") {
            let all = whole.iter().sum::<u64>() as f64;
            for (part, fraction) in got.iter().zip(self.fractions()) {
                assert!((part.iter().sum::<u64>() as f64 - fraction * all).abs() <= 1.0);
            }
        } else if property.starts_with("same seed -> same split") {
            let of = |seed| split(&self.classes, self.shares, seed);
            assert_eq!(of(5), of(5));
            assert_ne!(of(5), of(6));
        } else if let Some((_, least)) = property.split_once("every class with >=") {
            let least: usize = least.split(' ').next().unwrap().parse().unwrap();
            for count in [least, least + 1, 2 * least, 3 * least + 1] {
                let classes = [("a".to_owned(), 11 * count), ("b".to_owned(), count)];
                let rows = split(&classes, self.shares, 1);
                for part in PARTS {
                    let counts = counts(&rows, &classes, part);
                    assert!(counts.iter().all(|&count| count > 0), "{count} {counts:?}");
                }
            }
        } else {
            case.unknown(property);
        }
    }
}

#[test]
fn parts_have_the_counts_of_scikit_learn() {
    for case in golden::cases("split") {
        if let Some(entry) = case.expected().next() {
            case.unknown(&entry.name);
        }
        let parts = Parts::of(&case);
        let got = parts.counts();
        let scalars = &case.manifest.scalars;
        let outcomes = &scalars["sklearn_outcomes_60_seeds"];
        for (name, value) in scalars.as_object().expect("scalars") {
            match name.as_str() {
                // 0.30 held out, the second half of which is the test part.
                "sklearn_outcomes_60_seeds" => {
                    let same = recipes(outcomes, |outcome| {
                        ["train", "val", "test"]
                            .iter()
                            .zip(&got)
                            .all(|(part, got)| integers(&outcome[*part]) == *got)
                    });
                    assert!(
                        same.iter().any(|name| name.starts_with("A:")),
                        "{got:?} is none of scikit-learn's outcomes but {same:?}"
                    );
                }
                "thesis_test_counts" => {
                    // Published counts, which no recipe gives; see below.
                    assert_eq!(integers(value).len(), parts.classes.len());
                }
                "thesis_reproduced_by" => {
                    let published = integers(&scalars["thesis_test_counts"]);
                    let by = recipes(outcomes, |outcome| integers(&outcome["test"]) == published);
                    let stated: BTreeSet<String> = serde_json::from_value(value.clone()).unwrap();
                    assert_eq!(by, stated);
                    if stated.is_empty() {
                        assert_ne!(got[2], published);
                    }
                }
                "thesis_reproduced_seeds" => {
                    let seeds = value.as_object().expect("seeds of each recipe");
                    let by = seeds.iter().filter(|(_, seeds)| seeds.as_u64() != Some(0));
                    let stated = scalars["thesis_reproduced_by"].as_array().map(Vec::len);
                    assert_eq!(Some(by.count()), stated);
                }
                "per_class_simple" => {
                    for ((label, whole), &count) in parts.classes.iter().zip(&got[2]) {
                        let simple = value[label].as_object().expect("the class");
                        assert_eq!(simple["n"].as_u64(), Some(*whole as u64));
                        let rounded = simple.iter().filter(|(name, _)| *name != "n");
                        let ways: Vec<u64> = rounded.filter_map(|(_, way)| way.as_u64()).collect();
                        let (least, most) = (ways.iter().min(), ways.iter().max());
                        assert!(
                            least <= Some(&count) && Some(&count) <= most,
                            "{label}: {count} of {ways:?}"
                        );
                    }
                }
                "properties" => {
                    for property in value.as_array().expect("properties") {
                        parts.check_property(&case, property.as_str().expect("words"), &got);
                    }
                }
                name => case.unknown(name),
            }
        }
    }
}
