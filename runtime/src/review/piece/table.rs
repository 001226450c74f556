//! How many defects a piece has, and where they are dense.

use std::collections::BTreeMap;

use millsight_export::card::NO_DEFECT;
use serde::Serialize;

use super::{Defect, Finding};

/// Length of the stretches over which defects are counted, metres.
const STRETCH: f64 = 10.0;

/// What stands for the class of tiles that nobody has judged.
pub(super) const UNJUDGED: &str = "unjudged";

/// How often a class was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct ClassCount {
    /// The class, or `unjudged`.
    pub class: String,
    /// Defects of it: groups of neighbouring tiles.
    pub defects: usize,
    /// Tiles that are taken for it: by reviewers, or by the model where they have not
    /// decided.
    pub tiles: usize,
    /// Tiles that the model flagged as it and of which reviewers say the same.
    pub confirmed: usize,
    /// Tiles that the model flagged as it and in which reviewers see no defect.
    pub false_alarms: usize,
}

/// Counts each class that occurs.
pub(super) fn classes(findings: &[Finding], defects: &[Defect]) -> Vec<ClassCount> {
    let mut counts: BTreeMap<&str, ClassCount> = BTreeMap::new();
    for finding in findings {
        let taken_for = finding.taken_for().unwrap_or(UNJUDGED);
        if taken_for != NO_DEFECT {
            counts.entry(taken_for).or_default().tiles += 1;
        }
        if let (Some(class), Some(reviewed)) = (&finding.class, &finding.reviewed) {
            let count = counts.entry(class).or_default();
            count.confirmed += usize::from(reviewed == class);
            count.false_alarms += usize::from(reviewed == NO_DEFECT);
        }
    }
    for defect in defects {
        let class = defect.class.as_deref().unwrap_or(UNJUDGED);
        counts.entry(class).or_default().defects += 1;
    }
    let named = counts.into_iter().map(|(class, count)| ClassCount {
        class: class.to_owned(),
        ..count
    });
    named.collect()
}

/// Defects that begin in a stretch of 10 m.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Stretch {
    /// Where it begins, metres.
    pub from_m: f64,
    /// Defects by class, `unjudged` among them.
    pub defects: BTreeMap<String, usize>,
}

/// Counts the defects of each stretch of a piece, those without any too.
pub(super) fn stretches(defects: &[Defect], length_m: f64) -> Vec<Stretch> {
    let count = (length_m / STRETCH).ceil().max(0.0) as usize;
    let mut stretches: Vec<Stretch> = (0..count)
        .map(|number| Stretch {
            from_m: number as f64 * STRETCH,
            defects: BTreeMap::new(),
        })
        .collect();
    for defect in defects {
        // What begins before the head, as a clock that jumps may say, is of the first.
        let number = (defect.from_m / STRETCH).max(0.0) as usize;
        if let Some(stretch) = stretches.get_mut(number.min(count.saturating_sub(1))) {
            let class = defect.class.as_deref().unwrap_or(UNJUDGED);
            *stretch.defects.entry(class.to_owned()).or_default() += 1;
        }
    }
    stretches
}
