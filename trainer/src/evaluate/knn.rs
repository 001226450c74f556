//! The weighted nearest-neighbour classifier that judges features without
//! training anything (Wu et al., "Unsupervised Feature Learning via
//! Non-Parametric Instance Discrimination", 2018; facebookresearch/dino,
//! `eval_knn.py`).

use rayon::prelude::*;

/// Neighbours that vote; 20 usually works best by the official code.
pub const NEIGHBOURS: usize = 20;
/// A neighbour at the cosine `s` votes with `exp(s / TEMPERATURE)`.
pub const TEMPERATURE: f32 = 0.07;

/// Divides each row of `[n, width]` by its length; rows of zeros stay zeros.
pub fn normalise(features: &mut [f32], width: usize) {
    for row in features.chunks_exact_mut(width) {
        let squares: f64 = row.iter().map(|&value| f64::from(value).powi(2)).sum();
        let length = squares.sqrt().max(1e-12);
        for value in row {
            *value = (f64::from(*value) / length) as f32;
        }
    }
}

/// Predicted class of each row of `queries` `[n, width]`, from the
/// [`NEIGHBOURS`] rows of `known` `[labels.len(), width]` with the largest
/// cosine, or all of them where there are fewer. All rows are normalised;
/// labels are below `classes`. The first of equals wins.
pub fn predict(
    known: &[f32],
    labels: &[usize],
    queries: &[f32],
    width: usize,
    classes: usize,
) -> Vec<usize> {
    let cosine = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    let class_of = |query: &[f32]| {
        let rows = known.chunks_exact(width).zip(labels);
        let mut near: Vec<(f32, usize)> = rows
            .map(|(row, &label)| (cosine(row, query), label))
            .collect();
        // The sort is stable: of equals the first of the table comes first.
        near.sort_by(|(one, _), (other, _)| other.total_cmp(one));
        let mut votes = vec![0.0; classes];
        for (cosine, label) in near.iter().take(NEIGHBOURS) {
            votes[*label] += (cosine / TEMPERATURE).exp();
        }
        let better = |best: usize, class: usize| match votes[class] > votes[best] {
            true => class,
            false => best,
        };
        (1..classes).fold(0, better)
    };
    queries.par_chunks_exact(width).map(class_of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Unit vectors at some angles in degrees.
    fn at(degrees: &[f32]) -> Vec<f32> {
        let point = |degrees: &f32| [degrees.to_radians().cos(), degrees.to_radians().sin()];
        degrees.iter().flat_map(point).collect()
    }

    #[test]
    fn the_nearest_neighbours_win() {
        let known = at(&[0.0, 5.0, 80.0, 85.0, 90.0]);
        let labels = [1, 1, 0, 0, 0];
        let got = predict(&known, &labels, &at(&[2.0, 84.0, 47.0]), 2, 3);
        // At 47 degrees the second class has the nearest two, the first class
        // three: exp(cos 42 / 0.07) + exp(cos 47 / 0.07) against
        // exp(cos 33 / 0.07) + exp(cos 38 / 0.07) + exp(cos 43 / 0.07).
        assert_eq!(got, [1, 0, 0]);
    }

    #[test]
    fn votes_are_weighted_and_only_twenty_count() {
        // One neighbour at 0 degrees outweighs nineteen at 60 degrees.
        let mut degrees = vec![0.0];
        degrees.extend([60.0; 40]);
        let mut labels = vec![1];
        labels.extend([0; 40]);
        assert_eq!(predict(&at(&degrees), &labels, &at(&[0.0]), 2, 2), [1]);
        let weight = |degrees: f32| (degrees.to_radians().cos() / TEMPERATURE).exp();
        assert!(weight(0.0) > 19.0 * weight(60.0));
        // The nearest twenty at 5 degrees win over a hundred at 9 degrees,
        // which together would weigh more.
        let mut degrees = vec![9.0; 100];
        degrees.extend([5.0; 20]);
        let mut labels = vec![0; 100];
        labels.extend([1; 20]);
        assert!(100.0 * weight(9.0) > 20.0 * weight(5.0));
        assert_eq!(predict(&at(&degrees), &labels, &at(&[0.0]), 2, 2), [1]);
    }

    #[test]
    fn rows_get_the_length_one() {
        let mut rows = [3.0, 4.0, 0.0, 0.0];
        normalise(&mut rows, 2);
        assert_eq!(rows, [0.6, 0.8, 0.0, 0.0]);
    }
}
