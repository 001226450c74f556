//! What a card says of calibration and operating point.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Write};

use serde::{Deserialize, Serialize};

use super::CardError;

/// Temperature scaling (Guo et al., On Calibration of Modern Neural Networks,
/// ICML 2017): probabilities are `softmax(logits / temperature)`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Calibration {
    /// By what the logits are divided, above 0; 1, the default, changes
    /// nothing.
    pub temperature: f32,
    /// Expected calibration error in 15 bins before, 0 to 1.
    pub ece_before: f64,
    /// The same with the temperature.
    pub ece_after: f64,
    /// Number of tiles from which it was measured.
    pub tiles: usize,
    /// The part of the table that they stand in.
    pub split: String,
}

impl Default for Calibration {
    fn default() -> Self {
        Self {
            temperature: 1.0,
            ece_before: 0.0,
            ece_after: 0.0,
            tiles: 0,
            split: String::new(),
        }
    }
}

/// What the thresholds of a card were chosen for, and what they come to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OperatingPoint {
    /// The share of a defect's tiles that may be missed, 0 to 1.
    pub miss_rate: f64,
    /// Confidence of all bounds, 0 to 1.
    pub confidence: f64,
    /// The part of the table from which the thresholds come.
    pub split: String,
    /// How the threshold of each defect class came about.
    pub classes: BTreeMap<String, ClassPoint>,
    /// What they come to on each part of the table that was looked at.
    pub parts: BTreeMap<String, OperatingFigures>,
}

/// How the threshold of one class came about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClassPoint {
    /// Tiles of the class that there were.
    pub tiles: u64,
    /// How many of them may stay below the threshold.
    pub tolerated: u64,
    /// Whether so many tiles prove the miss rate.
    pub proven: bool,
    /// The least number of tiles that can prove it, if none is missed.
    pub tiles_needed: u64,
}

/// What thresholds come to on one part of a table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OperatingFigures {
    /// What they come to for each defect class.
    pub classes: BTreeMap<String, ClassFigures>,
    /// Of a screen, which knows one class of defects: tiles of each kind of
    /// defect that are not flagged.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub kinds: BTreeMap<String, Proportion>,
    /// Tiles without a defect that are flagged as anything.
    pub false_alarms: Proportion,
}

/// What thresholds come to for one defect class.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClassFigures {
    /// Tiles of the class that are not flagged, as this class or another.
    pub missed: Proportion,
    /// Tiles without a defect that are flagged as this class.
    pub false_alarms: Proportion,
}

/// A share of a number of tiles with its exact (Clopper-Pearson) bounds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Proportion {
    /// Tiles that count.
    pub count: u64,
    /// All tiles.
    pub of: u64,
    /// Lower bound of the rate, 0 to 1.
    pub lower: f64,
    /// Upper bound of the rate, 0 to 1.
    pub upper: f64,
}

impl Proportion {
    /// The share itself, 0 to 1; `None` of no tiles.
    pub fn rate(&self) -> Option<f64> {
        (self.of > 0).then(|| self.count as f64 / self.of as f64)
    }
}

/// For people, for example `3 of 120, 2.50 % (0.52 to 7.13)`.
impl Display for Proportion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { count, of, .. } = self;
        let Some(rate) = self.rate() else {
            return write!(formatter, "no tiles");
        };
        let [rate, lower, upper] = [rate, self.lower, self.upper].map(|share| share * 100.0);
        write!(
            formatter,
            "{count} of {of}, {rate:.2} % ({lower:.2} to {upper:.2})"
        )
    }
}

/// For people.
impl Display for Calibration {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // No fit ends at 1 exactly: it is what a card has whose tiles tell none.
        if self.temperature == 1.0 && self.tiles > 0 {
            return write!(
                formatter,
                "1, as {} tiles of the {} part tell none (all are right, or as good as random): \
                 calibration error {:.4}",
                self.tiles, self.split, self.ece_before
            );
        }
        write!(formatter, "{:.4}", self.temperature)?;
        if self.tiles > 0 {
            write!(
                formatter,
                ", from {} tiles of the {} part: calibration error {:.4}, {:.4} before",
                self.tiles, self.split, self.ece_after, self.ece_before
            )?;
        }
        Ok(())
    }
}

