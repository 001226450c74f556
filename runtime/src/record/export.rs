//! A record as JSON lines, for other programs.

use std::io::{self, Write};
use std::path::Path;

use rusqlite::{Row, types::ValueRef};
use serde_json::{Map, Value};

use super::RecordError;
use super::database::{existing, open_for_reading};

/// Tables in the order in which they are written; each line has its table's
/// name under `record`.
const TABLES: [&str; 6] = ["model", "run", "piece", "gap", "statistics", "tile"];

/// Columns that hold JSON.
const JSON_COLUMNS: [&str; 8] = [
    "engine",
    "card",
    "summary",
    "probabilities",
    "flagged",
    "suspicion",
    "brightness",
    "distance",
];

/// Why a record could not be exported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The record could not be read.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The output could not be written.
    #[error("cannot write the exported record: {0}")]
    Write(#[from] io::Error),
}

/// Writes every row of a record as one line of JSON. A record that is being
/// written, or that a crash left, can be exported: what is committed at this
/// moment is exported, all tables as of the same moment. Nothing is written to
/// the record.
///
/// # Errors
/// When `folder` holds no record, the record cannot be read, or the output
/// cannot be written.
pub fn json_lines(folder: &Path, output: &mut impl Write) -> Result<(), ExportError> {
    let path = existing(folder)?;
    let failed = RecordError::read(&path);
    let database = open_for_reading(&path)?;
    let database = database.unchecked_transaction().map_err(&failed)?;
    for table in TABLES {
        let mut statement = database
            .prepare(&format!("SELECT * FROM {table} ORDER BY id"))
            .map_err(&failed)?;
        let names: Vec<String> = statement.column_names().map(String::from).collect();
        let mut rows = statement.query([]).map_err(&failed)?;
        while let Some(row) = rows.next().map_err(&failed)? {
            let mut object = Map::new();
            object.insert("record".into(), table.into());
            for (index, name) in names.iter().enumerate() {
                object.insert(name.clone(), value(row, index, name).map_err(&failed)?);
            }
            serde_json::to_writer(&mut *output, &object).map_err(io::Error::from)?;
            output.write_all(b"\n")?;
        }
    }
    output.flush()?;
    Ok(())
}

fn value(row: &Row<'_>, index: usize, name: &str) -> rusqlite::Result<Value> {
    Ok(match row.get_ref(index)? {
        ValueRef::Null | ValueRef::Blob(_) => Value::Null,
        ValueRef::Integer(number) => number.into(),
        ValueRef::Real(number) => number.into(),
        ValueRef::Text(text) => {
            let text = String::from_utf8_lossy(text);
            match serde_json::from_str(&text) {
                Ok(json) if JSON_COLUMNS.contains(&name) => json,
                _ => text.into_owned().into(),
            }
        }
    })
}
