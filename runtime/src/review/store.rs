//! The database of a review, beside that of the record.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, OptionalExtension, Transaction, TransactionBehavior};

use super::error::ReviewError;
use super::tables;
use crate::record::{RecordError, existing, file_uri, open_for_reading};

/// Version of the tables, kept in the database as `user_version`. It changes
/// with every change of `schema.sql`.
const FORMAT: i64 = 2;

const SCHEMA: &str = include_str!("schema.sql");

/// The review of a record: reads the record, keeps what people said of its tiles.
/// Several may be open at once, in this program and in others.
pub struct Review {
    pub(super) database: Connection,
    pub(super) folder: PathBuf,
    pub(super) path: PathBuf,
}

/// The database of the review of a record folder.
pub fn review_path(folder: &Path) -> PathBuf {
    folder.join("review.sqlite")
}

impl Review {
    /// Opens or creates the review of the record in `folder`, of which nothing is
    /// changed.
    ///
    /// # Errors
    /// When there is no record, or one of them cannot be opened.
    pub fn open(folder: &Path) -> Result<Self, ReviewError> {
        let record = existing(folder)?;
        // Says what is wrong with it before anything is made.
        drop(open_for_reading(&record)?);
        let path = review_path(folder);
        let failed = ReviewError::database(&path);
        let database =
            Connection::open_with_flags(&path, OpenFlags::default() | OpenFlags::SQLITE_OPEN_URI)
                .map_err(&failed)?;
        let found = tables::make(&database, SCHEMA, FORMAT).map_err(&failed)?;
        if found != FORMAT {
            return Err(ReviewError::Format {
                path: path.clone(),
                found,
                known: FORMAT,
            });
        }
        database
            .execute("ATTACH ?1 AS record", [file_uri(&record, "mode=ro")])
            .map_err(|error| RecordError::Open {
                path: record,
                error,
            })?;
        Ok(Self {
            database,
            folder: folder.to_path_buf(),
            path: path.clone(),
        })
    }

    /// The record's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Does something within a transaction, which begins with the right to write:
    /// another writer is waited for, and none comes between what is read and written.
    pub(super) fn write<T>(
        &self,
        change: impl FnOnce() -> Result<T, ReviewError>,
    ) -> Result<T, ReviewError> {
        let failed = ReviewError::database(&self.path);
        let transaction =
            Transaction::new_unchecked(&self.database, TransactionBehavior::Immediate)
                .map_err(&failed)?;
        let changed = change()?;
        transaction.commit().map_err(failed)?;
        Ok(changed)
    }

    /// Runs a statement that gives nothing.
    pub(super) fn execute(
        &self,
        sql: &str,
        values: impl rusqlite::Params,
    ) -> Result<(), ReviewError> {
        self.database
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute(values))
            .map_err(ReviewError::database(&self.path))?;
        Ok(())
    }

    /// The first row that a statement gives, where it gives one.
    pub(super) fn one<T>(
        &self,
        sql: &str,
        values: impl rusqlite::Params,
        read: impl FnOnce(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, ReviewError> {
        self.database
            .prepare_cached(sql)
            .and_then(|mut statement| statement.query_row(values, read).optional())
            .map_err(ReviewError::database(&self.path))
    }

    /// All rows that a statement gives.
    pub(super) fn all<T>(
        &self,
        sql: &str,
        values: impl rusqlite::Params,
        read: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, ReviewError> {
        self.database
            .prepare_cached(sql)
            .and_then(|mut statement| statement.query_map(values, read)?.collect())
            .map_err(ReviewError::database(&self.path))
    }
}
