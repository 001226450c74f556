//! Exact bounds of a rate (Clopper and Pearson, Biometrika 26, 1934).

use statrs::function::beta::inv_beta_reg;

use crate::card::Proportion;

/// Confidence of all bounds: of a hundred intervals, five may miss the rate.
pub const CONFIDENCE: f64 = 0.95;

/// A share with the two-sided exact bounds of its rate at [`CONFIDENCE`]: the
/// quantiles `(1 - c) / 2` of Beta(k, n - k + 1) and `(1 + c) / 2` of
/// Beta(k + 1, n - k). Of no tiles the rate may be anything.
pub fn exact(count: u64, of: u64) -> Proportion {
    let (k, n) = (count as f64, of as f64);
    let tail = (1.0 - CONFIDENCE) / 2.0;
    Proportion {
        count,
        of,
        lower: match count {
            0 => 0.0,
            _ => inv_beta_reg(k, n - k + 1.0, tail),
        },
        upper: if count == of {
            1.0
        } else {
            inv_beta_reg(k + 1.0, n - k, 1.0 - tail)
        },
    }
}

/// The least number of tiles, none of which counts, whose upper bound is at
/// most `rate`, above 0 and below 1.
pub fn tiles_needed(rate: f64) -> u64 {
    // The upper bound of 0 in n is 1 - ((1 - c) / 2)^(1 / n).
    let tail = (1.0 - CONFIDENCE) / 2.0;
    (tail.ln() / (-rate).ln_1p()).ceil() as u64
}

/// The largest count of `of` tiles whose upper bound is at most `rate`; `None`
/// where even none is too many.
pub fn tolerated(of: u64, rate: f64) -> Option<u64> {
    // The bound grows with the count.
    (0..of)
        .take_while(|&count| exact(count, of).upper <= rate)
        .last()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_equal_those_of_the_binomial_tails() {
        // Where the tail sums of the binomial distribution are 0.025.
        for (count, of, lower, upper) in [
            (0, 10, 0.0, 0.308_497_1),
            (10, 10, 0.691_502_9, 1.0),
            (1, 300, 0.000_084_4, 0.018_431_6),
            (3, 120, 0.005_185_6, 0.071_323_2),
            (50, 100, 0.398_321_1, 0.601_678_9),
        ] {
            let share = exact(count, of);
            assert!((share.lower - lower).abs() < 2e-6, "{share:?}");
            assert!((share.upper - upper).abs() < 2e-6, "{share:?}");
        }
        let nothing = exact(0, 0);
        assert_eq!((nothing.lower, nothing.upper), (0.0, 1.0));
    }

    #[test]
    fn few_tiles_prove_nothing() {
        assert_eq!(tiles_needed(0.01), 368);
        assert_eq!(tolerated(367, 0.01), None);
        assert_eq!(tolerated(368, 0.01), Some(0));
        for of in [1000, 2500] {
            let count = tolerated(of, 0.01).unwrap_or(u64::MAX);
            assert!(exact(count, of).upper <= 0.01 && exact(count + 1, of).upper > 0.01);
        }
    }
}
