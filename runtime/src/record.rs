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
//! # What survives
//!
//! Rows are grouped. A group is committed when its first row is
//! [`COMMIT_INTERVAL`] old, whether or not more rows come
//! ([`Recorder::commit_due`], [`Recorder::commit_if_due`]), and sooner when
//! many images wait. A commit, in this order,
//!
//! 1. syncs the images of the group, which have temporary names until then,
//! 2. gives them their names and syncs their folder,
//! 3. commits the rows, which SQLite (WAL mode, `synchronous = FULL`) syncs
//!    before it reports success.
//!
//! So the death of the program or of the machine loses at most what reached
//! the recorder within the last [`COMMIT_INTERVAL`] and the time that one
//! commit takes; and an image that a row names is there, whole. A crash between
//! 2 and 3 leaves images that no row names.
//!
//! An image that cannot be written leaves its tile's row without an image, but
//! with the reason. Rows that cannot be written, or are rolled back because a
//! commit fails, are counted as lost ([`Recorded`]). A folder may hold many
//! runs; nothing is overwritten.

mod database;
mod error;
pub mod export;
mod folder;
mod images;
mod overdue;
mod space;
mod statistics;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use millsight_export::card::ModelCard;
use millsight_export::engine::EngineIdentity;
use millsight_firmware_config::{KeepImages, Recording, TILE_SIZE};
use rusqlite::{Connection, params};

use crate::classify::SettledRow;
use crate::ledger::{ModelIdentity, Recorded, Summary, TileState};
use crate::position::Geometry;
use crate::source::Gap;
pub use database::database_path;
pub(crate) use database::{existing, file_uri, now, open_for_reading};
pub use error::RecordError;
pub(crate) use error::remedy;
use folder::FolderLock;
use images::Images;
pub use images::{compressed, read_tile};
pub use overdue::{JudgedLate, Overdue};
pub use space::{Space, nearest_existing, space_for};
use statistics::Statistics;

/// Longest time that a row waits to be committed.
pub const COMMIT_INTERVAL: Duration = Duration::from_millis(250);

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
    /// The files that the lines come from, where each gives 512 of them.
    pub files: Vec<PathBuf>,
}

/// Writes the record of one run.
pub struct Recorder {
    folder: PathBuf,
    path: PathBuf,
    database: Connection,
    images: Images,
    keeps: Keeps,
    run: i64,
    piece: i64,
    description: RunDescription,
    group: Group,
    /// Overdue tiles that are durable and that nobody has taken yet.
    overdue: Vec<Overdue>,
    recorded: Recorded,
    statistics: Statistics,
    /// The models of the run by their numbers, as the database numbers them.
    models: Vec<i64>,
    _lock: FolderLock,
}

/// Which tiles a record keeps, and whether with their images.
#[derive(Debug, Clone, Copy)]
pub struct Keeps(KeepImages);

impl Keeps {
    /// Whether images are kept.
    fn images(self) -> bool {
        self.0 != KeepImages::None
    }

    /// Whether a tile of this state is recorded.
    fn tile(self, state: TileState) -> bool {
        let all = self.0 == KeepImages::All && state != TileState::Background;
        all || state.needs_review()
    }

    /// Compresses the images of a row that will be recorded, so that the record thread
    /// need not. What fails here, fails there again and is told then.
    pub fn compress(self, row: &mut SettledRow) {
        let Some(pixels) = row.row.pixels.as_deref().filter(|_| self.images()) else {
            return;
        };
        for (column, &state) in row.states.iter().enumerate() {
            if self.tile(state)
                && let Ok(png) = compressed(pixels, column)
            {
                row.images.push((column, png));
            }
        }
    }
}

/// What waits for the next commit.
#[derive(Debug, Default)]
struct Group {
    /// When its first row came; `None`: nothing waits.
    begun: Option<Instant>,
    /// What will have been recorded.
    rows: Recorded,
    /// Overdue tiles among them.
    overdue: Vec<Overdue>,
}

