//! Numbers as they stand in messages.

/// Relative slack of a comparison of products of values that were written in
/// decimal.
pub(crate) const ROUNDING: f64 = 1e-9;

/// `number` rounded to four significant figures.
pub(crate) fn figures(number: f64) -> String {
    rounded(number, f64::round)
}

/// `number` rounded down to four significant figures.
pub(crate) fn floor(number: f64) -> String {
    rounded(number * (1.0 + ROUNDING), f64::floor)
}

/// `number` rounded up to four significant figures.
pub(crate) fn ceil(number: f64) -> String {
    rounded(number * (1.0 - ROUNDING), f64::ceil)
}

fn rounded(number: f64, round: fn(f64) -> f64) -> String {
    if number == 0.0 || !number.is_finite() {
        return number.to_string();
    }
    let decimals = 3 - number.abs().log10().floor() as i32;
    let scale = 10f64.powi(decimals);
    let text = format!(
        "{:.*}",
        decimals.max(0) as usize,
        round(number * scale) / scale
    );
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::{ceil, figures, floor};

    #[test]
    fn numbers_are_rounded_to_four_figures() {
        assert_eq!(figures(85.333_333), "85.33");
        assert_eq!(figures(0.000_123_456), "0.0001235");
        assert_eq!(figures(67_000.0), "67000");
        assert_eq!(figures(2.0), "2");
        assert_eq!(floor(66_666.67), "66660");
        assert_eq!(ceil(66_666.67), "66670");
        assert_eq!(ceil(80_000.0), "80000");
        assert_eq!(floor(0.3), "0.3");
    }
}
