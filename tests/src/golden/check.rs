//! Results against what a case expects.

use super::{GoldenCase, TensorEntry, Tolerance};

impl GoldenCase {
    /// Checks 32-bit results against the expected tensor `name` and its
    /// tolerance.
    ///
    /// # Errors
    /// A sentence that says how far off they are.
    pub fn check(&self, name: &str, got: &[f32]) -> Result<(), String> {
        self.check_entry(self.entry(name), got)
    }

    /// The same for one entry of the manifest, where several have its name.
    ///
    /// # Errors
    /// As [`GoldenCase::check`].
    pub fn check_entry(&self, entry: &TensorEntry, got: &[f32]) -> Result<(), String> {
        let outcome = match &entry.tol {
            Some(tolerance) => tolerance.check(&self.stored(entry), got),
            None => Err("the manifest states no tolerance".to_owned()),
        };
        self.named(entry, outcome)
    }

    /// Checks 64-bit results against an expected tensor and its tolerance.
    ///
    /// # Errors
    /// As [`GoldenCase::check`].
    pub fn check_doubles(&self, entry: &TensorEntry, got: &[f64]) -> Result<(), String> {
        let expected = self.doubles(entry);
        let outcome = match &entry.tol {
            Some(Tolerance::MaxAbs { atol, .. }) if expected.len() == got.len() => {
                let differences = expected.iter().zip(got).map(|(a, b)| (a - b).abs());
                // A NaN must not pass for a small difference.
                match differences
                    .enumerate()
                    .find(|(_, d)| d.is_nan() || d > atol)
                {
                    None => Ok(()),
                    Some((index, difference)) => Err(format!(
                        "element {index} is off by {difference:.3e}, more than {atol:.3e}"
                    )),
                }
            }
            Some(Tolerance::MaxAbs { .. }) => {
                Err(format!("{} numbers, not {}", got.len(), expected.len()))
            }
            _ => Err("no tolerance of kind max_abs".to_owned()),
        };
        self.named(entry, outcome)
    }

    fn named(&self, entry: &TensorEntry, outcome: Result<(), String>) -> Result<(), String> {
        let TensorEntry { name, file, .. } = entry;
        outcome.map_err(|problem| format!("{} `{name}` of {file}: {problem}", self.manifest.case))
    }

    /// Checks 8-bit results against the expected tensor `name`: equal where
    /// the manifest says that this can be reached.
    ///
    /// # Errors
    /// A sentence that says how many differ and by how much.
    pub fn check_levels(&self, name: &str, got: &[u8]) -> Result<(), String> {
        let expected = self.bytes(name);
        let case = &self.manifest.case;
        let Some(Tolerance::MaxAbsU8 {
            atol,
            min_frac_exact,
            bit_exact_achievable,
        }) = self.entry(name).tol
        else {
            return Err(format!("{case} `{name}`: no tolerance of kind max_abs_u8"));
        };
        if expected.len() != got.len() {
            return Err(format!(
                "{case} `{name}`: {} levels, not {}",
                got.len(),
                expected.len()
            ));
        }
        let differences = expected.iter().zip(got).map(|(a, b)| a.abs_diff(*b));
        let largest = differences.clone().max().unwrap_or(0);
        let unequal = differences.filter(|difference| *difference > 0).count();
        let share = 1.0 - unequal as f64 / expected.len().max(1) as f64;
        if largest > atol || share < min_frac_exact || (bit_exact_achievable && unequal > 0) {
            return Err(format!(
                "{case} `{name}`: {unequal} of {} levels differ, by up to {largest}",
                expected.len()
            ));
        }
        Ok(())
    }
}
