//! The table of tiles: one CSV row for each image.
//!
//! | column | meaning |
//! |---|---|
//! | `path` | image file, relative to the data root, with `/` |
//! | `label` | class name |
//! | `width`, `height` | pixels |
//! | `mode` | pixel format in Pillow's words: [`MODES`](super::image_header::MODES) |
//! | `sha256` | hash of the file's bytes, hexadecimal |
//! | `group` | the piece or photograph that the tile shows, absent where it is not known: tiles of a group belong into one part |
//! | `split` | `train`, `val` or `test`; absent before `millsight-train split` |
//!
//! A table written by hand needs `path` and `label`, and `split` to train.

use std::path::{Path, PathBuf};

use millsight_export::card::NO_DEFECT;
use millsight_export::durable::replace_file;
use millsight_export::labelled::DEFECT;
pub use millsight_export::labelled::UNLABELLED;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::DataError;

/// The part of the data that a tile belongs to.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// The network learns from these.
    Train,
    /// Chooses between checkpoints.
    Val,
    /// Looked at once, for the figures that are reported.
    Test,
}

impl Split {
    /// The word in the table: `train`, `val` or `test`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Val => "val",
            Self::Test => "test",
        }
    }
}

/// One tile of the table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Image file, relative to the data root, with `/`.
    pub path: String,
    /// Class name.
    pub label: String,
    /// Width in pixels.
    #[serde(default)]
    pub width: Option<u32>,
    /// Height in pixels.
    #[serde(default)]
    pub height: Option<u32>,
    /// Pixel format in Pillow's words.
    #[serde(default)]
    pub mode: Option<String>,
    /// Hash of the file's bytes in hexadecimal.
    #[serde(default)]
    pub sha256: Option<String>,
    /// The piece or photograph that the tile shows, where it is known.
    #[serde(default)]
    pub group: Option<String>,
    /// The part that the tile belongs to.
    #[serde(default)]
    pub split: Option<Split>,
}

/// The record without the blanks around its fields; those of the path belong
/// to the file's name.
fn trimmed(record: &csv::StringRecord, headers: &csv::StringRecord) -> csv::StringRecord {
    let mut fields: csv::StringRecord = record
        .iter()
        .enumerate()
        .map(|(column, field)| match headers.get(column) {
            Some("path") => field,
            _ => field.trim(),
        })
        .collect();
    fields.set_position(record.position().cloned());
    fields
}

/// A table as read from a file.
#[derive(Debug, Clone)]
pub struct Table {
    /// Where it was read from.
    pub path: PathBuf,
    /// The rows in the order of the file.
    pub rows: Vec<Row>,
    /// Hash of the table's bytes in hexadecimal; it covers the hashes of the
    /// images where the table has them.
    pub sha256: String,
}

impl Table {
    /// Gives every defect the one label that a screen knows.
    pub fn unite_defects(&mut self) {
        let other = |label: &str| label != NO_DEFECT && label != UNLABELLED;
        for row in self.rows.iter_mut().filter(|row| other(&row.label)) {
            row.label = DEFECT.to_owned();
        }
    }

