//! The exact GELU (Hendrycks and Gimpel, 2016): `x Φ(x)`, `Φ` being the
//! distribution function of the normal distribution.

use multiversion::multiversion;

use super::lanes::{exp, polynomial};

/// `Φ(x)`, and `exp(-x² / 2)`, which it is computed from.
///
/// `Φ(-|x|) = exp(-x² / 2) R(|x|)`, where `R` is a polynomial in
/// `1 / (1 + 0.3 |x|)` (the form of Abramowitz and Stegun 7.1.26), fitted to
/// the least relative error on 0 to 13.2. In `f32` it is within 2e-7 of `Φ`,
/// and within 6e-7 of its value as far as `exp` does not add to it.
#[inline(always)]
fn distribution(x: f32) -> (f32, f32) {
    let size = x.abs();
    let bell = exp(-0.5 * size * size);
    let t = 1.0 / (1.0 + 0.3 * size);
    let ratio = polynomial(
        t - 0.625,
        [
            0.268_963_22,
            0.426_245_7,
            0.430_575_82,
            0.223_381_03,
            -0.025_076_445,
            -0.090_980_574,
            -0.001_813_003_8,
            0.037_714_32,
            0.003_580_471_5,
        ],
    );
    let below = bell * ratio * t;
    (if x > 0.0 { 1.0 - below } else { below }, bell)
}

/// `out = gelu(x)`.
#[multiversion(targets = "simd")]
pub(super) fn forward(x: &[f32], out: &mut [f32]) {
    for (x, out) in x.iter().zip(out) {
        *out = *x * distribution(*x).0;
    }
}

/// `gradient *= gelu'(x)`, and `out = gelu(x)`.
#[multiversion(targets = "simd")]
pub(super) fn backward(x: &[f32], gradient: &mut [f32], out: &mut [f32]) {
    /// `1 / sqrt(2 π)`
    const DENSITY: f32 = 0.398_942_3;
    for ((x, gradient), out) in x.iter().zip(gradient).zip(out) {
        let (distribution, bell) = distribution(*x);
        *out = *x * distribution;
        *gradient *= distribution + *x * (bell * DENSITY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `Φ(x)` for `x ≤ 0` by the continued fraction of Mills' ratio, or for
    /// small `x` by its series, in double precision.
    fn exact(x: f64) -> f64 {
        let density = (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt();
        if x > -3.0 {
            let (mut term, mut sum) = (x, x);
            for step in 1..100 {
                term *= x * x / f64::from(2 * step + 1);
                sum += term;
            }
            0.5 + density * sum
        } else {
            let fraction = (1..200)
                .rev()
                .fold(-x, |below, step| -x + f64::from(step) / below);
            density / fraction
        }
    }

    #[test]
    fn values_and_slopes_are_exact() {
        let x: Vec<f32> = (-12_000..=12_000)
            .map(|step| step as f32 / 1000.0)
            .collect();
        let mut values = vec![0.0; x.len()];
        forward(&x, &mut values);
        let mut slopes = vec![2.0; x.len()];
        let mut again = vec![0.0; x.len()];
        backward(&x, &mut slopes, &mut again);
        assert_eq!(values, again);
        for ((&x, value), slope) in x.iter().zip(values).zip(slopes) {
            let x = f64::from(x);
            let below = exact(-x.abs());
            let distribution = if x > 0.0 { 1.0 - below } else { below };
            let density = (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt();
            let error = (f64::from(value) - x * distribution).abs();
            // The argument of `exp` is exact to half a unit of the last place.
            let tail = 4e-7 + 6e-8 * x * x;
            assert!(error <= tail * (x * distribution).abs(), "{x}: {error}");
            let slope_error = (f64::from(slope) / 2.0 - distribution - x * density).abs();
            assert!(slope_error < 4e-7, "{x}: {slope_error}");
        }
    }
}
