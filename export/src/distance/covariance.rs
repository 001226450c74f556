//! Mean and covariance of a sample.

use nalgebra::{DMatrix, DVector};

/// Where a sample lies and how far it spreads.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Spread {
    /// Its mean, `[d]`.
    pub(super) mean: DVector<f64>,
    /// The inverse of the lower triangle `L` of its covariance `L Lᵀ`, `[d, d]`.
    pub(super) whitening: DMatrix<f64>,
}

impl Spread {
    /// Of points `[n, d]`, two at least; `None` when they are all the same.
    ///
    /// A covariance of few points has directions without spread, along which the least
    /// deviation would be infinitely far. It is drawn towards the same spread in all
    /// directions, by as much as is best for normally distributed points.
    pub(super) fn of(points: &DMatrix<f64>) -> Option<Self> {
        let n = points.nrows() as f64;
        let mean = points.row_mean();
        let mut centred = points.clone();
        for mut point in centred.row_iter_mut() {
            point -= &mean;
        }
        let sample = centred.tr_mul(&centred) / n;
        let d = sample.nrows();
        let average = sample.trace() / d as f64;
        if average.is_nan() || average <= 0.0 {
            return None;
        }
        let part = shrinkage(&sample, n);
        let covariance = sample * (1.0 - part) + DMatrix::identity(d, d) * (average * part);
        let triangle = covariance.cholesky()?.unpack();
        let whitening = triangle.solve_lower_triangular(&DMatrix::identity(d, d))?;
        Some(Self {
            mean: mean.transpose(),
            whitening,
        })
    }

    /// Mahalanobis distance of a point, `[d]`, from the sample.
    pub(super) fn distance(&self, point: &DVector<f64>) -> f64 {
        (&self.whitening * (point - &self.mean)).norm()
    }
}

/// The oracle approximating shrinkage of a covariance of `n` points, 0 to 1: equation 23
/// of Chen, Wiesel, Eldar and Hero, "Shrinkage algorithms for MMSE covariance estimation",
/// IEEE Transactions on Signal Processing 58, 2010.
pub(super) fn shrinkage(sample: &DMatrix<f64>, n: f64) -> f64 {
    let d = sample.nrows() as f64;
    let squared_trace = sample.trace().powi(2);
    let trace_of_square = sample.norm_squared();
    let above = (1.0 - 2.0 / d) * trace_of_square + squared_trace;
    let below = (n + 1.0 - 2.0 / d) * (trace_of_square - squared_trace / d);
    match below > 0.0 {
        true => (above / below).min(1.0),
        false => 1.0,
    }
}