    /// Reads a table.
    ///
    /// # Errors
    /// When the file is missing, lacks the columns `path` or `label`, or has
    /// a row that does not fit or in which one of the two is empty.
    pub fn read(path: &Path) -> Result<Self, DataError> {
        let bytes = std::fs::read(path).map_err(DataError::io("read", path))?;
        let problem = |reason: String| DataError::Table {
            path: path.to_path_buf(),
            reason,
        };
        let mut reader = csv::ReaderBuilder::new()
            .trim(csv::Trim::Headers)
            .from_reader(bytes.as_slice());
        let headers = reader
            .headers()
            .map_err(|error| problem(format!("not CSV: {error}")))?
            .clone();
        for needed in ["path", "label"] {
            if !headers.iter().any(|header| header == needed) {
                return Err(problem(format!(
                    "the column `{needed}` is missing; the first line has {}",
                    headers.iter().collect::<Vec<_>>().join(", ")
                )));
            }
        }
        let mut rows = Vec::new();
        for record in reader.records() {
            let record = record.map_err(|error| problem(error.to_string()))?;
            let row: Row = trimmed(&record, &headers)
                .deserialize(Some(&headers))
                .map_err(|error| problem(error.to_string()))?;
            for (column, value) in [("path", &row.path), ("label", &row.label)] {
                if value.is_empty() {
                    let line = record.position().map_or(0, csv::Position::line);
                    return Err(problem(format!(
                        "line {line} has an empty {column}; fill it in, or leave the line out"
                    )));
                }
            }
            rows.push(row);
        }
        if rows.is_empty() {
            return Err(problem("the table has no rows".into()));
        }
        Ok(Self {
            path: path.to_path_buf(),
            rows,
            sha256: hex::encode(Sha256::digest(&bytes)),
        })
    }

    /// The rows of one part.
    ///
    /// # Errors
    /// When the table has no `split` column or the part is empty.
    pub fn part(&self, split: Split) -> Result<Vec<Row>, DataError> {
        if self.rows.iter().all(|row| row.split.is_none()) {
            return Err(DataError::Table {
                path: self.path.clone(),
                reason: "the column `split` is missing; run `millsight-train split` on this table"
                    .into(),
            });
        }
        let rows: Vec<Row> = self
            .rows
            .iter()
            .filter(|row| row.split == Some(split))
            .cloned()
            .collect();
        if rows.is_empty() {
            return Err(DataError::EmptySplit {
                path: self.path.clone(),
                split: split.name().into(),
            });
        }
        Ok(rows)
    }

    /// The columns with facts about the files, `width` to `sha256`, that are
    /// absent or empty in all rows.
    pub fn columns_without_values(&self) -> Vec<&'static str> {
        let mut absent = vec!["width", "height", "mode", "sha256"];
        for row in &self.rows {
            absent.retain(|column| match *column {
                "width" => row.width.is_none(),
                "height" => row.height.is_none(),
                "mode" => row.mode.is_none(),
                _ => row.sha256.is_none(),
            });
        }
        absent
    }

    /// The class names of all rows in [`class_order`].
    pub fn classes(&self) -> Vec<String> {
        class_order(self.rows.iter().map(|row| row.label.as_str()))
    }
}

/// Writes a table, with a `group` and a `split` column when any row has one.
///
/// # Errors
/// When the file cannot be written.
pub fn write(path: &Path, rows: &[Row]) -> Result<(), DataError> {
    let bytes = encode(rows).map_err(DataError::io("encode", path))?;
    replace_file(path, &bytes).map_err(DataError::io("write", path))
}

fn encode(rows: &[Row]) -> std::io::Result<Vec<u8>> {
    let number = |value: Option<u32>| value.map(|value| value.to_string()).unwrap_or_default();
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let mut columns: Vec<Column> = vec![
        ("path", Box::new(|row| row.path.clone())),
        ("label", Box::new(|row| row.label.clone())),
        ("width", Box::new(move |row| number(row.width))),
        ("height", Box::new(move |row| number(row.height))),
        ("mode", Box::new(move |row| text(&row.mode))),
        ("sha256", Box::new(move |row| text(&row.sha256))),
    ];
    if rows.iter().any(|row| row.group.is_some()) {
        columns.push(("group", Box::new(move |row| text(&row.group))));
    }
    if rows.iter().any(|row| row.split.is_some()) {
        let name = |row: &Row| row.split.map(Split::name).unwrap_or_default().to_owned();
        columns.push(("split", Box::new(name)));
    }
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(columns.iter().map(|(name, _)| name))?;
    for row in rows {
        writer.write_record(columns.iter().map(|(_, value)| value(row)))?;
    }
    writer.into_inner().map_err(|error| error.into_error())
}

