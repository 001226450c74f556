//! A screen learns from what a classifier says of the tiles, besides their labels.
//!
//! Knowledge distillation (Hinton, Vinyals and Dean, 2015): the loss of a tile is
//! `(1 - share) · label loss + share · T² · H(p_teacher(T), p_screen(T))`, where
//! `p(T)` is the probability of a defect from logits over the temperature T, and H
//! the cross-entropy. A classifier's defect classes are one class to a screen, so
//! that its log-odds of a defect are the logarithm of the sum of their exponentials
//! less the logit of no_defect. A tile that nobody has labelled has the teacher's
//! loss alone.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData, activation};
use millsight_export::card::NO_DEFECT;

use crate::TrainError;
use crate::data::table::{Row, Split, Table, UNLABELLED};
use crate::data::tiles::Tiles;
use crate::evaluate::judge::Judge;
use crate::machine::Machine;
use crate::run::config::{Distillation, PinnedWeights, RunConfig, below_one, positive};
use crate::training::Event;

/// What the teacher says of the training tiles.
#[derive(Debug)]
pub(super) struct Teacher {
    /// Log-odds of a defect by the path of the tile.
    log_odds: HashMap<String, f32>,
    /// Tiles without a label.
    unlabelled: HashSet<String>,
}

impl Teacher {
    /// Lets the teacher look at the tiles of the training part, as its own run
    /// prepared them.
    pub fn look(
        config: &RunConfig,
        distillation: &Distillation,
        machine: Machine,
        observe: &mut impl FnMut(Event<'_>),
    ) -> Result<Self, TrainError> {
        let mut teacher = Judge::open(distillation.teacher.unchanged()?, machine)?;
        let classes = teacher.classes().to_vec();
        let clean = clean_class(&classes)?;
        let mut rows = Table::read(&config.table)?.part(Split::Train)?;
        let unlabelled = rows.iter().filter(|row| row.label == UNLABELLED);
        let unlabelled = unlabelled.map(|row| row.path.clone()).collect();
        // Whatever their labels, and whether or not the teacher knows them.
        for row in &mut rows {
            row.label.clone_from(&classes[clean]);
        }
        let (form, root) = (teacher.form(), &config.data_root);
        let tiles = Tiles::new(&rows, &classes, root, form, 0, &config.table)?;
        let (mut done, of) = (0, tiles.len());
        observe(Event::Teacher { done, of });
        let logits = teacher.logits(&tiles, machine, |seen| {
            done += seen;
            observe(Event::Teacher { done, of });
        })?;
        let log_odds = logits.chunks_exact(classes.len());
        let log_odds = log_odds.map(|logits| defect_log_odds(logits, clean));
        Ok(Self {
            log_odds: tiles.names.iter().cloned().zip(log_odds).collect(),
            unlabelled,
        })
    }

    /// Names the tiles without a label as the teacher takes them for.
    pub fn label(&self, rows: &mut [Row], classes: &[String]) {
        let defect = classes.iter().find(|class| *class != NO_DEFECT);
        for row in rows.iter_mut().filter(|row| row.label == UNLABELLED) {
            row.label = match (defect, self.log_odds.get(&row.path)) {
                (Some(defect), Some(&log_odds)) if log_odds > 0.0 => defect.clone(),
                _ => NO_DEFECT.to_owned(),
            };
        }
    }
}

/// Refuses a teacher that does not know what is clean.
fn clean_class(classes: &[String]) -> Result<usize, TrainError> {
    let clean = classes.iter().position(|class| class == NO_DEFECT);
    clean.ok_or_else(|| TrainError::NoCleanClass {
        classes: classes.to_vec(),
    })
}

impl Distillation {
    /// Learning from the classifier in a file.
    ///
    /// # Errors
    /// When the file cannot be read, is neither a run's weights nor a model file, or
    /// its classifier does not know what is clean.
    pub fn from_teacher(path: &Path, share: f64, temperature: f64) -> Result<Self, TrainError> {
        clean_class(Judge::open(path, Machine::cpu())?.classes())?;
        Ok(Self {
            teacher: PinnedWeights::of(path)?,
            share,
            temperature,
        })
    }

