//! Thresholds for a stated miss rate.
//!
//! A defect class is flagged from a probability on. Of the n validation tiles
//! of the class, ordered by that probability, the k least probable may stay
//! below: k is the largest number whose exact upper bound in n tiles
//! ([`bounds::tolerated`]) is at most the miss rate, and the threshold is the
//! largest that leaves no more of them out, the probability of the next tile.
//!
//! k follows from n and the rate alone, so that the bound holds although the
//! same tiles choose the threshold: the rate below the (k + 1)th of n tiles
//! has the distribution Beta(k + 1, n - k) whatever the network (Wilks, Annals
//! of Mathematical Statistics 12, 1941), and its quantile is the bound. It
//! holds for tiles as the validation part has them, which must not be drawn
//! from the same pieces as those that were trained on. The validation part has
//! also chosen the best epoch and the temperature; the figures on the test
//! part are the honest ones.
//!
//! A class of too few tiles to prove the rate is marked. It gets the threshold
//! that misses none of them, unless that lies above one half: a class as
//! probable as that is the most probable one and flagged without a threshold,
//! and so are others, while few tiles say little of how improbable the next
//! will be. A class without tiles gets none.
//!
//! * [`bounds`]: exact bounds of a rate.
//! * [`calibration`]: temperature scaling.

pub mod bounds;
pub mod calibration;

use std::collections::BTreeMap;

use crate::card::{
    Calibration, ClassFigures, ClassPoint, NO_DEFECT, OperatingFigures, OperatingPoint, OutputKind,
};
use crate::verdict::{VerdictRule, softmax};
use crate::verify::DEFAULT_TOLERANCE;

/// Labelled tiles of one part of a table, and what a network says of them.
#[derive(Debug, Clone, Copy)]
pub struct Judged<'a> {
    /// The classes that the network tells apart, in its order.
    pub classes: &'a [String],
    /// True class of each tile.
    pub labels: &'a [usize],
    /// Label of each tile in the table; of a screen, which knows one class of
    /// defects, another than that of its class.
    pub kinds: &'a [String],
    /// `[tiles, classes]`, row-major.
    pub logits: &'a [f32],
    /// The part: `train`, `val` or `test`.
    pub split: &'a str,
}

/// Temperature and thresholds, and what they come to.
#[derive(Debug, Clone, PartialEq)]
pub struct Chosen {
    /// From logits to probabilities.
    pub calibration: Calibration,
    /// Least probability at which each defect class is flagged.
    pub thresholds: BTreeMap<String, f32>,
    /// What they were chosen for, and what they come to on the tiles that they
    /// were chosen by.
    pub point: OperatingPoint,
}

/// Chooses temperature and thresholds for a miss rate, above 0 and below 1, by the
/// tiles of the validation part. `None` when no class means "no defect".
pub fn choose(tiles: Judged<'_>, miss_rate: f64) -> Option<Chosen> {
    let classes = tiles.classes;
    let calibration = calibration::fit(tiles);
    let mut probabilities = tiles.logits.to_vec();
    for scores in probabilities.chunks_exact_mut(classes.len()) {
        softmax(scores, calibration.temperature);
    }
    let mut thresholds = BTreeMap::new();
    let mut points = BTreeMap::new();
    for (class, name) in classes.iter().enumerate() {
        if name == NO_DEFECT {
            continue;
        }
        let own = |(tile, _): (usize, &usize)| probabilities[tile * classes.len() + class];
        let labels = tiles.labels.iter().enumerate();
        let mut own: Vec<f32> = labels
            .filter(|(_, label)| **label == class)
            .map(own)
            .collect();
        own.sort_by(f32::total_cmp);
        let count = own.len() as u64;
        let tolerated = bounds::tolerated(count, miss_rate);
        points.insert(
            name.clone(),
            ClassPoint {
                tiles: count,
                tolerated: tolerated.unwrap_or(0),
                proven: tolerated.is_some(),
                tiles_needed: bounds::tiles_needed(miss_rate),
            },
        );
        let Some(&next) = own.get(tolerated.unwrap_or(0) as usize) else {
            continue;
        };
        let threshold = next * margin(calibration.temperature);
        if tolerated.is_some() || threshold <= 0.5 {
            thresholds.insert(name.clone(), threshold);
        }
    }
    let figures = figures(tiles, calibration.temperature, &thresholds)?;
    Some(Chosen {
        point: OperatingPoint {
            miss_rate,
            confidence: bounds::CONFIDENCE,
            split: tiles.split.to_owned(),
            classes: points,
            parts: BTreeMap::from([(tiles.split.to_owned(), figures)]),
        },
        calibration,
        thresholds,
    })
}

/// What temperature and thresholds come to on tiles. `None` when no class means "no
/// defect".
pub fn figures(
    tiles: Judged<'_>,
    temperature: f32,
    thresholds: &BTreeMap<String, f32>,
) -> Option<OperatingFigures> {
    let classes = tiles.classes;
    let rule = VerdictRule::new(classes, OutputKind::Logits, temperature, thresholds)?;
    // Of each true class how many tiles have each verdict.
    let mut counts = vec![vec![0u64; classes.len()]; classes.len()];
    // Of each kind of defect of a screen how many tiles are missed, and all.
    let mut kinds: BTreeMap<&str, [u64; 2]> = BTreeMap::new();
    let truth = tiles.labels.iter().zip(tiles.kinds);
    for (logits, (&label, kind)) in tiles.logits.chunks_exact(classes.len()).zip(truth) {
        let verdict = rule.judge(&mut logits.to_vec());
        counts[label][verdict.class] += 1;
        if *kind != classes[label] {
            let [missed, all] = kinds.entry(kind).or_default();
            *missed += u64::from(verdict.class == rule.no_defect());
            *all += 1;
        }
    }
    let clean = &counts[rule.no_defect()];
    let all_clean = clean.iter().sum();
    let of_class = |(class, name): (usize, &String)| {
        let missed = counts[class][rule.no_defect()];
        let figures = ClassFigures {
            missed: bounds::exact(missed, counts[class].iter().sum()),
            false_alarms: bounds::exact(clean[class], all_clean),
        };
        (name.clone(), figures)
    };
    let defects = classes.iter().enumerate();
    Some(OperatingFigures {
        classes: defects
            .filter(|(class, _)| *class != rule.no_defect())
            .map(of_class)
            .collect(),
        kinds: kinds
            .into_iter()
            .map(|(kind, [missed, all])| (kind.to_owned(), bounds::exact(missed, all)))
            .collect(),
        false_alarms: bounds::exact(all_clean - clean[rule.no_defect()], all_clean),
    })
}

/// By what a threshold stands below the probability of the tile that it comes
/// from, so that an engine's rounding does not put the tile below it: logits
/// that are off by the tolerance of an export change a probability by a factor
/// of at most `1 - 2 * tolerance / temperature`.
fn margin(temperature: f32) -> f32 {
    1.0 - 2.0 * DEFAULT_TOLERANCE / temperature
}
