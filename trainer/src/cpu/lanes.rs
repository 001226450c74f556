//! Sums and the exponential function, in a form that compilers turn into
//! vector instructions.
//!
//! Everything here is inlined into functions that are compiled once for each
//! instruction set. No multiplication is fused with an addition, so that the
//! numbers are those of every processor.

/// Partial sums that are kept side by side.
const LANES: usize = 16;

/// `Σ f(a_i, b_i)` in an order that depends on the length alone.
#[inline(always)]
pub(super) fn sum(a: &[f32], b: &[f32], f: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let (a, a_rest) = a.as_chunks::<LANES>();
    let (b, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            lanes[lane] += f(a[lane], b[lane]);
        }
    }
    for (lane, (&a, &b)) in a_rest.iter().zip(b_rest).enumerate() {
        lanes[lane] += f(a, b);
    }
    fold(lanes, |a, b| a + b)
}

/// The largest of the values, which are no NaN; -∞ when there are none.
#[inline(always)]
pub(super) fn largest(values: &[f32]) -> f32 {
    let larger = |a: f32, b: f32| if a > b { a } else { b };
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = values.as_chunks::<LANES>();
    for chunk in chunks {
        for lane in 0..LANES {
            lanes[lane] = larger(lanes[lane], chunk[lane]);
        }
    }
    for (lane, &value) in rest.iter().enumerate() {
        lanes[lane] = larger(lanes[lane], value);
    }
    fold(lanes, larger)
}

#[inline(always)]
fn fold(mut lanes: [f32; LANES], f: impl Fn(f32, f32) -> f32) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] = f(lanes[lane], lanes[lane + width]);
        }
        width /= 2;
    }
    lanes[0]
}

/// `e^x` for `x ≤ 0`, within 1e-7 of its value; 0 where that is below the
/// smallest normal number.
///
/// Range reduction and polynomial of Cephes' `expf` (Moshier).
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    // Adding it rounds to an integer, which then stands in the lowest bits.
    const ROUND: f32 = 1.5 * (1 << 23) as f32;
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let power = shifted - ROUND;
    let r = x - power * LN_2_HIGH - power * LN_2_LOW;
    let polynomial = polynomial(
        r,
        [
            0.5,
            1.666_666_5e-1,
            4.166_579_6e-2,
            8.333_452e-3,
            1.398_2e-3,
            1.987_569_1e-4,
        ],
    );
    let mantissa = polynomial * (r * r) + r + 1.0;
    let exponent = (shifted.to_bits() << 23).wrapping_add(1.0f32.to_bits());
    if x < -87.0 {
        0.0
    } else {
        mantissa * f32::from_bits(exponent)
    }
}

/// `Σ c_i x^i` by Horner's rule.
#[inline(always)]
pub(super) fn polynomial<const N: usize>(x: f32, coefficients: [f32; N]) -> f32 {
    let mut sum = coefficients[N - 1];
    for &coefficient in coefficients[..N - 1].iter().rev() {
        sum = sum * x + coefficient;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponential_is_exact_to_a_few_units_of_the_last_place() {
        for step in 0..=870_000 {
            let x = -(step as f32) * 1e-4;
            let expected = f64::from(x).exp();
            let error = (f64::from(exp(x)) / expected - 1.0).abs();
            assert!(error < 1.2e-7, "{x}: {error}");
        }
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(-88.0), 0.0);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn sums_and_maxima_take_every_element() {
        for length in [0usize, 1, 15, 16, 17, 50] {
            let values: Vec<f32> = (0..length).map(|value| value as f32).collect();
            let expected = (length * length.saturating_sub(1) / 2) as f32;
            assert_eq!(sum(&values, &values, |a, _| a), expected);
            let negative: Vec<f32> = values.iter().map(|value| -value - 1.0).collect();
            assert_eq!(
                largest(&negative),
                if length == 0 { f32::NEG_INFINITY } else { -1.0 }
            );
        }
    }
}
