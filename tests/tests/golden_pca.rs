//! Principal components against scikit-learn.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use millsight_tests::golden::{self, GoldenCase};
use millsight_trainer::embed::pca::Pca;

fn singles(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&value| value as f32).collect()
}

/// Euclidean distances of the first points, each pair once, as SciPy's `pdist`
/// orders them.
fn distances(points: &[f64], width: usize, count: usize) -> Vec<f32> {
    let point = |number: usize| &points[number * width..][..width];
    let mut distances = Vec::new();
    for first in 0..count {
        for second in first + 1..count {
            let pairs = point(first).iter().zip(point(second));
            let squares: f64 = pairs.map(|(a, b)| (a - b).powi(2)).sum();
            distances.push(squares.sqrt() as f32);
        }
    }
    distances
}

fn check_scalars(case: &GoldenCase, all: &Pca, count: usize) {
    let Some(scalars) = case.manifest.scalars.as_object() else {
        return;
    };
    let values = &all.singular_values;
    for (name, expected) in scalars {
        let got = match name.as_str() {
            "cumulative_ratio" => all.explained_variance_ratio[..count].iter().sum(),
            "min_relative_gap_between_consecutive_singular_values" => values[..count]
                .windows(2)
                .map(|pair| (pair[0] - pair[1]) / pair[0])
                .fold(f64::INFINITY, f64::min),
            // Of the peer alone: how far its own precisions are apart.
            "sklearn_float32_vs_float64_coords_max_abs" => continue,
            name => match name.split_once("_over_") {
                Some((upper, lower)) => value(case, values, upper) / value(case, values, lower),
                None => case.unknown(name),
            },
        };
        let expected = expected.as_f64().expect("a number");
        assert!(
            (got / expected - 1.0).abs() < 1e-3,
            "{} {name}: {got} instead of {expected}",
            case.manifest.case
        );
    }
}

/// A singular value by its name, `s1` being the largest.
fn value(case: &GoldenCase, values: &[f64], name: &str) -> f64 {
    let number = name
        .strip_prefix('s')
        .and_then(|number| number.parse::<usize>().ok());
    let number = number.unwrap_or_else(|| case.unknown(name));
    values[number - 1]
}

#[test]
fn components_equal_scikit_learn() {
    let mut problems = Vec::new();
    for case in golden::cases("pca") {
        let config = &case.manifest.config;
        assert_eq!(config["centred"], true, "{}", case.manifest.case);
        for other in ["scaled", "whiten"] {
            assert_eq!(config[other], false, "{}", case.manifest.case);
        }
        let points = case.array("X");
        let width = points.shape[1];
        let count = config["k"].as_u64().expect("k") as usize;
        let pca = Pca::fit(&points.data, width, count).unwrap();
        let coordinates = pca.project(&points.data);
        for entry in case.expected() {
            let got = match entry.name.as_str() {
                "mean" => singles(&pca.mean),
                "explained_variance" => singles(&pca.explained_variance),
                "explained_variance_ratio" => singles(&pca.explained_variance_ratio),
                "singular_values" => singles(&pca.singular_values),
                "components" => singles(&pca.components),
                "coords" => singles(&coordinates),
                name => match name.strip_prefix("pairwise_dist_first") {
                    Some(first) => distances(&coordinates, count, first.parse().expect("a number")),
                    None => case.unknown(name),
                },
            };
            problems.extend(case.check_entry(entry, &got).err());
        }
        let all = Pca::fit(&points.data, width, width.min(points.shape[0])).unwrap();
        check_scalars(&case, &all, count);
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}
