//! How far a tile is from the training data, as a card describes it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::CardError;

/// How far a tile is from those that the model was trained on; see [`crate::distance`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Distance {
    /// Name of the graph's output, `[batch, 1]`.
    pub name: String,
    /// Training tiles by which it was measured.
    pub tiles: usize,
    /// SHA-256 of the table that names them.
    pub data_sha256: String,
    /// The distance below which 99 % of them are; half are below 1.
    pub percentile_99: f32,
}

impl Distance {
    /// Numbers that are not finite cannot be written into a model file.
    pub(super) fn validate(&self) -> Result<(), CardError> {
        match self.percentile_99.is_finite() {
            true => Ok(()),
            false => Err(CardError::NotFinite {
                name: "output.distance.percentile_99".to_owned(),
                value: self.percentile_99.into(),
            }),
        }
    }
}

/// For people.
impl fmt::Display for Distance {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "`{}`, in units of the median of {} training tiles; 99 % of them below {:.2}",
            self.name, self.tiles, self.percentile_99
        )
    }
}