impl OperatingPoint {
    /// Thresholds and what they come to, as plain text with a table for each
    /// part.
    pub fn table(&self, thresholds: &BTreeMap<String, f32>) -> String {
        let mut text = format!(
            "operating point: at most {} % of the tiles of a defect missed, by thresholds from the \
             {} part; exact bounds at {} % confidence in parentheses\n",
            percent(self.miss_rate),
            self.split,
            percent(self.confidence),
        );
        // The part that the thresholds come from stands first.
        let mut parts: Vec<_> = self.parts.iter().collect();
        parts.sort_by_key(|(part, _)| **part != self.split);
        for (part, figures) in parts {
            let mut rows =
                vec![[part.as_str(), "threshold", "missed", "false alarms"].map(str::to_owned)];
            for (class, figures) in &figures.classes {
                let threshold = thresholds.get(class);
                rows.push([
                    class.clone(),
                    threshold.map_or("none".into(), |value| format!("{value:.6}")),
                    figures.missed.to_string(),
                    figures.false_alarms.to_string(),
                ]);
            }
            for (kind, missed) in &figures.kinds {
                let missed = missed.to_string();
                rows.push([format!("  {kind}"), String::new(), missed, String::new()]);
            }
            let all = figures.false_alarms.to_string();
            rows.push(["any of them".into(), String::new(), String::new(), all]);
            text.push('\n');
            text.push_str(&aligned(&rows));
        }
        let few: Vec<String> = self
            .classes
            .iter()
            .filter(|(_, point)| !point.proven && point.tiles > 0)
            .map(|(class, point)| format!("{class} ({})", point.tiles))
            .collect();
        let none: Vec<&str> = self
            .classes
            .iter()
            .filter(|(_, point)| point.tiles == 0)
            .map(|(class, _)| class.as_str())
            .collect();
        let needed = self.classes.values().map(|point| point.tiles_needed).max();
        let needed = needed.unwrap_or(0);
        // Writing to a String cannot fail.
        if !few.is_empty() {
            let _ = writeln!(
                text,
                "\nnot proven, for which {needed} tiles are needed: {}; their thresholds miss \
                 none of the tiles that there are (none: flagged where they are most probable)",
                few.join(", ")
            );
        }
        if !none.is_empty() {
            let _ = writeln!(
                text,
                "\nwithout a tile in the {} part, for which {needed} are needed: {}; they are \
                 flagged where they are most probable",
                self.split,
                none.join(", ")
            );
        }
        text
    }
}

/// Percent with the digits that it has, without those of binary fractions.
fn percent(share: f64) -> f64 {
    (share * 1e6).round() / 1e4
}

/// Columns padded to the widest of their cells.
fn aligned<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) -> String {
    let widths: [usize; COLUMNS] = std::array::from_fn(|column| {
        let lengths = rows.iter().map(|row| row[column].chars().count());
        lengths.max().unwrap_or(0)
    });
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(widths);
        let cells: Vec<String> = cells
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

impl Calibration {
    pub(super) fn validate(&self) -> Result<(), CardError> {
        if !(self.temperature.is_finite() && self.temperature > 0.0) {
            return Err(CardError::Temperature {
                temperature: self.temperature,
            });
        }
        let figures = [
            ("calibration.ece_before", self.ece_before),
            ("calibration.ece_after", self.ece_after),
        ];
        figures.into_iter().try_for_each(finite)
    }
}

impl OperatingPoint {
    pub(super) fn validate(&self) -> Result<(), CardError> {
        let own = [
            ("provenance.operating_point.miss_rate", self.miss_rate),
            ("provenance.operating_point.confidence", self.confidence),
        ];
        let parts = self.parts.values().flat_map(|figures| {
            let classes = figures.classes.values();
            let all = classes.flat_map(|class| [class.missed, class.false_alarms]);
            let all = all.chain(figures.kinds.values().copied());
            let all = all.chain([figures.false_alarms]);
            all.flat_map(|share| [share.lower, share.upper])
                .map(|bound| ("provenance.operating_point.parts", bound))
        });
        own.into_iter().chain(parts).try_for_each(finite)
    }
}

/// Numbers that are not finite cannot be written into a model file.
fn finite((name, value): (&str, f64)) -> Result<(), CardError> {
    if value.is_finite() {
        return Ok(());
    }
    Err(CardError::NotFinite {
        name: name.to_owned(),
        value,
    })
}
