//! Scores become a verdict.

use std::collections::BTreeMap;

use millsight_export::card::{ModelCard, NO_DEFECT};
pub use millsight_export::verdict::Verdict;
use millsight_export::verdict::VerdictRule;

/// Turns the network's scores into verdicts by the calibration and the
/// thresholds of the card and by the thresholds of the station.
#[derive(Debug, Clone)]
pub struct Decider {
    classes: Vec<String>,
    rule: VerdictRule,
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
        let mut rule =
            VerdictRule::of(card).ok_or_else(|| DecideError::NoCleanClass { classes: all() })?;
        for (class, &threshold) in card.thresholds.iter().chain(station) {
            let index = card.classes.iter().position(|name| name == class);
            let index = index.ok_or_else(|| DecideError::UnknownClass {
                class: class.clone(),
                classes: all(),
            })?;
            rule.set_threshold(index, threshold);
        }
        Ok(Self {
            classes: card.classes.clone(),
            rule,
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
            .filter(|(index, _)| *index != self.rule.no_defect())
            .map(|(index, name)| (index, name.as_str()))
    }

    /// Index of the class that means "no defect".
    pub fn no_defect(&self) -> usize {
        self.rule.no_defect()
    }

    /// How far probabilities are from another verdict than `class`; `None` when the
    /// class is unknown or they are not one for each class. See [`VerdictRule::margin`].
    pub fn margin(&self, class: &str, probabilities: &[f32]) -> Option<f32> {
        let index = self.classes.iter().position(|name| name == class)?;
        (probabilities.len() == self.classes.len()).then(|| self.rule.margin(index, probabilities))
    }

    /// Replaces the scores of one tile by its probabilities and gives the
    /// verdict; see [`VerdictRule::judge`].
    pub fn decide(&self, scores: &mut [f32]) -> Verdict {
        self.rule.judge(scores)
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
    use millsight_export::card::{
        ElementType, InputSpec, OutputKind, OutputSpec, Preprocessing, Provenance,
    };

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
                distance: None,
            },
            preprocessing: Preprocessing::imagenet(),
            thresholds: thresholds.iter().map(|&(k, v)| (k.into(), v)).collect(),
            calibration: None,
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
    fn a_high_threshold_clears_and_the_station_overrides_the_card() {
        assert!(!verdict(&[("cracks", 0.99)], &[], [0.0, 2.0, 0.0]).flagged);
        assert!(verdict(&[("cracks", 0.99)], &[("cracks", 0.5)], [0.0, 2.0, 0.0]).flagged);
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