/// A column's name, and what a row has in it.
type Column = (&'static str, Box<dyn Fn(&Row) -> String>);

/// The classes of the rolling mill in their customary order.
const KNOWN_CLASSES: [&str; 5] = [
    NO_DEFECT,
    "cracks",
    "scrap_mark",
    "overfill",
    "scrap_mark_ii",
];

/// Distinct labels in the order of the logits: `no_defect`, `cracks`,
/// `scrap_mark`, `overfill`, `scrap_mark_ii`, then all others by name.
pub fn class_order<'a>(labels: impl Iterator<Item = &'a str>) -> Vec<String> {
    let distinct: std::collections::BTreeSet<&str> = labels.collect();
    let known = KNOWN_CLASSES
        .iter()
        .copied()
        .filter(|class| distinct.contains(class));
    let others = distinct
        .iter()
        .copied()
        .filter(|class| !KNOWN_CLASSES.contains(class));
    known.chain(others).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("table.csv");
        std::fs::write(&path, text).unwrap();
        (folder, path)
    }

    #[test]
    fn classes_of_the_mill_come_first() {
        let labels = [
            "zebra",
            "overfill",
            "no_defect",
            "ant",
            "cracks",
            "overfill",
        ];
        assert_eq!(
            class_order(labels.into_iter()),
            ["no_defect", "cracks", "overfill", "ant", "zebra"]
        );
    }

    #[test]
    fn written_rows_are_read_back() {
        let (_folder, path) = file("");
        let rows = vec![
            Row {
                path: "cracks/a,b.png".into(),
                label: "cracks".into(),
                width: Some(512),
                height: Some(480),
                mode: Some("L".into()),
                sha256: Some("00ff".into()),
                group: Some("coil 7".into()),
                split: Some(Split::Val),
            },
            Row {
                path: "no_defect/c.png".into(),
                label: "no_defect".into(),
                width: None,
                height: None,
                mode: None,
                sha256: None,
                group: None,
                split: Some(Split::Train),
            },
        ];
        write(&path, &rows).unwrap();
        assert_eq!(Table::read(&path).unwrap().rows, rows);
    }

    #[test]
    fn blanks_belong_to_the_path_alone() {
        let (_folder, path) = file("path , label\n\" a .png \", cracks \n");
        let row = &Table::read(&path).unwrap().rows[0];
        assert_eq!((&*row.path, &*row.label), (" a .png ", "cracks"));
    }

    #[test]
    fn an_empty_path_or_label_is_refused_with_its_line() {
        for (rows, expected) in [
            ("a.png,cracks\nb.png, \n", "line 3 has an empty label"),
            (",cracks\n", "line 2 has an empty path"),
        ] {
            let (_folder, path) = file(&format!("path,label\n{rows}"));
            let message = Table::read(&path).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn a_missing_column_is_named() {
        let (_folder, path) = file("path,class\na.png,cracks\n");
        let message = Table::read(&path).unwrap_err().to_string();
        assert!(message.contains("`label`"), "{message}");
        assert!(message.contains("path, class"), "{message}");
    }

    #[test]
    fn an_unknown_part_is_named_with_its_line() {
        let (_folder, path) = file("path,label,split\na.png,cracks,trian\n");
        let message = Table::read(&path).unwrap_err().to_string();
        assert!(
            message.contains("trian") && message.contains("line: 2"),
            "{message}"
        );
    }

    #[test]
    fn a_table_without_parts_asks_for_split() {
        let (_folder, path) = file("path,label\na.png,cracks\n");
        let message = Table::read(&path)
            .unwrap()
            .part(Split::Train)
            .unwrap_err()
            .to_string();
        assert!(message.contains("millsight-train split"), "{message}");
    }

    #[test]
    fn a_missing_file_is_named() {
        let message = Table::read(Path::new("nowhere/table.csv"))
            .unwrap_err()
            .to_string();
        assert!(message.contains("nowhere/table.csv"), "{message}");
    }
}
