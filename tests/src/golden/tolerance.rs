//! How close a result must come to a golden number.

use millsight_export::weights::NamedArray;
use serde::Deserialize;

/// How close a result must come, as `tol` of a manifest states it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Tolerance {
    /// Equal.
    Exact,
    /// Every element within `atol`.
    MaxAbs {
        /// Largest absolute difference.
        atol: f64,
        /// Largest absolute difference where the 8-bit image that it was
        /// computed from is exact.
        atol_if_u8_exact: Option<f64>,
    },
    /// 8-bit levels: every element within `atol`, and a share of them exact.
    MaxAbsU8 {
        /// Largest difference in levels.
        atol: u8,
        /// Least share of elements that are equal.
        min_frac_exact: f64,
        /// Whether an exact result is known to be possible.
        bit_exact_achievable: bool,
    },
    /// Parameters after optimiser steps: most within `atol`, all within
    /// `atol_all`.
    FracWithin {
        /// The near bound.
        atol: f64,
        /// Least share of elements within the near bound.
        min_frac: f64,
        /// The bound that every element keeps.
        atol_all: f64,
        /// Ranges of the first dimension (start, end) that need only keep
        /// `atol_all`.
        #[serde(default)]
        exclude_dim0_ranges: Vec<[usize; 2]>,
    },
    /// Every element within `atol`, where each row as a whole may have the
    /// other sign.
    MaxAbsUpToSignPerRow {
        /// Largest absolute difference.
        atol: f64,
    },
    /// Every element within a share of its column's largest, where each column
    /// as a whole may have the other sign.
    MaxAbsUpToSignPerColumn {
        /// Largest absolute difference as a share of the column's largest
        /// element.
        atol_rel_to_col_max: f64,
    },
    /// Another kind, which the test that meets it must treat itself.
    #[serde(other)]
    Other,
}

impl Tolerance {
    /// Checks results against expected numbers of the same shape.
    ///
    /// # Errors
    /// A sentence that says how far off they are.
    pub fn check(&self, expected: &NamedArray, got: &[f32]) -> Result<(), String> {
        if expected.data.len() != got.len() {
            return Err(format!(
                "{} numbers, not {}",
                got.len(),
                expected.data.len()
            ));
        }
        // A NaN must not pass for a small difference.
        let difference = |index: usize| -> f64 {
            let difference = f64::from(got[index]) - f64::from(expected.data[index]);
            if difference.is_nan() {
                f64::INFINITY
            } else {
                difference.abs()
            }
        };
        let largest = (0..got.len()).map(difference).fold(0.0, f64::max);
        let bounded = |atol: f64| {
            if largest <= atol {
                Ok(())
            } else {
                Err(format!("off by up to {largest:.3e}, more than {atol:.3e}"))
            }
        };
        match self {
            Tolerance::Exact => bounded(0.0),
            Tolerance::MaxAbs { atol, .. } => bounded(*atol),
            Tolerance::FracWithin {
                atol,
                min_frac,
                atol_all,
                exclude_dim0_ranges,
            } => {
                bounded(*atol_all)?;
                let row = got.len() / expected.shape.first().copied().unwrap_or(1).max(1);
                let counted = |index: &usize| {
                    !exclude_dim0_ranges
                        .iter()
                        .any(|[start, end]| (*start..*end).contains(&(index / row.max(1))))
                };
                let indices: Vec<usize> = (0..got.len()).filter(counted).collect();
                let near = indices
                    .iter()
                    .filter(|&&index| difference(index) <= *atol)
                    .count();
                if (near as f64) < min_frac * indices.len() as f64 {
                    return Err(format!(
                        "only {near} of {} within {atol:.3e}",
                        indices.len()
                    ));
                }
                Ok(())
            }
            Tolerance::MaxAbsUpToSignPerRow { atol } => {
                let width = expected.shape.last().copied().unwrap_or(1).max(1);
                let rows = expected.data.chunks(width).zip(got.chunks(width));
                for (number, (expected, got)) in rows.enumerate() {
                    let off = up_to_sign(expected.iter().zip(got));
                    if off > *atol {
                        return Err(format!("row {number} is off by {off:.3e}"));
                    }
                }
                Ok(())
            }
            Tolerance::MaxAbsUpToSignPerColumn {
                atol_rel_to_col_max,
            } => {
                let width = expected.shape.last().copied().unwrap_or(1).max(1);
                for column in 0..width {
                    let of = |values| column_of(values, column, width);
                    let off = up_to_sign(of(&expected.data).zip(of(got)));
                    let largest = of(&expected.data).fold(0.0f32, |most, x| most.max(x.abs()));
                    if off > atol_rel_to_col_max * f64::from(largest) {
                        return Err(format!("column {column} is off by {off:.3e}"));
                    }
                }
                Ok(())
            }
            Tolerance::MaxAbsU8 { .. } | Tolerance::Other => {
                Err("this tolerance is not for 32-bit numbers".to_owned())
            }
        }
    }
}

