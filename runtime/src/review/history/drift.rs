//! Whether what comes now is like what came before.

use serde::Serialize;

/// Fewest tiles of which a distribution is compared.
const FEWEST: u64 = 200;

/// What stands for a share of nothing, so that its logarithm is defined.
const LITTLE: f64 = 1e-4;

/// How tiles are distributed.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Distribution {
    /// Tiles in steps of the same width, over the whole range.
    pub tiles: Vec<u64>,
    /// All that came before, in the same steps.
    pub before: Vec<u64>,
    /// Mean, as a share of the range, 0 to 1; none where there are no tiles.
    pub mean: Option<f64>,
    /// The population stability index against all that came before,
    /// `Σ (p - q) ln (p / q)` (Siddiqi, Credit Risk Scorecards, 2006): below 0.1 nothing
    /// has changed, above 0.25 much. None where there are too few tiles.
    pub stability_index: Option<f64>,
}

/// All that came before.
#[derive(Debug, Default)]
pub(super) struct Reference(Vec<u64>);

impl Reference {
    /// Compares tiles with all before, and adds them.
    pub(super) fn beside(&mut self, tiles: &[u64]) -> Distribution {
        let distribution = Distribution {
            tiles: tiles.to_vec(),
            before: self.0.clone(),
            mean: mean(tiles),
            stability_index: index(&self.0, tiles),
        };
        add(&mut self.0, tiles);
        distribution
    }
}

/// Adds counts to others, step by step.
pub(super) fn add(sum: &mut Vec<u64>, counts: &[u64]) {
    if sum.len() < counts.len() {
        sum.resize(counts.len(), 0);
    }
    for (sum, count) in sum.iter_mut().zip(counts) {
        *sum += count;
    }
}

fn mean(tiles: &[u64]) -> Option<f64> {
    let count: u64 = tiles.iter().sum();
    let steps = tiles.iter().enumerate();
    let sum: f64 = steps
        .map(|(step, &count)| (step as f64 + 0.5) * count as f64)
        .sum();
    (count > 0).then(|| sum / count as f64 / tiles.len() as f64)
}

fn index(before: &[u64], now: &[u64]) -> Option<f64> {
    let (all_before, all_now): (u64, u64) = (before.iter().sum(), now.iter().sum());
    if all_before < FEWEST || all_now < FEWEST {
        return None;
    }
    let share = |count: u64, all: u64| (count as f64 / all as f64).max(LITTLE);
    let terms = before.iter().zip(now).map(|(&before, &now)| {
        let (q, p) = (share(before, all_before), share(now, all_now));
        (p - q) * (p / q).ln()
    });
    Some(terms.sum())
}
