//! The database of a record: opening it, and the statements that write it.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use millsight_export::card::ModelCard;
use rusqlite::{Connection, OpenFlags, params};

use super::{RecordError, RunDescription};
use crate::ledger::ModelIdentity;

/// Version of the tables, kept in the database as `user_version`. It changes
/// with every change of `schema.sql`.
pub(super) const FORMAT: i64 = 5;

const SCHEMA: &str = include_str!("schema.sql");

/// Inserts a tile.
pub(super) const INSERT_TILE: &str = "INSERT INTO tile (piece, row, \"column\", first_line, \
     metres, millimetres, encoder, lines, state, reason, class, probability, probabilities, \
     suspicion, image, image_problem, file, latency_ms, settled, model, distance) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, \
     ?19, ?20, ?21)";

/// Notes the verdict of a tile that was judged after all.
pub(super) const JUDGE_TILE: &str = "UPDATE tile SET state = 'judged', reason = NULL, class = ?2, \
     probability = ?3, probabilities = ?4, latency_ms = ?5, settled = ?6, model = ?7, \
     distance = ?8 \
     WHERE id = ?1";

/// Inserts a gap.
pub(super) const INSERT_GAP: &str = "INSERT INTO gap (piece, first_line, lines, metres, reason, seconds, moment) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";

/// Notes that a tile has no image after all.
pub(super) const WITHOUT_IMAGE: &str =
    "UPDATE tile SET image = NULL, image_problem = ?2 WHERE id = ?1";

/// Inserts what all tiles of some rows were like.
pub(super) const INSERT_STATISTICS: &str = "INSERT INTO statistics (piece, moment, first_row, \
     rows, background, cleared, judged, unjudged, flagged, suspicion, brightness, distance, \
     model) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)";

/// Ends a run.
pub(super) const FINISH_RUN: &str =
    "UPDATE run SET finished = ?2, status = ?3, summary = ?4 WHERE id = ?1";

/// Ends a piece.
pub(super) const FINISH_PIECE: &str =
    "UPDATE piece SET finished = ?2, lines = ?3, missing_lines = ?4 WHERE id = ?1";

/// Longest wait for another program that reads or copies the database.
const BUSY: Duration = Duration::from_secs(5);

/// The database of a record folder.
pub fn database_path(folder: &Path) -> PathBuf {
    folder.join("record.sqlite")
}

/// The database of the record in a folder.
///
/// # Errors
/// When the folder holds none, or cannot be looked at.
pub(crate) fn existing(folder: &Path) -> Result<PathBuf, RecordError> {
    let database = database_path(folder);
    match std::fs::metadata(&database) {
        Ok(_) => Ok(database),
        Err(error) => {
            let path = folder.to_path_buf();
            Err(match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
                    RecordError::Missing { path }
                }
                _ => RecordError::Folder { path, error },
            })
        }
    }
}

/// Opens or creates a database to write to.
///
/// # Errors
/// When it cannot be opened or is none of this program's.
pub(super) fn open(path: &Path) -> Result<Connection, RecordError> {
    let failed = RecordError::open(path);
    let database = Connection::open(path).map_err(&failed)?;
    database.busy_timeout(BUSY).map_err(&failed)?;
    let is_new = tables(&database).map_err(&failed)? == 0;
    if !is_new {
        check_format(&database, path)?;
    }
    let prepare = || {
        database.pragma_update(None, "journal_mode", "WAL")?;
        // Each commit is synced. There are few, because rows are grouped.
        database.pragma_update(None, "synchronous", "FULL")?;
        database.pragma_update(None, "foreign_keys", "ON")?;
        if is_new {
            let transaction = database.unchecked_transaction()?;
            transaction.execute_batch(SCHEMA)?;
            transaction.pragma_update(None, "user_version", FORMAT)?;
            transaction.commit()?;
        }
        Ok(())
    };
    prepare().map_err(&failed)?;
    Ok(database)
}

