//! Scores become probabilities and a verdict: the only implementation, so that
//! what the trainer says of an operating point is what the line does.

use std::collections::BTreeMap;

use crate::card::{ModelCard, NO_DEFECT, OutputKind};

/// How the scores of a tile become a verdict.
#[derive(Debug, Clone, PartialEq)]
pub struct VerdictRule {
    no_defect: usize,
    kind: OutputKind,
    temperature: f32,
    /// For each class its threshold; `None`: flagged when most probable.
    thresholds: Vec<Option<f32>>,
}

/// What the classifier says of a tile.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Verdict {
    /// Index of the class in the card.
    pub class: usize,
    /// Probability of that class, 0 to 1.
    pub probability: f32,
    /// Whether the class is a defect.
    pub flagged: bool,
}

impl VerdictRule {
    /// The rule of a card; `None` when none of its classes is [`NO_DEFECT`].
    pub fn of(card: &ModelCard) -> Option<Self> {
        let temperature = match &card.calibration {
            Some(calibration) => calibration.temperature,
            None => 1.0,
        };
        Self::new(
            &card.classes,
            card.output.kind,
            temperature,
            &card.thresholds,
        )
    }

    /// The rule of thresholds by class; `None` when no class is
    /// [`NO_DEFECT`]. Logits are divided by `temperature`, above 0. A
    /// threshold for another class has no effect.
    pub fn new(
        classes: &[String],
        kind: OutputKind,
        temperature: f32,
        thresholds: &BTreeMap<String, f32>,
    ) -> Option<Self> {
        let threshold = |class: &String| thresholds.get(class).copied();
        Some(Self {
            no_defect: classes.iter().position(|class| class == NO_DEFECT)?,
            kind,
            temperature,
            thresholds: classes.iter().map(threshold).collect(),
        })
    }

    /// Flags a class from a probability on, 0 to 1.
    ///
    /// # Panics
    /// When there is no class of that index.
    pub fn set_threshold(&mut self, class: usize, threshold: f32) {
        self.thresholds[class] = Some(threshold);
    }

    /// Index of the class that means "no defect".
    pub fn no_defect(&self) -> usize {
        self.no_defect
    }

    /// How far probabilities are from another verdict than a flagged `class`, 0 to 1:
    /// by how much the class reaches its threshold, or, where it has none, exceeds the
    /// next probable one.
    ///
    /// # Panics
    /// When there is no class of that index.
    pub fn margin(&self, class: usize, probabilities: &[f32]) -> f32 {
        let reached = self.thresholds[class].unwrap_or_else(|| {
            let others = probabilities
                .iter()
                .enumerate()
                .filter(|&(index, _)| index != class);
            others.map(|(_, &other)| other).fold(0.0, f32::max)
        });
        (probabilities[class] - reached).clamp(0.0, 1.0)
    }

    /// Replaces the scores of one tile, one for each class, by its
    /// probabilities and gives the verdict: the most probable of the defect
    /// classes that reach their threshold, or that are the most probable of
    /// all where they have none; otherwise no defect.
    pub fn judge(&self, scores: &mut [f32]) -> Verdict {
        if self.kind == OutputKind::Logits {
            softmax(scores, self.temperature);
        }
        let most_probable = most_probable(scores);
        let flagged = (0..scores.len())
            .filter(|&class| class != self.no_defect)
            .filter(|&class| match self.thresholds[class] {
                Some(threshold) => scores[class] >= threshold,
                None => class == most_probable,
            })
            .max_by(|&a, &b| scores[a].total_cmp(&scores[b]));
        let class = flagged.unwrap_or(self.no_defect);
        Verdict {
            class,
            probability: scores[class],
            flagged: flagged.is_some(),
        }
    }
}

/// Index of the largest score; the first of equals.
fn most_probable(scores: &[f32]) -> usize {
    let mut best = 0;
    for (index, score) in scores.iter().enumerate() {
        if score.total_cmp(&scores[best]).is_gt() {
            best = index;
        }
    }
    best
}

/// `softmax(logits / temperature)` in place, shifted by the maximum so that it
/// cannot overflow. `temperature` is above 0; 1 changes nothing.
pub fn softmax(logits: &mut [f32], temperature: f32) {
    let maximum = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for logit in logits.iter_mut() {
        *logit = ((*logit - maximum) / temperature).exp();
        sum += *logit;
    }
    for exponential in logits {
        *exponential /= sum;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::card::{Calibration, InputSpec, OutputSpec, Preprocessing, Provenance};

    fn card(thresholds: &[(&str, f32)], temperature: Option<f32>) -> ModelCard {
        ModelCard {
            schema: ModelCard::SCHEMA,
            name: String::new(),
            architecture: String::new(),
            classes: ["no_defect", "cracks", "overfill"]
                .map(String::from)
                .to_vec(),
            input: InputSpec::default(),
            output: OutputSpec::default(),
            preprocessing: Preprocessing::imagenet(),
            thresholds: thresholds.iter().map(|&(k, v)| (k.into(), v)).collect(),
            calibration: temperature.map(|temperature| Calibration {
                temperature,
                ..Calibration::default()
            }),
            provenance: Provenance::default(),
        }
    }

    fn verdict(card: &ModelCard, mut scores: [f32; 3]) -> Verdict {
        VerdictRule::of(card).unwrap().judge(&mut scores)
    }

    #[test]
    fn without_thresholds_the_most_probable_class_wins() {
        let card = card(&[], None);
        assert_eq!(verdict(&card, [0.0, 3.0, 1.0]).class, 1);
        let clean = verdict(&card, [3.0, 1.0, 1.0]);
        assert!(!clean.flagged && clean.class == 0);
    }

    #[test]
    fn a_low_threshold_flags_what_is_not_most_probable() {
        // softmax(1, 0, -5) is about 0.73, 0.27, 0.002.
        let flagged = verdict(&card(&[("cracks", 0.2)], None), [1.0, 0.0, -5.0]);
        assert!(flagged.flagged && flagged.class == 1);
        assert!((flagged.probability - 0.268).abs() < 1e-3);
    }

    #[test]
    fn the_temperature_comes_before_the_threshold() {
        // Of softmax((2, 0, 0) / 2) the second is 0.212, of softmax(2, 0, 0) 0.107.
        let thresholds = [("cracks", 0.2)];
        assert!(!verdict(&card(&thresholds, None), [2.0, 0.0, -9.0]).flagged);
        let flagged = verdict(&card(&thresholds, Some(2.0)), [2.0, 0.0, -9.0]);
        assert!(flagged.flagged);
        assert!((flagged.probability - 0.268).abs() < 2e-3, "{flagged:?}");
    }

    #[test]
    fn the_margin_is_what_lies_between_a_verdict_and_another() {
        let rule = VerdictRule::of(&card(&[("cracks", 0.25)], None)).unwrap();
        assert_eq!(rule.margin(1, &[0.4, 0.375, 0.225]), 0.125);
        assert_eq!(rule.margin(2, &[0.125, 0.25, 0.625]), 0.375);
    }

    #[test]
    fn probabilities_sum_to_one_even_for_huge_logits() {
        let rule = VerdictRule::of(&card(&[], None)).unwrap();
        let mut scores = [1e30, -1e30, 0.0];
        let verdict = rule.judge(&mut scores);
        assert_eq!(scores.iter().sum::<f32>(), 1.0);
        assert_eq!(verdict.probability, 1.0);
    }
}
