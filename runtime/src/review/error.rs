//! Why a review could not be read or written.

use std::path::{Path, PathBuf};

use crate::record::RecordError;

/// Why a review could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReviewError {
    /// The record that is reviewed cannot be read.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The database of the review cannot be used.
    #[error("cannot use the review {path}: {error}; {}", crate::record::remedy(.error))]
    Database {
        /// The database file.
        path: PathBuf,
        /// SQLite's reason.
        error: rusqlite::Error,
    },
    /// The database was made by another version of the program.
    #[error(
        "the review {path} has format {found}, but this program knows format {known} only; open it with the program that made it"
    )]
    Format {
        /// The database file.
        path: PathBuf,
        /// The format that it states; 0: none.
        found: i64,
        /// The format of this program.
        known: i64,
    },
    /// The thread that follows the record cannot be started.
    #[error("no thread can be started to follow the record: {0}")]
    Thread(std::io::Error),
    /// Labels cannot be written.
    #[error("cannot write {path}: {error}; check the folder and the space left on its disk")]
    Write {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        error: std::io::Error,
    },
    /// Nobody should look at the tile.
    #[error("there is no tile {0} to review")]
    NoTile(i64),
    /// The record holds no such piece.
    #[error("there is no piece {0} in the record")]
    NoPiece(i64),
    /// There is no such alarm.
    #[error("there is no alarm {0}")]
    NoAlarm(i64),
    /// The class is none of the model's.
    #[error("there is no class `{class}`; the classes are: {classes}")]
    NoClass {
        /// What was given.
        class: String,
        /// The classes of the run's model.
        classes: String,
    },
    /// The key of a decision stands for another one.
    #[error("the key {0} stands for another decision; choose a new one")]
    KeyInUse(String),
    /// The decision cannot be undone.
    #[error("decision {decision} cannot be undone: {reason}")]
    NotUndone {
        /// Which.
        decision: i64,
        /// Why.
        reason: &'static str,
    },
}

impl ReviewError {
    /// SQLite refused something.
    pub(super) fn database(path: &Path) -> impl Fn(rusqlite::Error) -> Self {
        move |error| ReviewError::Database {
            path: path.to_path_buf(),
            error,
        }
    }
}
