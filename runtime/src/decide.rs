//! Scores become a verdict.

use std::collections::BTreeMap;

use millsight_export::card::{ModelCard, NO_DEFECT, OutputKind};

/// Turns the network's scores into verdicts by the thresholds of the card and
/// of the station.
#[derive(Debug, Clone)]
pub struct Decider {
    classes: Vec<String>,
    no_defect: usize,
    kind: OutputKind,
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

/// Why thresholds and card do not fit.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecideError {
    /// The card has no class that means "no defect".
    #[error(
        "the model's card has no class `{NO_DEFECT}`, so that no tile could be cleared; its classes are: {classes}"
    )]
    NoCleanClass {
        /// The card's classes.
        classes: String,
    },
    /// A threshold for a class that the model does not know.
    #[error(
        "there is a threshold for the class `{class}`, which the model does not know; its classes are: {classes}"
    )]
    UnknownClass {
        /// The class.
        class: String,
        /// The card's classes.
        classes: String,
    },
}

impl Decider {
    /// A decider for a card; thresholds of the station replace those of the
    /// card, class by class.
    ///
    /// # Errors
    /// When the card has no clean class, or a threshold names a class that
    /// the model does not know.
    pub fn new(card: &ModelCard, station: &BTreeMap<String, f32>) -> Result<Self, DecideError> {
        let all = || card.classes.join(", ");
        let index = |name: &str| card.classes.iter().position(|class| class == name);
        let no_defect =
            index(NO_DEFECT).ok_or_else(|| DecideError::NoCleanClass { classes: all() })?;
        let mut thresholds = vec![None; card.classes.len()];
        for (class, &threshold) in card.thresholds.iter().chain(station) {
            let class = index(class).ok_or_else(|| DecideError::UnknownClass {
                class: class.clone(),
                classes: all(),
            })?;
            thresholds[class] = Some(threshold);
        }
        Ok(Self {
            classes: card.classes.clone(),
            no_defect,
            kind: card.output.kind,
            thresholds,
        })
    }

    /// Class names by index.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// Names of the defect classes with their indices.
    pub fn defects(&self) -> impl Iterator<Item = (usize, &str)> {
        self.classes
            .iter()
            .enumerate()
            .filter(|(index, _)| *index != self.no_defect)
            .map(|(index, name)| (index, name.as_str()))
    }

    /// Replaces the scores of one tile by its probabilities and gives the
    /// verdict: the most probable of the defect classes that reach their
    /// threshold, or that are the most probable of all where they have none;
    /// otherwise no defect.
    pub fn decide(&self, scores: &mut [f32]) -> Verdict {
        if self.kind == OutputKind::Logits {
            softmax(scores);
        }
        let most_probable = most_probable(scores);
        let flagged = self
            .defects()
            .map(|(class, _)| class)
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

/// Softmax in place, shifted by the maximum so that it cannot overflow.
fn softmax(scores: &mut [f32]) {
    let maximum = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for score in scores.iter_mut() {
        *score = (*score - maximum).exp();
        sum += *score;
    }
    for score in scores {
        *score /= sum;
    }
}

/// Whether scores are numbers: a network that gives NaN has not judged.
pub fn are_finite(scores: &[f32]) -> bool {
    scores.iter().all(|score| score.is_finite())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use millsight_export::card::{ElementType, InputSpec, OutputSpec, Preprocessing, Provenance};

    fn card(thresholds: &[(&str, f32)]) -> ModelCard {
        ModelCard {
            schema: ModelCard::SCHEMA,
            name: "test".into(),
            architecture: "vit".into(),
            classes: ["no_defect", "cracks", "overfill"]
                .map(String::from)
                .to_vec(),
            input: InputSpec {
                name: "tile".into(),
                width: 8,
                height: 8,
                channels: 1,
                element: ElementType::U8,
            },
            output: OutputSpec {
                name: "logits".into(),
                kind: OutputKind::Logits,
            },
            preprocessing: Preprocessing::imagenet(),
            thresholds: thresholds.iter().map(|&(k, v)| (k.into(), v)).collect(),
            provenance: Provenance::default(),
        }
    }

    fn verdict(
        card_thresholds: &[(&str, f32)],
        station: &[(&str, f32)],
        scores: [f32; 3],
    ) -> Verdict {
        let station = station.iter().map(|&(k, v)| (k.to_owned(), v)).collect();
        let decider = Decider::new(&card(card_thresholds), &station).unwrap();
        let mut scores = scores;
        decider.decide(&mut scores)
    }

    #[test]
    fn without_thresholds_the_most_probable_class_wins() {
        assert_eq!(verdict(&[], &[], [0.0, 3.0, 1.0]).class, 1);
        let clean = verdict(&[], &[], [3.0, 1.0, 1.0]);
        assert!(!clean.flagged && clean.class == 0);
    }

    #[test]
    fn a_low_threshold_flags_what_is_not_most_probable() {
        // softmax(1, 0, -5) is about 0.73, 0.27, 0.002.
        let flagged = verdict(&[("cracks", 0.2)], &[], [1.0, 0.0, -5.0]);
        assert!(flagged.flagged && flagged.class == 1);
        assert!((flagged.probability - 0.268).abs() < 1e-3);
    }

    #[test]
    fn a_high_threshold_clears_and_the_station_overrides_the_card() {
        assert!(!verdict(&[("cracks", 0.99)], &[], [0.0, 2.0, 0.0]).flagged);
        assert!(verdict(&[("cracks", 0.99)], &[("cracks", 0.5)], [0.0, 2.0, 0.0]).flagged);
    }

    #[test]
    fn probabilities_sum_to_one_even_for_huge_logits() {
        let decider = Decider::new(&card(&[]), &BTreeMap::new()).unwrap();
        let mut scores = [1e30, -1e30, 0.0];
        let verdict = decider.decide(&mut scores);
        assert_eq!(scores.iter().sum::<f32>(), 1.0);
        assert_eq!(verdict.probability, 1.0);
    }

    #[test]
    fn thresholds_for_unknown_classes_are_refused() {
        let station = BTreeMap::from([("crack".to_owned(), 0.5)]);
        let error = Decider::new(&card(&[]), &station).unwrap_err().to_string();
        assert!(
            error.contains("`crack`") && error.contains("cracks"),
            "{error}"
        );
    }
}
