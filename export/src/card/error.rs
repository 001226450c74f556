//! What can be wrong with a card.

use super::{InputSpec, ModelCard, NO_DEFECT};

/// What is wrong with a card, and what to do about it.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CardError {
    /// Another program's version.
    #[error(
        "its `schema` is {found}, but this program knows versions 1 to {}; use the program that \
         wrote it, or a newer one",
        ModelCard::SCHEMA
    )]
    Schema {
        /// The version found.
        found: u32,
    },
    /// Fewer than two classes.
    #[error(
        "`classes` has {count} name(s), but a classifier needs at least two; list one name for each score of the network, in order"
    )]
    TooFewClasses {
        /// How many there are.
        count: usize,
    },
    /// A class without a name.
    #[error("class {index} (counted from 0) of `classes` has no name")]
    UnnamedClass {
        /// Its index.
        index: usize,
    },
    /// Two classes of one name.
    #[error(
        "`classes` names `{class}` twice, at {first} and {second} (counted from 0); give every class a name of its own"
    )]
    DuplicateClass {
        /// The name.
        class: String,
        /// Index of its first use.
        first: usize,
        /// Index of its second use.
        second: usize,
    },
    /// No class for a tile without defect.
    #[error(
        "none of the classes ({classes}) is `{NO_DEFECT}`; rename the one that means \"nothing wrong here\""
    )]
    NoDefectMissing {
        /// The classes there are.
        classes: String,
    },
    /// A threshold for a class that does not exist.
    #[error(
        "`thresholds` names `{class}`, which is none of the classes ({classes}); correct the name or remove the line"
    )]
    UnknownThreshold {
        /// The name.
        class: String,
        /// The classes there are.
        classes: String,
    },
    /// A threshold for the class that is never flagged.
    #[error("`thresholds` names `{NO_DEFECT}`, which is never flagged; remove the line")]
    NoDefectThreshold,
    /// A threshold that is no probability.
    #[error("the threshold of `{class}` is {threshold}, but a probability lies between 0 and 1")]
    Threshold {
        /// The class.
        class: String,
        /// Its threshold.
        threshold: f32,
    },
    /// A temperature by which one cannot divide.
    #[error(
        "`calibration.temperature` is {temperature}, but logits are divided by it: it must be \
         greater than 0 (1 to leave them as they are)"
    )]
    Temperature {
        /// What it is.
        temperature: f32,
    },
    /// A temperature for a network that gives probabilities.
    #[error(
        "`calibration` divides logits, but `output.kind` is \"probabilities\"; remove one of them"
    )]
    CalibratedProbabilities,
    /// A figure that is no number.
    #[error("`{name}` is {value}, which is not a finite number; remove the line")]
    NotFinite {
        /// Its name.
        name: String,
        /// What it is.
        value: f64,
    },
    /// Neither grey nor RGB.
    #[error("`input.channels` is {channels}, but must be 1 (grey) or 3 (RGB)")]
    Channels {
        /// What it is.
        channels: usize,
    },
    /// A side that no network's input has.
    #[error(
        "`input.{side}` is {pixels}, but must be 1 to {} pixels; state it where the graph leaves it open",
        InputSpec::LARGEST_SIDE
    )]
    Side {
        /// `width` or `height`.
        side: &'static str,
        /// What it is.
        pixels: usize,
    },
    /// A mean that is no number.
    #[error("`preprocessing.mean` of channel {channel} is {mean}, which is not a finite number")]
    Mean {
        /// Index of the channel.
        channel: usize,
        /// What it is.
        mean: f32,
    },
    /// A standard deviation by which one cannot divide.
    #[error(
        "`preprocessing.std` of channel {channel} is {std}, but values are divided by it: it must be greater than 0 (1 to leave them as they are)"
    )]
    Std {
        /// Index of the channel.
        channel: usize,
        /// What it is.
        std: f32,
    },
}
