//! How things went over pieces and shifts: what was found, how far people agree, and
//! whether the material, the light or the camera has changed.

mod agreement;
mod drift;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};

use jiff::{SignedDuration, Timestamp};
use millsight_export::card::{NO_DEFECT, Proportion};
use millsight_export::operating::bounds::exact;
use rusqlite::params;
use serde::{Deserialize, Serialize};

use super::error::ReviewError;
use super::reliability::agreed;
use super::store::Review;
pub use agreement::Agreement;
pub use drift::Distribution;

/// Length of a shift; the first of a day begins at six.
const SHIFT_HOURS: i64 = 8;
const FIRST_SHIFT: i64 = 6;

/// What is summed up in one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Span {
    /// A piece.
    #[default]
    Piece,
    /// Eight hours from 6, 14 or 22 o'clock on.
    Shift,
    /// A day from 6 o'clock on.
    Day,
}

/// What happened in a span.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Period {
    /// What the piece is called, or when the shift or the day began, RFC 3339 in UTC.
    pub name: String,
    /// Number of the piece, where it is one.
    pub piece: Option<i64>,
    /// When it began, RFC 3339 in UTC.
    pub begun: String,
    /// Tiles with material.
    pub tiles: u64,
    /// Tiles without material.
    pub background: u64,
    /// Tiles that were unjudged when their row was settled.
    pub unjudged: u64,
    /// Flagged tiles by class.
    pub flagged: BTreeMap<String, u64>,
    /// Share of the flagged tiles, of those on which all reviewers agree, in which they
    /// see no defect; with exact bounds of 95 %.
    #[schema(value_type = Object)]
    pub false_alarms: Proportion,
    /// How suspicious the tiles looked to the screen, beside all before.
    pub suspicion: Distribution,
    /// How bright they were, beside all before.
    pub brightness: Distribution,
    /// How far the judged ones were from the training data of the model, from 0 to 4 with
    /// 1 as usual there, beside all before of that model: the last one of the period.
    /// Empty where it does not tell.
    pub distance: Distribution,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct History {
    /// From the first to the last.
    pub periods: Vec<Period>,
    /// How far people agree, over all of the record.
    pub agreement: Agreement,
}

/// Counts over a minute or less, as they are recorded.
struct Counted {
    piece: i64,
    name: String,
    moment: String,
    background: u64,
    cleared: u64,
    judged: u64,
    unjudged: u64,
    flagged: BTreeMap<String, u64>,
    suspicion: Vec<u64>,
    brightness: Vec<u64>,
    distance: Vec<u64>,
    model: i64,
}

/// A period on its way.
#[derive(Default)]
struct Sum {
    name: String,
    piece: Option<i64>,
    begun: String,
    tiles: u64,
    background: u64,
    unjudged: u64,
    flagged: BTreeMap<String, u64>,
    suspicion: Vec<u64>,
    brightness: Vec<u64>,
    /// Of the last model alone.
    distance: Vec<u64>,
    model: i64,
    reviewed: u64,
    false_alarms: u64,
}

impl Review {
    /// The last `most` periods. Shifts and days begin by a clock that is `ahead` of UTC.
    ///
    /// # Errors
    /// When a database cannot be read.
    pub fn history(
        &self,
        span: Span,
        ahead: SignedDuration,
        most: usize,
    ) -> Result<History, ReviewError> {
        let mut sums: BTreeMap<String, Sum> = BTreeMap::new();
        let key = |piece: i64, moment: &str| match span {
            Span::Piece => format!("{piece:020}"),
            Span::Shift => beginning(moment, SHIFT_HOURS, ahead),
            Span::Day => beginning(moment, 24, ahead),
        };
        for counted in self.counted()? {
            let key = key(counted.piece, &counted.moment);
            let sum = sums.entry(key.clone()).or_insert_with(|| Sum {
                name: match span {
                    Span::Piece => counted.name.clone(),
                    Span::Shift | Span::Day => key,
                },
                piece: (span == Span::Piece).then_some(counted.piece),
                begun: counted.moment.clone(),
                ..Sum::default()
            });
            sum.add(&counted);
        }
        for (piece, moment, is_false) in self.reviewed_flags()? {
            if let Some(sum) = sums.get_mut(&key(piece, &moment)) {
                sum.reviewed += 1;
                sum.false_alarms += u64::from(is_false);
            }
        }
        let mut suspicion = drift::Reference::default();
        let mut brightness = drift::Reference::default();
        let mut distance: HashMap<i64, drift::Reference> = HashMap::new();
        let mut periods: Vec<Period> = sums
            .into_values()
            .map(|sum| Period {
                suspicion: suspicion.beside(&sum.suspicion),
                brightness: brightness.beside(&sum.brightness),
                distance: distance.entry(sum.model).or_default().beside(&sum.distance),
                name: sum.name,
                piece: sum.piece,
                begun: sum.begun,
                tiles: sum.tiles,
                background: sum.background,
                unjudged: sum.unjudged,
                flagged: sum.flagged,
                false_alarms: exact(sum.false_alarms, sum.reviewed),
            })
            .collect();
        periods.drain(..periods.len().saturating_sub(most));
        Ok(History {
            periods,
            agreement: self.agreement()?,
        })
    }

