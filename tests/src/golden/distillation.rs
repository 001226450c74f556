//! What the manifests of DINO expect.

use serde_json::Value;

use super::{GoldenCase, TensorEntry};

/// The case whose weights and positions belong to the tests of backbones; only
/// its dropped branches belong to those of DINO.
pub const BACKBONE: &str = "dino/backbone";

/// Which of the two networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The one that learns.
    Student,
    /// The one that follows.
    Teacher,
}

/// What an expected tensor of DINO is.
#[derive(Debug, Clone, PartialEq)]
pub enum Expectation {
    /// Outputs for all crops that a network sees.
    Outputs(Side),
    /// Loss of the first iteration.
    Loss,
    /// Loss of the first outputs at the temperatures of the epochs.
    LossByEpoch,
    /// The centre after the first batch.
    Centre,
    /// A gradient of the first iteration before it is clipped, with the
    /// parameter's name.
    Gradient(String),
    /// A parameter of the teacher after one update towards the first student,
    /// with the share of it that is kept.
    Average(String, f64),
    /// Loss of each iteration.
    Losses,
    /// Centre after each iteration.
    Centres,
    /// A parameter after so many iterations.
    After(Side, String, usize),
    /// A schedule by step.
    Cosine {
        /// Value at the end of the warm-up.
        base: f64,
        /// Value that is never reached.
        last: f64,
        /// Steps of warm-up.
        warmup: usize,
        /// All steps.
        steps: usize,
    },
    /// The teacher's temperature by epoch.
    Temperature {
        /// First value of the warm-up.
        first: f64,
        /// Last value.
        last: f64,
        /// Epochs of warm-up.
        warmup: usize,
        /// All epochs.
        epochs: usize,
    },
    /// Features of a network of which some branches are dropped.
    Dropped,
}

impl Expectation {
    /// What an expected tensor of a case is; `None` for what other tests
    /// check.
    ///
    /// # Panics
    /// When no test checks it.
    pub fn of(case: &GoldenCase, entry: &TensorEntry) -> Option<Self> {
        let own = Self::read(entry);
        if case.manifest.case == BACKBONE {
            return own.filter(|own| *own == Self::Dropped);
        }
        Some(own.unwrap_or_else(|| case.unknown(&entry.name)))
    }

    fn read(entry: &TensorEntry) -> Option<Self> {
        let name = entry.name.as_str();
        if let Some(arguments) = entry.meaning.strip_prefix("cosine_scheduler(") {
            return Self::cosine(arguments.strip_suffix(')')?);
        }
        if let Some(arguments) = entry
            .meaning
            .strip_prefix("teacher temp per epoch (warmup ")
        {
            return Self::temperature(arguments.split(" epochs;").next()?);
        }
        if let Some(parameter) = name.strip_prefix("ema1.") {
            let (_, rest) = entry.meaning.split_once("ONE EMA update m=")?;
            let (momentum, _) = rest.split_once(' ')?;
            return Some(Self::Average(parameter.into(), momentum.parse().ok()?));
        }
        for (prefix, side) in [("student.", Side::Student), ("teacher.", Side::Teacher)] {
            if let Some(parameter) = name.strip_prefix(prefix) {
                let (_, rest) = entry.meaning.split_once(" after ")?;
                let iterations = rest.strip_suffix(" iterations")?.parse().ok()?;
                return Some(Self::After(side, parameter.into(), iterations));
            }
        }
        if entry.meaning.starts_with("raw gradient of ") {
            return Some(Self::Gradient(name.into()));
        }
        Some(match name {
            "teacher_out" => Self::Outputs(Side::Teacher),
            "student_out" => Self::Outputs(Side::Student),
            "loss" => Self::Loss,
            "loss_by_epoch" => Self::LossByEpoch,
            "center_after" => Self::Centre,
            "loop.losses" => Self::Losses,
            "loop.centers" => Self::Centres,
            "droppath_cls" => Self::Dropped,
            _ => return None,
        })
    }