impl Recorder {
    /// Opens or creates the record in `folder` and begins a run. What a crash
    /// left there is tidied up: incomplete images go, and the runs that it
    /// ended are marked.
    ///
    /// # Errors
    /// When the folder cannot be written, another runtime holds it, or it
    /// holds something else.
    pub fn begin(
        folder: &Path,
        recording: &Recording,
        description: RunDescription,
    ) -> Result<Self, RecordError> {
        let lock = FolderLock::take(folder)?;
        let unusable = |error| RecordError::Folder {
            path: folder.to_path_buf(),
            error,
        };
        let path = database_path(folder);
        let database = database::open(&path)?;
        let run = images::first_free_run(folder).map_err(unusable)?;
        let (run, piece, model) =
            database::begin_run(&database, run, &description).map_err(RecordError::write(&path))?;
        Ok(Self {
            folder: folder.to_path_buf(),
            path,
            images: Images::new(folder, run, recording.disk_budget_gib).map_err(unusable)?,
            keeps: Keeps(recording.keep_images),
            database,
            run,
            piece,
            statistics: Statistics::new(description.card.classes.len()),
            models: vec![model],
            description,
            group: Group::default(),
            overdue: Vec::new(),
            recorded: Recorded::default(),
            _lock: lock,
        })
    }

    /// The record's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// How many models of the run are known here.
    pub fn models(&self) -> usize {
        self.models.len()
    }

    /// Makes the next model of the run known, before the first of its verdicts comes. It
    /// has the same classes as the first.
    ///
    /// # Errors
    /// When the database cannot be written; the verdicts of the model then count as
    /// those of the one before.
    pub fn add_model(
        &mut self,
        identity: &ModelIdentity,
        card: &ModelCard,
    ) -> Result<(), RecordError> {
        let before = self.models.last().copied().unwrap_or_default();
        // By itself, so that it stays when the group in hand is lost.
        let added = self.commit().and_then(|()| {
            database::model(&self.database, identity, card).map_err(RecordError::write(&self.path))
        });
        self.models.push(*added.as_ref().unwrap_or(&before));
        added.map(|_| ())
    }

    /// The number in the database of a model of the run.
    fn model(&self, number: usize) -> i64 {
        let known = self.models.get(number).or(self.models.last());
        known.copied().unwrap_or_default()
    }

    /// Records the tiles of a row that an operator should look at (with
    /// `keep_images = "all"` every tile with material), and commits when it is
    /// time.
    ///
    /// # Errors
    /// When an image or the database cannot be written. The other tiles of
    /// the row are recorded all the same; the first error is returned, and
    /// what was lost is counted.
    pub fn row(&mut self, row: &SettledRow) -> Result<(), RecordError> {
        let mut first_error = None;
        for column in 0..row.states.len() {
            if !self.keeps.tile(row.states[column]) {
                continue;
            }
            let (image, problem) = match self.keeps.images() {
                false => (None, None),
                true => match self.images.write(row, column) {
                    Ok(image) => (image, None),
                    Err(error) => (None, Some(error)),
                },
            };
            let relative = image.as_ref().map(|image| image.relative.as_str());
            let reason = problem.as_ref().map(|problem| problem.to_string());
            let inserted = self.insert_tile(row, column, relative, reason.as_deref());
            match inserted {
                Ok(tile) => {
                    self.group.rows.tiles += 1;
                    self.group.rows.images_lost += u64::from(problem.is_some());
                    self.group.rows.images += u64::from(image.is_some());
                    if let Some(image) = image {
                        self.group.overdue.extend(overdue(row, column, tile, || {
                            self.folder.join(&image.relative)
                        }));
                        self.images.keep(image, tile);
                    }
                    first_error = first_error.or(problem);
                }
                Err(error) => {
                    self.recorded.tiles_lost += 1;
                    first_error = first_error.or(problem).or(Some(error));
                }
            }
        }
        let counted = self.count(row);
        let committed = counted.and(self.commit_if_due());
        first_error.map_or(committed, Err)
    }

    /// Whether tiles that were not judged in time have images from which they
    /// can be judged later.
    pub fn keeps_overdue(&self) -> bool {
        self.keeps.images()
    }

    /// Which tiles are recorded, and whether with their images.
    pub fn keeps(&self) -> Keeps {
        self.keeps
    }

    /// Tiles that were not judged in time and are durable since the last call.
    pub fn take_overdue(&mut self) -> impl Iterator<Item = Overdue> {
        self.overdue.drain(..)
    }