    /// Refuses settings that are out of range.
    pub(super) fn check(&self) -> Result<(), TrainError> {
        below_one("--teacher-share", self.share)?;
        positive("--teacher-temperature", self.temperature)
    }
}

/// Log-odds of all classes but `clean` together.
fn defect_log_odds(logits: &[f32], clean: usize) -> f32 {
    let defects = || {
        let others = logits
            .iter()
            .enumerate()
            .filter(|(class, _)| *class != clean);
        others.map(|(_, &logit)| logit)
    };
    let largest = defects().fold(f32::NEG_INFINITY, f32::max);
    let sum: f32 = defects().map(|logit| (logit - largest).exp()).sum();
    largest + sum.ln() - logits[clean]
}

/// What is to be learnt from the teacher of each training tile.
#[derive(Debug)]
pub(super) struct Lessons {
    temperature: f32,
    /// Log-odds of a defect.
    log_odds: Vec<f32>,
    /// Share of the teacher in the tile's loss.
    shares: Vec<f32>,
    /// Index of the class `no_defect` among the two of the screen.
    clean: usize,
}

impl Lessons {
    /// Those of the tiles of a run.
    pub fn new(
        teacher: &Teacher,
        distillation: &Distillation,
        tiles: &Tiles,
        config: &RunConfig,
    ) -> Self {
        let names = || tiles.names.iter();
        let of = |name: &String| teacher.log_odds.get(name).copied().unwrap_or_default();
        let share = |name: &String| match teacher.unlabelled.contains(name) {
            true => 1.0,
            false => distillation.share as f32,
        };
        Self {
            temperature: distillation.temperature as f32,
            log_odds: names().map(of).collect(),
            shares: names().map(share).collect(),
            clean: usize::from(config.classes[0] != NO_DEFECT),
        }
    }

    /// The part of each tile's share in the loss of its batch that is left to its
    /// label.
    pub fn left(&self, tiles: &[usize], shares: &[f32]) -> Vec<f32> {
        let pairs = tiles.iter().zip(shares);
        pairs
            .map(|(&tile, share)| share * (1.0 - self.shares[tile]))
            .collect()
    }

    /// The teacher's part of the loss of some tiles, from the screen's logits
    /// `[n, 2]`; `shares` are those of the tiles in the loss of their batch.
    pub fn loss(
        &self,
        logits: Tensor<2>,
        tiles: &[usize],
        shares: &[f32],
        device: &Device,
    ) -> Tensor<1> {
        let n = tiles.len();
        let temperature = self.temperature;
        let mut targets = vec![0.0; 2 * n];
        for (target, &tile) in targets.chunks_exact_mut(2).zip(tiles) {
            let defect = 1.0 / (1.0 + (-self.log_odds[tile] / temperature).exp());
            // T² keeps the size of the gradients.
            let weight = temperature * temperature * self.shares[tile];
            target[self.clean] = weight * (1.0 - defect);
            target[1 - self.clean] = weight * defect;
        }
        for (target, share) in targets.chunks_exact_mut(2).zip(shares) {
            target.iter_mut().for_each(|target| *target *= share);
        }
        let targets: Tensor<2> = Tensor::from_data(TensorData::new(targets, [n, 2]), device);
        let log_probabilities = activation::log_softmax(logits.div_scalar(temperature), 1);
        (log_probabilities * targets).sum().neg()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn defect_classes_count_together() {
        // Probabilities 0.2 of no defect and 0.3, 0.5 of defects.
        let logits = [0.3f32.ln(), 0.2f32.ln(), 0.5f32.ln()];
        let log_odds = defect_log_odds(&logits, 1);
        assert!((log_odds - 4f32.ln()).abs() < 1e-6, "{log_odds}");
        assert_eq!(defect_log_odds(&[500.0, -500.0], 1), 1000.0);
    }

    #[test]
    fn the_loss_is_that_of_its_definition_and_least_where_the_screen_agrees() {
        let device = Device::flex();
        let lessons = Lessons {
            temperature: 2.0,
            log_odds: vec![1.0, -3.0],
            shares: vec![0.25, 1.0],
            clean: 0,
        };
        let shares = [0.5f32, 0.5];
        let loss = |log_odds: [f32; 2]| -> f32 {
            let logits = vec![0.0, log_odds[0], 0.0, log_odds[1]];
            let logits = Tensor::from_data(TensorData::new(logits, [2, 2]), &device);
            lessons
                .loss(logits, &[0, 1], &shares, &device)
                .into_scalar()
        };
        let sigmoid = |x: f32| 1.0 / (1.0 + (-x).exp());
        let entropy = |teacher: f32, screen: f32| {
            let (p, q) = (sigmoid(teacher / 2.0), sigmoid(screen / 2.0));
            -4.0 * (p * q.ln() + (1.0 - p) * (1.0 - q).ln())
        };
        let expected = 0.5 * 0.25 * entropy(1.0, 0.4) + 0.5 * entropy(-3.0, 2.0);
        assert!((loss([0.4, 2.0]) - expected).abs() < 1e-5);
        for other in [[0.9, -3.0], [1.1, -3.0], [1.0, -2.9], [1.0, -3.1]] {
            assert!(loss([1.0, -3.0]) < loss(other));
        }
        assert_eq!(lessons.left(&[1, 0], &shares), [0.0, 0.375]);
    }
}