/// Opens a database to read from. Nothing is written, so that the record of
/// someone else or on a read-only disk can be read.
///
/// # Errors
/// When it cannot be opened or is none of this program's.
pub(crate) fn open_for_reading(path: &Path) -> Result<Connection, RecordError> {
    let failed = RecordError::open(path);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let database = match open_and_look(path, flags) {
        // Beside a database in WAL mode SQLite wants to make files. Where it
        // may not, and the log holds nothing, the database is all there is.
        Err(_) if has_empty_log(path) => {
            let flags = flags | OpenFlags::SQLITE_OPEN_URI;
            open_and_look(Path::new(&file_uri(path, "immutable=1")), flags)
        }
        opened => opened,
    };
    let database = database.map_err(&failed)?;
    if tables(&database).map_err(&failed)? == 0 {
        // A run has made the file and is about to make the tables.
        return Err(RecordError::Missing {
            path: path.parent().unwrap_or(path).to_path_buf(),
        });
    }
    check_format(&database, path)?;
    Ok(database)
}

fn open_and_look(path: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    let database = Connection::open_with_flags(path, flags)?;
    database.busy_timeout(BUSY)?;
    tables(&database)?;
    Ok(database)
}

fn tables(database: &Connection) -> rusqlite::Result<i64> {
    database.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
}

fn check_format(database: &Connection, path: &Path) -> Result<(), RecordError> {
    let found = database
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(RecordError::open(path))?;
    if found == FORMAT {
        return Ok(());
    }
    Err(RecordError::Format {
        path: path.to_path_buf(),
        found,
        known: FORMAT,
    })
}

/// Whether nothing is committed in the log that is not in the database.
fn has_empty_log(path: &Path) -> bool {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    match std::fs::metadata(&log) {
        Ok(metadata) => metadata.len() == 0,
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

/// The name under which SQLite opens a file with parameters, such as
/// `immutable=1`: nobody changes it.
pub(crate) fn file_uri(path: &Path, parameters: &str) -> String {
    let mut uri = String::from("file:");
    for &byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' => uri.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => uri.push(char::from(byte)),
            _ => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri + "?" + parameters
}

/// The number of a model in the database, to which it is added where it is new.
pub(super) fn model(
    database: &Connection,
    identity: &ModelIdentity,
    card: &ModelCard,
) -> rusqlite::Result<i64> {
    let card = serde_json::to_string(card).unwrap_or_default();
    database.execute(
        "INSERT INTO model (sha256, name, card) VALUES (?1, ?2, ?3) ON CONFLICT (sha256) \
         DO UPDATE SET name = excluded.name, card = excluded.card",
        params![identity.sha256, identity.name, card],
    )?;
    let sql = "SELECT id FROM model WHERE sha256 = ?1";
    database.query_row(sql, [&identity.sha256], |row| row.get(0))
}

/// Begins run number `run` or a higher one; gives its number, that of its piece and
/// that of its model. Runs that are still marked as running have crashed, because the
/// folder is ours now.
pub(super) fn begin_run(
    database: &Connection,
    run: i64,
    description: &RunDescription,
) -> rusqlite::Result<(i64, i64, i64)> {
    let transaction = database.unchecked_transaction()?;
    transaction.execute(
        "UPDATE run SET status = 'crashed' WHERE status = 'running'",
        [],
    )?;
    let model = model(&transaction, &description.model, &description.card)?;
    transaction.execute(
        "INSERT INTO run (id, started, status, program, station, station_toml, engine, \
         model, lines_per_metre, mm_per_pixel) \
         SELECT max(?1, coalesce(max(id) + 1, 1)), ?2, 'running', ?3, ?4, ?5, ?6, ?7, ?8, ?9 \
         FROM run",
        params![
            run,
            now(),
            concat!("millsight ", env!("CARGO_PKG_VERSION")),
            description.station,
            description.station_toml,
            serde_json::to_string(&description.engine).unwrap_or_default(),
            model,
            description.geometry.lines_per_metre,
            description.geometry.mm_per_pixel,
        ],
    )?;
    let run = transaction.last_insert_rowid();
    transaction.execute(
        "INSERT INTO piece (run, name, started) VALUES (?1, ?2, ?3)",
        params![run, description.piece, now()],
    )?;
    let piece = transaction.last_insert_rowid();
    transaction.commit()?;
    Ok((run, piece, model))
}

/// The present moment, RFC 3339 in UTC.
pub(crate) fn now() -> String {
    jiff::Timestamp::now().to_string()
}
