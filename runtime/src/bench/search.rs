//! The highest rate that is held.

/// How near the rate is found, as a share of it.
const PRECISION: f64 = 0.03;

/// Rates beyond this are not tried.
const HIGHEST: f64 = 10_000_000.0;

/// Rates below this are not tried.
const LOWEST: f64 = 10.0;

/// The highest rate, in lines per second, for which `is_held` says so: from
/// `first` by doubling or halving until one is held and one is not, then
/// between these. 0 where none is.
pub fn highest_held(first: f64, mut is_held: impl FnMut(f64) -> bool) -> f64 {
    let (mut held, mut missed) = (0.0, f64::INFINITY);
    let mut rate = first;
    loop {
        if is_held(rate) {
            held = rate;
        } else {
            missed = rate;
        }
        rate = if held == 0.0 {
            missed / 2.0
        } else if missed.is_infinite() {
            held * 2.0
        } else {
            (held * missed).sqrt()
        };
        let is_found = missed / held < 1.0 + PRECISION;
        if is_found || !(LOWEST..=HIGHEST).contains(&rate) {
            return held;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_found_from_above_and_from_below() {
        for limit in [67_000.0, 134_567.0, 1_000.0, 2_000_000.0] {
            let mut trials = 0;
            let found = highest_held(67_000.0, |rate| {
                trials += 1;
                rate <= limit
            });
            assert!(found <= limit && found > limit / 1.03, "{found} {limit}");
            assert!(trials < 16, "{trials}");
        }
        assert_eq!(highest_held(67_000.0, |_| false), 0.0);
        assert!(highest_held(67_000.0, |_| true) > HIGHEST / 2.0);
    }
}
