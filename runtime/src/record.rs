//! What happened, durably: an SQLite database and tile images beside it.
//!
//! A record is a folder:
//!
//! | path | what |
//! |---|---|
//! | `record.sqlite` | runs, pieces, tiles to review, gaps (see `schema.sql`) |
//! | `tiles/<run>/<row>_<column>.png` | the images of those tiles, 512×512, 8-bit grey |
//! | `record.lock` | held by the runtime that writes here |
//!
//! The database is in WAL mode and committed at least every
//! [`COMMIT_INTERVAL`]; that is the loss window of a crash. An image is
//! complete and synced before the row that names it is committed, so whatever a crash
//! leaves is readable. A folder may hold many runs; nothing is overwritten.

pub mod export;
mod folder;
mod images;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use millsight_export::card::ModelCard;
use millsight_export::engine::EngineIdentity;
use millsight_firmware_config::{KeepImages, Recording};
use rusqlite::{Connection, params};

use crate::classify::SettledRow;
use crate::ledger::{ModelIdentity, Summary, TileState};
use crate::position::Geometry;
use crate::source::Gap;
use folder::FolderLock;
use images::Images;

/// Longest time between two commits: what a crash can lose.
pub const COMMIT_INTERVAL: Duration = Duration::from_millis(250);

const SCHEMA: &str = include_str!("record/schema.sql");

/// Why something could not be recorded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The folder cannot be made or used.
    #[error(
        "cannot use the record folder {path}: {error}; choose another with --out or `recording.folder`"
    )]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The operating system's reason.
        error: std::io::Error,
    },
    /// Another runtime writes to the folder.
    #[error(
        "the record folder {path} is in use by another millsight ({holder}); wait for it to end or choose another folder"
    )]
    InUse {
        /// The folder.
        path: PathBuf,
        /// Who holds it.
        holder: String,
    },
    /// There is no record to read.
    #[error("{path} holds no record (no record.sqlite)")]
    Missing {
        /// The folder.
        path: PathBuf,
    },
    /// The database refused.
    #[error("cannot write the record {path}: {error}; check the space left on its disk")]
    Database {
        /// The database file.
        path: PathBuf,
        /// SQLite's reason.
        error: rusqlite::Error,
    },
    /// An image could not be written.
    #[error("cannot write the tile image {path}: {error}; check the space left on its disk")]
    Image {
        /// The image.
        path: PathBuf,
        /// The operating system's or the encoder's reason.
        error: std::io::Error,
    },
    /// The disk budget is spent.
    #[error(
        "the record folder {path} has reached its disk budget of {budget_gib} GiB; tile images are no longer kept: make room or raise `recording.disk_budget_gib`"
    )]
    Budget {
        /// The folder.
        path: PathBuf,
        /// The budget.
        budget_gib: f64,
    },
}

/// What a record says of the run as a whole.
#[derive(Debug, Clone)]
pub struct RunDescription {
    /// Name of the station.
    pub station: String,
    /// The station as TOML.
    pub station_toml: String,
    /// The piece that passes.
    pub piece: String,
    /// What runs the model.
    pub engine: EngineIdentity,
    /// The model.
    pub model: ModelIdentity,
    /// The model's card.
    pub card: ModelCard,
    /// Where tiles lie on the material.
    pub geometry: Geometry,
}

/// Writes the record of one run.
pub struct Recorder {
    folder: PathBuf,
    database: Connection,
    images: Images,
    keep_images: KeepImages,
    run: i64,
    piece: i64,
    description: RunDescription,
    last_commit: Instant,
    in_transaction: bool,
    _lock: FolderLock,
}

impl Recorder {
    /// Opens or creates the record in `folder` and begins a run.
    ///
    /// # Errors
    /// When the folder cannot be written or another runtime holds it.
    pub fn begin(
        folder: &Path,
        recording: &Recording,
        description: RunDescription,
    ) -> Result<Self, RecordError> {
        let lock = FolderLock::take(folder)?;
        let path = database_path(folder);
        let (database, run, piece) =
            begin_run(&path, &description).map_err(|error| RecordError::Database {
                path: path.clone(),
                error,
            })?;
        Ok(Self {
            folder: folder.to_path_buf(),
            images: Images::new(folder, run, recording.disk_budget_gib)?,
            keep_images: recording.keep_images,
            database,
            run,
            piece,
            description,
            last_commit: Instant::now(),
            in_transaction: false,
            _lock: lock,
        })
    }