    /// `base=0.1, final=0, epochs=6, niter=7, warmup_epochs=2, start=0`.
    fn cosine(arguments: &str) -> Option<Self> {
        let number = |wanted: &str| -> Option<f64> {
            let mut pairs = arguments.split(", ").filter_map(|one| one.split_once('='));
            pairs.find(|(name, _)| *name == wanted)?.1.parse().ok()
        };
        // Ours always begin with 0.
        if number("start")? != 0.0 {
            return None;
        }
        let steps_per_epoch = number("niter")?;
        Some(Self::Cosine {
            base: number("base")?,
            last: number("final")?,
            warmup: (number("warmup_epochs")? * steps_per_epoch) as usize,
            steps: (number("epochs")? * steps_per_epoch) as usize,
        })
    }

    /// `0.04->0.07 over 30 of 100`.
    fn temperature(arguments: &str) -> Option<Self> {
        let (values, epochs) = arguments.split_once(" over ")?;
        let (first, last) = values.split_once("->")?;
        let (warmup, epochs) = epochs.split_once(" of ")?;
        Some(Self::Temperature {
            first: first.parse().ok()?,
            last: last.parse().ok()?,
            warmup: warmup.parse().ok()?,
            epochs: epochs.parse().ok()?,
        })
    }
}

/// The plain numbers of a case by name, without those that other tests check.
///
/// # Panics
/// When no test checks one of them.
pub fn scalars(case: &GoldenCase) -> Vec<(&str, &Value)> {
    let all = case.manifest.scalars.as_object().into_iter().flatten();
    all.map(|(name, value)| match name.as_str() {
        "clip_norms_per_iteration"
        | "clipped_params_per_iteration"
        | "adam_step_counts_after_4"
        | "param_groups"
        | "step_inputs"
        | "droppath_rates" => (name.as_str(), value),
        _ => case.unknown(name),
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, meaning: &str) -> TensorEntry {
        serde_json::from_value(serde_json::json!({
            "name": name, "file": "t.safetensors", "shape": [1], "role": "expected",
            "meaning": meaning,
        }))
        .expect("an entry")
    }

    #[test]
    fn names_and_meanings_are_understood_or_refused() {
        let read = |name, meaning| Expectation::read(&entry(name, meaning));
        assert_eq!(
            read(
                "lr",
                "cosine_scheduler(base=0.1, final=1e-06, epochs=6, niter=7, warmup_epochs=2, start=0)"
            ),
            Some(Expectation::Cosine {
                base: 0.1,
                last: 1e-6,
                warmup: 14,
                steps: 42,
            })
        );
        assert_eq!(
            read(
                "temp",
                "teacher temp per epoch (warmup 0.04->0.07 over 30 of 100 epochs; linspace)"
            ),
            Some(Expectation::Temperature {
                first: 0.04,
                last: 0.07,
                warmup: 30,
                epochs: 100,
            })
        );
        assert_eq!(
            read("student.head.mlp.0.bias", "student after 3 iterations"),
            Some(Expectation::After(
                Side::Student,
                "head.mlp.0.bias".into(),
                3
            ))
        );
        assert_eq!(read("student.head.mlp.0.bias", "a bias"), None);
        assert_eq!(read("attention", "softmax"), None);
    }

    fn case(name: &str) -> GoldenCase {
        GoldenCase {
            folder: super::super::folder(),
            manifest: serde_json::from_value(serde_json::json!({
                "case": name, "config": {}, "tensors": [], "scalars": { "flops": 9 },
            }))
            .expect("a manifest"),
        }
    }

    #[test]
    #[should_panic(expected = "dino/new expects `attention`, which no test checks")]
    fn an_expected_tensor_that_no_test_checks_is_a_failure() {
        Expectation::of(&case("dino/new"), &entry("attention", ""));
    }

    #[test]
    #[should_panic(expected = "dino/new expects `flops`, which no test checks")]
    fn an_expected_number_that_no_test_checks_is_a_failure() {
        scalars(&case("dino/new"));
    }
}