    /// Records the verdict of a tile that was overdue.
    ///
    /// # Errors
    /// When the database cannot be written; the tile then stays recorded as
    /// unjudged, which is counted.
    pub fn judged_late(&mut self, judged: &JudgedLate) -> Result<(), RecordError> {
        let verdict = judged.verdict;
        let latency = judged.settled.duration_since(judged.tile.completed);
        let class = self.description.card.classes[verdict.class].clone();
        let values = params![
            judged.tile.tile,
            class,
            f64::from(verdict.probability),
            serde_json::to_string(&judged.probabilities).unwrap_or_default(),
            latency.as_secs_f64() * 1000.0,
            now(),
            self.model(judged.model),
            judged.distance.map(f64::from),
        ];
        match self.execute(database::JUDGE_TILE, values) {
            Ok(_) => self.group.rows.late_verdicts += 1,
            Err(error) => {
                self.recorded.late_verdicts_lost += 1;
                return Err(error);
            }
        }
        self.commit_if_due()
    }

    /// Records a gap in the sequence of lines, at `metres` from the head.
    ///
    /// # Errors
    /// When the database cannot be written; the gap is then counted as lost.
    pub fn gap(&mut self, gap: &Gap, metres: f64) -> Result<(), RecordError> {
        let (piece, first_line, lines) = (self.piece, gap.first_line as i64, gap.lines as i64);
        let (seconds, moment) = (gap.seconds, now());
        let reason = &gap.reason;
        let values = params![piece, first_line, lines, metres, reason, seconds, moment];
        match self.execute(database::INSERT_GAP, values) {
            Ok(_) => self.group.rows.gaps += 1,
            Err(error) => {
                self.recorded.gaps_lost += 1;
                return Err(error);
            }
        }
        self.commit_if_due()
    }

    /// When [`Recorder::commit_if_due`] must be called, even if nothing more
    /// comes until then; `None` while nothing waits.
    pub fn commit_due(&self) -> Option<Instant> {
        self.group.begun.map(|begun| begun + COMMIT_INTERVAL)
    }

    /// Commits what has waited for [`COMMIT_INTERVAL`], or earlier when many
    /// images wait.
    ///
    /// # Errors
    /// As [`Recorder::commit`].
    pub fn commit_if_due(&mut self) -> Result<(), RecordError> {
        let is_due = self.commit_due().is_some_and(|due| due <= Instant::now());
        if is_due || self.images.pending() >= Images::MOST_PENDING {
            self.commit()?;
        }
        Ok(())
    }

    /// Makes durable what waits.
    ///
    /// # Errors
    /// When an image cannot be synced or named; its tile is then recorded
    /// without it. When the commit fails; all that waited is then lost. Both
    /// are counted.
    pub fn commit(&mut self) -> Result<(), RecordError> {
        if self.group.begun.is_none() {
            return Ok(());
        }
        let (published, failed) = self.images.publish();
        let mut first_error = None;
        let mut committed = Ok(());
        for (tile, error) in failed {
            self.group.overdue.retain(|overdue| overdue.tile != tile);
            self.group.rows.images -= 1;
            self.group.rows.images_lost += 1;
            let error = RecordError::Image {
                folder: self.images.run_folder(),
                error,
            };
            let values = params![tile, error.to_string()];
            let noted = self
                .database
                .prepare_cached(database::WITHOUT_IMAGE)
                .and_then(|mut statement| statement.execute(values));
            committed = committed.and(noted.map(|_| ()));
            first_error = first_error.or(Some(error));
        }
        let committed = committed.and_then(|()| self.database.execute_batch("COMMIT"));
        match committed {
            Ok(()) => {
                let group = std::mem::take(&mut self.group);
                self.recorded.add(&group.rows);
                self.overdue.extend(group.overdue);
                self.images.look_at_database();
                first_error.map_or(Ok(()), Err)
            }
            Err(error) => {
                // Images that nothing names would only take the space that
                // the next rows need.
                self.images.remove(published);
                self.lose_group();
                Err(RecordError::write(&self.path)(error))
            }
        }
    }