    /// The record's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Records the tiles of a row that an operator should look at (with
    /// `keep_images = "all"` every tile with material), and commits when it is
    /// time.
    ///
    /// # Errors
    /// When an image or the database cannot be written. The other tiles of
    /// the row are recorded all the same; the first error is returned.
    pub fn row(&mut self, row: &SettledRow) -> Result<(), RecordError> {
        let mut first_error = None;
        for column in 0..row.states.len() {
            let state = row.states[column];
            let wanted = self.keep_images == KeepImages::All && state != TileState::Background;
            if !wanted && !state.needs_review() {
                continue;
            }
            let image = match self.keep_images {
                KeepImages::None => Ok(None),
                KeepImages::Flagged | KeepImages::All => self.images.write(row, column),
            };
            let (image, image_error) = match image {
                Ok(image) => (image, None),
                Err(error) => (None, Some(error)),
            };
            let inserted = self.insert_tile(row, column, image.as_deref());
            first_error = first_error.or(image_error).or(inserted.err());
        }
        let committed = self.commit_if_due();
        match first_error.or(committed.err()) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Records a gap in the sequence of lines, at `metres` from the head.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn gap(&mut self, gap: &Gap, metres: f64) -> Result<(), RecordError> {
        let (piece, first_line, lines) = (self.piece, gap.first_line as i64, gap.lines as i64);
        self.execute(
            "INSERT INTO gap (piece, first_line, lines, metres, reason) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![piece, first_line, lines, metres, gap.reason],
        )?;
        self.commit_if_due()
    }

    /// Ends the run with its summary.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn finish(mut self, summary: &Summary) -> Result<(), RecordError> {
        let json = serde_json::to_string(summary).unwrap_or_default();
        let status = if summary.problems.is_empty() {
            "complete"
        } else {
            "complete_with_problems"
        };
        let (run, piece) = (self.run, self.piece);
        let (lines, missing) = (summary.lines.r#in as i64, summary.lines.missing as i64);
        self.execute(
            "UPDATE run SET finished = ?2, status = ?3, summary = ?4 WHERE id = ?1",
            params![run, now(), status, json],
        )?;
        self.execute(
            "UPDATE piece SET finished = ?2, lines = ?3, missing_lines = ?4 WHERE id = ?1",
            params![piece, now(), lines, missing],
        )?;
        self.commit()
    }

    fn insert_tile(
        &mut self,
        row: &SettledRow,
        column: usize,
        image: Option<&str>,
    ) -> Result<(), RecordError> {
        let position = row.row.position(column);
        let classes = &self.description.card.classes;
        let verdict = row.verdicts[column];
        let probabilities = verdict.map(|_| {
            let scores = &row.probabilities[column * classes.len()..][..classes.len()];
            serde_json::to_string(scores).unwrap_or_default()
        });
        let reason = match row.states[column] {
            TileState::Unjudged(reason) => Some(reason.name()),
            _ => None,
        };
        let latency = row.settled.duration_since(row.row.completed).as_secs_f64() * 1000.0;
        let values = params![
            self.piece,
            row.row.number as i64,
            column as i64,
            row.row.first_line as i64,
            position.metres,
            position.millimetres,
            row.row.encoder,
            row.row.lines as i64,
            row.states[column].name(),
            reason,
            verdict.map(|verdict| classes[verdict.class].as_str()),
            verdict.map(|verdict| f64::from(verdict.probability)),
            probabilities,
            image,
            latency,
            now(),
        ];
        // Borrow of `self.description` ends with `values`; `execute` is not
        // used because it needs the whole of `self`.
        begin(&self.database, &mut self.in_transaction)
            .and_then(|()| {
                self.database
                    .prepare_cached(INSERT_TILE)?
                    .execute(values)
                    .map(|_| ())
            })
            .map_err(|error| self.database_error(error))
    }

    fn execute(&mut self, sql: &str, values: impl rusqlite::Params) -> Result<(), RecordError> {
        begin(&self.database, &mut self.in_transaction)
            .and_then(|()| self.database.prepare_cached(sql)?.execute(values))
            .map(|_| ())
            .map_err(|error| self.database_error(error))
    }

    fn commit_if_due(&mut self) -> Result<(), RecordError> {
        if self.last_commit.elapsed() >= COMMIT_INTERVAL {
            self.commit()?;
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<(), RecordError> {
        self.last_commit = Instant::now();
        let synced = self.images.sync();
        if !std::mem::take(&mut self.in_transaction) {
            return synced;
        }
        if let Err(error) = self.database.execute_batch("COMMIT") {
            // A full disk may have rolled the transaction back already; either
            // way the next insert must be able to begin a new one.
            let _ = self.database.execute_batch("ROLLBACK");
            return Err(self.database_error(error));
        }
        synced
    }

    fn database_error(&self, error: rusqlite::Error) -> RecordError {
        RecordError::Database {
            path: database_path(&self.folder),
            error,
        }
    }
}

const INSERT_TILE: &str = "INSERT INTO tile (piece, row, \"column\", first_line, metres, millimetres, \
     encoder, lines, state, reason, class, probability, probabilities, image, latency_ms, settled) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)";

/// The database of a record folder.
pub fn database_path(folder: &Path) -> PathBuf {
    folder.join("record.sqlite")
}

fn begin(database: &Connection, in_transaction: &mut bool) -> rusqlite::Result<()> {
    if !*in_transaction || database.is_autocommit() {
        database.execute_batch("BEGIN IMMEDIATE")?;
        *in_transaction = true;
    }
    Ok(())
}

fn begin_run(
    path: &Path,
    description: &RunDescription,
) -> rusqlite::Result<(Connection, i64, i64)> {
    let database = Connection::open(path)?;
    database.pragma_update(None, "journal_mode", "WAL")?;
    database.pragma_update(None, "synchronous", "NORMAL")?;
    database.pragma_update(None, "foreign_keys", "ON")?;
    database.busy_timeout(Duration::from_secs(5))?;
    database.execute_batch(SCHEMA)?;
    database.execute(
        "INSERT INTO run (started, status, program, station, station_toml, engine, model_name, \
         model_sha256, card, lines_per_metre, mm_per_pixel) \
         VALUES (?1, 'running', ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        params![
            now(),
            concat!("millsight ", env!("CARGO_PKG_VERSION")),
            description.station,
            description.station_toml,
            serde_json::to_string(&description.engine).unwrap_or_default(),
            description.model.name,
            description.model.sha256,
            serde_json::to_string(&description.card).unwrap_or_default(),
            description.geometry.lines_per_metre,
            description.geometry.mm_per_pixel,
        ],
    )?;
    let run = database.last_insert_rowid();
    database.execute(
        "INSERT INTO piece (run, name, started) VALUES (?1, ?2, ?3)",
        params![run, description.piece, now()],
    )?;
    let piece = database.last_insert_rowid();
    Ok((database, run, piece))
}

/// The present moment, RFC 3339 in UTC.
fn now() -> String {
    jiff::Timestamp::now().to_string()
}