    fn counted(&self) -> Result<Vec<Counted>, ReviewError> {
        let sql = "SELECT statistics.piece, piece.name, statistics.moment, \
             statistics.background, statistics.cleared, statistics.judged, statistics.unjudged, \
             statistics.flagged, statistics.suspicion, statistics.brightness, \
             statistics.distance, statistics.model \
             FROM record.statistics JOIN record.piece ON piece.id = statistics.piece \
             ORDER BY statistics.id";
        self.all(sql, [], |row| {
            let count = |column| row.get::<_, i64>(column).map(i64::unsigned_abs);
            let text = |column| row.get::<_, String>(column);
            Ok(Counted {
                piece: row.get(0)?,
                name: row.get(1)?,
                moment: row.get(2)?,
                background: count(3)?,
                cleared: count(4)?,
                judged: count(5)?,
                unjudged: count(6)?,
                flagged: serde_json::from_str(&text(7)?).unwrap_or_default(),
                suspicion: serde_json::from_str(&text(8)?).unwrap_or_default(),
                brightness: serde_json::from_str(&text(9)?).unwrap_or_default(),
                distance: serde_json::from_str(&text(10)?).unwrap_or_default(),
                model: row.get(11)?,
            })
        })
    }

    /// Flagged tiles on which all reviewers agree: piece, moment, and whether they see no
    /// defect.
    fn reviewed_flags(&self) -> Result<Vec<(i64, String, bool)>, ReviewError> {
        let sql = format!(
            "SELECT tile.piece, tile.settled, agreed.class = ?1 FROM ({}) agreed \
             JOIN record.tile ON tile.id = agreed.tile \
             WHERE agreed.class IS NOT NULL AND tile.state = 'judged' AND tile.class <> ?1",
            agreed()
        );
        self.all(&sql, params![NO_DEFECT], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
    }
}

impl Sum {
    fn add(&mut self, counted: &Counted) {
        self.tiles += counted.cleared + counted.judged + counted.unjudged;
        self.background += counted.background;
        self.unjudged += counted.unjudged;
        for (class, count) in &counted.flagged {
            *self.flagged.entry(class.clone()).or_default() += count;
        }
        drift::add(&mut self.suspicion, &counted.suspicion);
        drift::add(&mut self.brightness, &counted.brightness);
        if self.model != counted.model {
            self.model = counted.model;
            self.distance.clear();
        }
        drift::add(&mut self.distance, &counted.distance);
    }
}

/// When the shift of so many hours began in which a moment lies, RFC 3339 in UTC. What
/// is no moment, as only a damaged record has it, stands for itself.
fn beginning(moment: &str, hours: i64, ahead: SignedDuration) -> String {
    let Ok(moment_at) = moment.parse::<Timestamp>() else {
        return moment.to_owned();
    };
    let length = hours * 3600;
    let shifted = ahead.as_secs() - FIRST_SHIFT * 3600;
    let begun = (moment_at.as_second() + shifted).div_euclid(length) * length - shifted;
    Timestamp::from_second(begun).map_or_else(|_| moment.to_owned(), |begun| begun.to_string())
}
