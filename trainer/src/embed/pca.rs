//! Principal component analysis, as scikit-learn's `PCA` with the full solver.

use nalgebra::{DMatrix, SymmetricEigen};

/// Principal components of a set of points.
#[derive(Debug, Clone, PartialEq)]
pub struct Pca {
    /// Mean of the points, `[width]`.
    pub mean: Vec<f64>,
    /// Unit vectors, `[count, width]` row-major, in falling order of their
    /// variance; the largest entry of each is positive.
    pub components: Vec<f64>,
    /// Variance of the points along each component, divided by `n - 1`.
    pub explained_variance: Vec<f64>,
    /// The same as a share of the variance along all axes, 0 to 1.
    pub explained_variance_ratio: Vec<f64>,
    /// Singular values of the centred points.
    pub singular_values: Vec<f64>,
}

/// Why points have no such components.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PcaError {
    /// More components than points or dimensions.
    #[error(
        "{count} components were asked for, but {points} points of {width} dimensions have at most \
         {}", points.min(width)
    )]
    TooMany {
        /// Components.
        count: usize,
        /// Points.
        points: usize,
        /// Dimensions.
        width: usize,
    },
    /// Fewer than two points have no variance.
    #[error("{points} point(s) have no variance; two are needed at least")]
    TooFew {
        /// Points.
        points: usize,
    },
    /// A coordinate that is no number.
    #[error("coordinate {coordinate} of point {point} (counted from 0) is not a finite number")]
    NotFinite {
        /// Number of the point.
        point: usize,
        /// Its coordinate.
        coordinate: usize,
    },
}

impl Pca {
    /// The first `count` components of points `[n, width]`, row-major; `width`
    /// is above 0.
    ///
    /// They are the eigenvectors of the covariance, which is computed in double
    /// precision: its size does not depend on the number of points.
    ///
    /// # Errors
    /// When there are fewer than two points, or more components than points or
    /// dimensions, or a coordinate is no finite number.
    pub fn fit(points: &[f32], width: usize, count: usize) -> Result<Self, PcaError> {
        let n = points.len() / width;
        if n < 2 {
            return Err(PcaError::TooFew { points: n });
        }
        if count > n.min(width) {
            return Err(PcaError::TooMany {
                count,
                points: n,
                width,
            });
        }
        if let Some(at) = points.iter().position(|value| !value.is_finite()) {
            return Err(PcaError::NotFinite {
                point: at / width,
                coordinate: at % width,
            });
        }
        let points = DMatrix::from_row_iterator(n, width, points.iter().map(|&x| f64::from(x)));
        let mean = points.row_mean();
        let centred =
            DMatrix::from_fn(n, width, |row, column| points[(row, column)] - mean[column]);
        let divisor = (n - 1) as f64;
        let eigen = SymmetricEigen::new(centred.tr_mul(&centred) / divisor);
        let mut order: Vec<usize> = (0..width).collect();
        let variances = &eigen.eigenvalues;
        order.sort_by(|&a, &b| variances[b].total_cmp(&variances[a]));
        order.truncate(count);
        // Rounding may leave a direction without variance below 0.
        let variance = |axis: usize| variances[axis].max(0.0);
        let total: f64 = (0..width).map(variance).sum();
        let mut components = Vec::with_capacity(count * width);
        for &axis in &order {
            let vector = eigen.eigenvectors.column(axis);
            let sign = vector[vector.icamax()].signum();
            components.extend(vector.iter().map(|entry| entry * sign));
        }
        let explained_variance: Vec<f64> = order.iter().map(|&axis| variance(axis)).collect();
        let share = |variance: &f64| if total > 0.0 { variance / total } else { 0.0 };
        let singular = |variance: &f64| (variance * divisor).sqrt();
        Ok(Self {
            mean: mean.iter().copied().collect(),
            components,
            explained_variance_ratio: explained_variance.iter().map(share).collect(),
            singular_values: explained_variance.iter().map(singular).collect(),
            explained_variance,
        })
    }

    /// Coordinates of points `[n, width]` along the components, `[n, count]`.
    pub fn project(&self, points: &[f32]) -> Vec<f64> {
        let width = self.mean.len();
        let along = |point: &[f32], component: &[f64]| -> f64 {
            let entries = point.iter().zip(&self.mean).zip(component);
            entries
                .map(|((&x, mean), entry)| (f64::from(x) - mean) * entry)
                .sum()
        };
        points
            .chunks_exact(width)
            .flat_map(|point| {
                let components = self.components.chunks_exact(width);
                components.map(move |component| along(point, component))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn points_on_a_line_have_one_component() {
        let points = [1.0, 2.0, 3.0, 6.0, 5.0, 10.0];
        let pca = Pca::fit(&points, 2, 2).unwrap();
        assert_eq!(pca.mean, [3.0, 6.0]);
        let root = 5f64.sqrt();
        assert!((pca.components[0] - 1.0 / root).abs() < 1e-12);
        assert!((pca.components[1] - 2.0 / root).abs() < 1e-12);
        assert!((pca.explained_variance[0] - 20.0).abs() < 1e-9);
        assert!((pca.explained_variance_ratio[0] - 1.0).abs() < 1e-12);
        assert!(pca.explained_variance[1].abs() < 1e-9);
        let along = pca.project(&points);
        assert!((along[0] + 2.0 * root).abs() < 1e-9 && along[1].abs() < 1e-6);
    }

    #[test]
    fn what_has_no_components_is_refused() {
        assert_eq!(
            Pca::fit(&[1.0, 2.0], 2, 1),
            Err(PcaError::TooFew { points: 1 })
        );
        let message = Pca::fit(&[0.0; 6], 2, 3).unwrap_err().to_string();
        assert!(message.contains("at most 2"), "{message}");
        let message = Pca::fit(&[0.0, 1.0, f32::NAN, 2.0], 2, 1).unwrap_err();
        assert!(message.to_string().contains("coordinate 0 of point 1"));
        assert!(Pca::fit(&[3.0; 6], 2, 2).is_ok(), "equal points");
    }
}
