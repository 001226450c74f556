//! What fine-tuning and probing have in common: labelled tiles, class weights,
//! the learning rate, and what is looked at after an epoch.

use burn::tensor::{Device, Tensor};

use super::distillation::Teacher;
use super::loss;
use crate::TrainError;
use crate::data::table::{Split, UNLABELLED};
use crate::data::tiles::Tiles;
use crate::data::{DataError, fraction, order};
use crate::evaluate::metrics::{Confusion, most_probable};
use crate::optimise::schedule::Schedule;
use crate::run::config::{RunConfig, Supervision};
use crate::run::log::Figures;
use crate::training::checkpoint::Position;
use crate::training::{EpochEnd, Event, Moment, parts};

/// The tiles that a classifier learns from, and those that it is judged by.
#[derive(Debug)]
pub(super) struct Labelled {
    pub train: Tiles,
    pub val: Tiles,
}

impl Labelled {
    /// Reads the table; no tile is read yet. A `teacher` names the training tiles
    /// that have no label, which otherwise nobody may give. Both parts together keep at most
    /// `cache_bytes` of tiles in memory.
    pub fn open(
        config: &RunConfig,
        recipe: &Supervision,
        teacher: Option<&Teacher>,
        cache_bytes: usize,
        observe: &mut impl FnMut(Event<'_>),
    ) -> Result<Self, TrainError> {
        let (train, val) = parts::chosen(config, cache_bytes, |rows| {
            let (mut chosen, mut unlabelled): (Vec<_>, Vec<_>) =
                rows.into_iter().partition(|row| row.label != UNLABELLED);
            if let Some(labels) = recipe.labels {
                chosen = fraction::labelled(&chosen, labels.fraction, config.seed);
            }
            if let Some(teacher) = teacher {
                teacher.label(&mut unlabelled, &config.classes);
            }
            chosen.append(&mut unlabelled);
            chosen
        })?;
        let (path, split) = (config.table.clone(), Split::Train.name().into());
        let first = train.labels.first().copied().unwrap_or_default();
        if train.labels.iter().all(|&label| label == first) {
            let class = config.classes[first].clone();
            return Err(DataError::OneClass { path, class, split }.into());
        }
        for (label, class) in config.classes.iter().enumerate() {
            if !train.labels.contains(&label) {
                let class = class.clone();
                return Err(DataError::ClassWithoutTiles { path, class, split }.into());
            }
            if !val.labels.contains(&label) {
                observe(Event::Warning(&format!(
                    "the validation part has no tile of the class {class}: the best epoch is \
                     chosen without it"
                )));
            }
        }
        Ok(Self { train, val })
    }
}

/// How the classes are learnt.
#[derive(Debug)]
pub(super) struct Supervised<'a> {
    pub config: &'a RunConfig,
    pub tiles: &'a Labelled,
    recipe: &'a Supervision,
    class_weights: Vec<f32>,
    schedule: Schedule,
}

impl<'a> Supervised<'a> {
    pub fn new(config: &'a RunConfig, recipe: &'a Supervision, tiles: &'a Labelled) -> Self {
        let steps_per_epoch = tiles.train.len().div_ceil(config.batch_size);
        Self {
            config,
            tiles,
            recipe,
            schedule: Schedule {
                base: recipe.learning_rate,
                last: recipe.final_learning_rate.unwrap_or(recipe.learning_rate),
                warmup: (recipe.warmup_epochs * steps_per_epoch as f64).round() as usize,
                steps: config.epochs * steps_per_epoch,
            },
            class_weights: recipe
                .class_weighting
                .weights(&tiles.train.labels, config.classes.len()),
        }
    }

    /// Which training tiles come in an epoch.
    pub fn order(&self, epoch: usize) -> Vec<usize> {
        let (labels, seed) = (&self.tiles.train.labels, self.config.seed);
        if self.recipe.balanced_sampling {
            order::balanced(labels, self.config.classes.len(), seed, epoch)
        } else {
            order::shuffled(labels.len(), seed, epoch)
        }
    }

    /// The learning rate of a step.
    pub fn rate(&self, moment: Moment) -> f64 {
        self.schedule.rate(moment.overall())
    }

    /// The share of each tile in the loss of its batch.
    pub fn shares(&self, labels: &[usize]) -> Vec<f32> {
        loss::shares(labels, &self.class_weights, self.recipe.loss_reduction)
    }

    /// The loss of some tiles of a batch, from their logits and their shares.
    pub fn loss(
        &self,
        logits: Tensor<2>,
        labels: &[usize],
        shares: &[f32],
        device: &Device,
    ) -> Tensor<1> {
        loss::cross_entropy(logits, labels, shares, self.recipe.focal_gamma, device)
    }

    /// The figures of an epoch (counted from 0) whose weights give the
    /// validation part these logits, and whether it was the last.
    pub fn end_epoch(&self, epoch: usize, position: &Position, logits: &[f32]) -> EpochEnd {
        let (labels, classes) = (&self.tiles.val.labels, self.config.classes.len());
        let confusion = Confusion::of(classes, labels, &most_probable(logits, classes));
        let (reduction, gamma) = (self.recipe.loss_reduction, self.recipe.focal_gamma);
        let loss = loss::of_logits(logits, labels, &self.class_weights, reduction, gamma);
        let score = confusion.balanced_accuracy();
        let figures = [
            ("val_loss", loss),
            ("val_accuracy", confusion.accuracy()),
            ("val_balanced_accuracy", score),
            ("val_macro_f1", confusion.macro_f1()),
        ];
        EpochEnd {
            figures: Figures::from(figures.map(|(name, value)| (name.to_owned(), value))),
            score: Some(score),
            stop: self
                .recipe
                .early_stopping
                .is_some_and(|patience| is_exhausted(patience, epoch, score, position)),
        }
    }
}

/// Whether so many epochs have passed without a better score than the best,
/// which `position` knows up to the epoch before this one.
fn is_exhausted(patience: usize, epoch: usize, score: f64, position: &Position) -> bool {
    let better = position.best_epoch == 0 || score > position.best_score;
    !better && epoch + 1 - position.best_epoch >= patience
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_counts_from_the_best_epoch() {
        let position = Position {
            best_epoch: 3,
            best_score: 0.8,
            ..Position::default()
        };
        assert!(!is_exhausted(2, 3, 0.7, &position));
        assert!(is_exhausted(2, 4, 0.8, &position));
        assert!(!is_exhausted(2, 4, 0.9, &position));
        assert!(!is_exhausted(1, 0, 0.1, &Position::default()));
    }
}