fn column_of(values: &[f32], column: usize, width: usize) -> impl Iterator<Item = &f32> {
    values.iter().skip(column).step_by(width)
}

/// The largest difference between expected and other numbers, or with the
/// other sign, whichever is smaller; infinite for what is no number.
fn up_to_sign<'a>(pairs: impl Iterator<Item = (&'a f32, &'a f32)>) -> f64 {
    let (mut same, mut other) = (0.0f64, 0.0f64);
    for (&expected, &got) in pairs {
        let (expected, got) = (f64::from(expected), f64::from(got));
        if got.is_nan() {
            return f64::INFINITY;
        }
        same = same.max((expected - got).abs());
        other = other.max((expected + got).abs());
    }
    same.min(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn array(data: &[f32]) -> NamedArray {
        NamedArray {
            shape: vec![data.len()],
            data: data.to_vec(),
        }
    }

    #[test]
    fn tolerances_reject_what_is_too_far() {
        let near = Tolerance::MaxAbs {
            atol: 0.1,
            atol_if_u8_exact: None,
        };
        assert!(near.check(&array(&[1.0, 2.0]), &[1.05, 2.0]).is_ok());
        assert!(near.check(&array(&[1.0, 2.0]), &[1.2, 2.0]).is_err());
        assert!(near.check(&array(&[1.0, 2.0]), &[1.0]).is_err());
        assert!(near.check(&array(&[1.0]), &[f32::NAN]).is_err());
        assert!(
            Tolerance::Exact
                .check(&array(&[1.0]), &[1.0 + f32::EPSILON])
                .is_err()
        );
        assert!(Tolerance::Other.check(&array(&[1.0]), &[1.0]).is_err());
    }

    #[test]
    fn a_share_may_be_further_off_but_never_beyond_the_outer_bound() {
        let tolerance = |ranges: Vec<[usize; 2]>| Tolerance::FracWithin {
            atol: 0.1,
            min_frac: 0.75,
            atol_all: 1.0,
            exclude_dim0_ranges: ranges,
        };
        let expected = array(&[0.0; 4]);
        assert!(
            tolerance(vec![])
                .check(&expected, &[0.0, 0.0, 0.0, 0.5])
                .is_ok()
        );
        assert!(
            tolerance(vec![])
                .check(&expected, &[0.0, 0.0, 0.5, 0.5])
                .is_err()
        );
        assert!(
            tolerance(vec![[2, 4]])
                .check(&expected, &[0.0, 0.0, 0.5, 0.5])
                .is_ok()
        );
        assert!(
            tolerance(vec![[2, 4]])
                .check(&expected, &[0.0, 0.0, 0.0, 1.5])
                .is_err()
        );
    }

    #[test]
    fn rows_and_columns_may_change_their_sign_as_a_whole() {
        let expected = NamedArray {
            shape: vec![2, 2],
            data: vec![1.0, 2.0, 3.0, 4.0],
        };
        let rows = Tolerance::MaxAbsUpToSignPerRow { atol: 0.1 };
        assert!(rows.check(&expected, &[-1.0, -2.0, 3.0, 4.05]).is_ok());
        assert!(rows.check(&expected, &[-1.0, 2.0, 3.0, 4.0]).is_err());
        assert!(rows.check(&expected, &[1.0, f32::NAN, 3.0, 4.0]).is_err());
        let columns = Tolerance::MaxAbsUpToSignPerColumn {
            atol_rel_to_col_max: 0.1,
        };
        assert!(columns.check(&expected, &[-1.2, 2.0, -3.0, 4.3]).is_ok());
        assert!(columns.check(&expected, &[-1.4, 2.0, -3.0, 4.0]).is_err());
        assert!(columns.check(&expected, &[-1.0, -2.0, 3.0, -4.0]).is_err());
    }
}