    /// Ends the run with its summary, to which it adds what was recorded and
    /// what was lost. `stopped`: it was ended before its source.
    ///
    /// # Errors
    /// When the end cannot be written; what was recorded before stays.
    pub fn finish(mut self, summary: &mut Summary, stopped: bool) -> Result<(), RecordError> {
        if let Err(error) = self.insert_statistics().and_then(|()| self.commit()) {
            summary.problems.push(format!("not recorded: {error}"));
        }
        summary.problems.extend(self.recorded.problem());
        summary.recorded = Some(self.recorded);
        let json = serde_json::to_string(summary).unwrap_or_default();
        let status = match (stopped, summary.problems.is_empty()) {
            (true, _) => "stopped",
            (false, true) => "complete",
            (false, false) => "complete_with_problems",
        };
        let (run, piece) = (self.run, self.piece);
        let (lines, missing) = (summary.lines.r#in as i64, summary.lines.missing as i64);
        let moment = now();
        self.execute(database::FINISH_RUN, params![run, moment, status, json])?;
        self.execute(
            database::FINISH_PIECE,
            params![piece, moment, lines, missing],
        )?;
        self.commit()
    }

    fn insert_tile(
        &mut self,
        row: &SettledRow,
        column: usize,
        image: Option<&str>,
        image_problem: Option<&str>,
    ) -> Result<i64, RecordError> {
        let position = row.row.position(column);
        let classes = &self.description.card.classes;
        let verdict = row.verdicts[column];
        let class = verdict.map(|verdict| classes[verdict.class].clone());
        let probabilities = verdict.map(|_| {
            let scores = &row.probabilities[column * classes.len()..][..classes.len()];
            serde_json::to_string(scores).unwrap_or_default()
        });
        let reason = match row.states[column] {
            TileState::Unjudged(reason) => Some(reason.name()),
            _ => None,
        };
        let file = (row.row.first_line / TILE_SIZE as u64) as usize;
        let file = self.description.files.get(file);
        let file = file.map(|file| file.display().to_string());
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
            class,
            verdict.map(|verdict| f64::from(verdict.probability)),
            probabilities,
            row.suspicions[column].map(f64::from),
            image,
            image_problem,
            file,
            latency,
            now(),
            self.model(row.row.model),
            row.distances[column].map(f64::from),
        ];
        let inserted = execute(
            &self.database,
            &mut self.group,
            database::INSERT_TILE,
            values,
        );
        inserted.map_err(|error| self.refused(error))
    }

    fn execute(&mut self, sql: &str, values: impl rusqlite::Params) -> Result<i64, RecordError> {
        execute(&self.database, &mut self.group, sql, values).map_err(|error| self.refused(error))
    }

    /// What to do when a statement fails: SQLite may have rolled back
    /// everything that waits with it, as it does when the disk is full.
    fn refused(&mut self, error: rusqlite::Error) -> RecordError {
        if self.database.is_autocommit() {
            self.lose_group();
        }
        RecordError::write(&self.path)(error)
    }

    /// Rolls back what waits and counts it as lost.
    fn lose_group(&mut self) {
        if !self.database.is_autocommit() {
            // When even this fails, the next statement will say so.
            let _ = self.database.execute_batch("ROLLBACK");
        }
        self.images.discard();
        let lost = std::mem::take(&mut self.group).rows;
        self.recorded.tiles_lost += lost.tiles;
        self.recorded.gaps_lost += lost.gaps;
        self.recorded.late_verdicts_lost += lost.late_verdicts;
    }
}

/// A recorded tile, where it was not judged in time.
fn overdue(
    row: &SettledRow,
    column: usize,
    tile: i64,
    image: impl FnOnce() -> PathBuf,
) -> Option<Overdue> {
    match row.states[column] {
        TileState::Unjudged(reason) if reason.is_overdue() => Some(Overdue {
            tile,
            image: image(),
            reason,
            suspicion: row.suspicions[column],
            completed: row.row.completed,
        }),
        _ => None,
    }
}

/// Runs a statement within the group's transaction; gives the id of the row
/// that it inserted.
fn execute(
    database: &Connection,
    group: &mut Group,
    sql: &str,
    values: impl rusqlite::Params,
) -> rusqlite::Result<i64> {
    if database.is_autocommit() {
        database.execute_batch("BEGIN IMMEDIATE")?;
    }
    group.begun.get_or_insert_with(Instant::now);
    database.prepare_cached(sql)?.execute(values)?;
    Ok(database.last_insert_rowid())
}
