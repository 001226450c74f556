//! The tables of a database beside the record.

use std::time::Duration;

use rusqlite::Connection;

/// Longest wait for another program that writes to the database.
const BUSY: Duration = Duration::from_secs(5);

/// Makes the tables where there are none, and lets every commit reach the disk before
/// it is reported; gives the version that the database states of itself.
pub(super) fn make(database: &Connection, schema: &str, version: i64) -> rusqlite::Result<i64> {
    database.busy_timeout(BUSY)?;
    database.pragma_update(None, "journal_mode", "WAL")?;
    database.pragma_update(None, "synchronous", "FULL")?;
    database.pragma_update(None, "foreign_keys", "ON")?;
    database.execute_batch("BEGIN IMMEDIATE")?;
    let tables: i64 =
        database.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if tables == 0 {
        database.execute_batch(schema)?;
        database.pragma_update(None, "user_version", version)?;
    }
    database.execute_batch("COMMIT")?;
    database.pragma_query_value(None, "user_version", |row| row.get(0))
}
