//! What reviewers agreed on, for the trainer.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use millsight_export::durable;
use rusqlite::Row;
use serde::Serialize;

use super::decision::HOLDS;
use super::error::ReviewError;
use super::store::Review;
use super::tile::is_inside;

/// Name of the table of labels.
pub const TABLE: &str = "labels.csv";

/// A tile with the class that its reviewers agree on.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Label {
    /// Image, relative to the table.
    path: String,
    /// Class.
    label: String,
    /// The piece that it shows, of all that the record holds.
    group: String,
    /// Who decided last.
    reviewer: String,
    /// Decisions that agree.
    decisions: i64,
    /// What the model said, and how probable that was to it; empty where unjudged.
    predicted: Option<String>,
    probability: Option<f64>,
    /// SHA-256 of the model.
    model_sha256: String,
    /// What the piece is called.
    piece: String,
}

/// What was written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Exported {
    /// Tiles with their class.
    pub tiles: u64,
    /// Tiles on which reviewers do not agree, which are left out.
    pub disputed: u64,
    /// Tiles of which nobody could tell, which are left out.
    pub cannot_tell: u64,
    /// Tiles of which there is no image, which are left out.
    pub without_image: u64,
}

/// A reviewed tile: the label if it is one, and where its image lies.
struct Reviewed {
    tile: i64,
    label: Label,
    classes: i64,
    is_told: bool,
}

/// Tiles with decisions that hold. `max` of an id picks the row that the other columns
/// are of (SQLite's bare columns).
fn reviewed() -> String {
    format!(
        "SELECT tile.id, d.class, d.reviewer, count(*), \
         count(DISTINCT coalesce(d.class, '')), tile.class, tile.probability, d.model_sha256, \
         piece.name, piece.run, piece.id, tile.row, tile.\"column\", max(d.id) \
         FROM decision d JOIN record.tile ON tile.id = d.tile \
         JOIN record.piece ON piece.id = tile.piece \
         WHERE {HOLDS} GROUP BY tile.id ORDER BY tile.id"
    )
}

impl Review {
    /// Copies the images of all tiles on which the reviewers agree into `out`, in a
    /// folder for each class, and a table that says who decided what of which model, as
    /// `millsight-train index --reviews` takes them. The group of a tile is its piece, so
    /// that `millsight-train split` keeps the tiles of a piece together.
    ///
    /// # Errors
    /// When the review cannot be read, or a file not be written.
    pub fn export_labels(&self, out: &Path) -> Result<Exported, ReviewError> {
        let mut exported = Exported::default();
        let mut labels = Vec::new();
        for reviewed in self.all(&reviewed(), [], read)? {
            let Reviewed {
                tile,
                label,
                classes,
                is_told,
            } = reviewed;
            if classes > 1 {
                exported.disputed += 1;
                continue;
            }
            if !is_told {
                exported.cannot_tell += 1;
                continue;
            }
            let image = self.image(tile)?.filter(|image| image.is_file());
            let Some(image) = image else {
                exported.without_image += 1;
                continue;
            };
            let target = out.join(&label.path);
            // Classes are what a model's card says.
            let copied = match is_inside(Path::new(&label.path)) {
                true => copy(&image, &target),
                false => Err(io::ErrorKind::InvalidFilename.into()),
            };
            copied.map_err(written(&target))?;
            labels.push(label);
            exported.tiles += 1;
        }
        fs::create_dir_all(out).map_err(written(out))?;
        let table = out.join(TABLE);
        let mut writer = csv::Writer::from_writer(Vec::new());
        for label in &labels {
            writer
                .serialize(label)
                .map_err(|error| written(&table)(error.into()))?;
        }
        let text = writer
            .into_inner()
            .map_err(|error| written(&table)(error.into_error()))?;
        durable::replace_file(&table, &text).map_err(written(&table))?;
        Ok(exported)
    }
}

fn written(path: &Path) -> impl Fn(io::Error) -> ReviewError {
    move |error| ReviewError::Write {
        path: path.to_path_buf(),
        error,
    }
}

/// Copies a file, which has its name when it is whole.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut partial = durable::partial_beside(to)?;
    io::copy(&mut File::open(from)?, &mut partial)?;
    durable::persist(partial, to)
}

fn read(row: &Row<'_>) -> rusqlite::Result<Reviewed> {
    let class: Option<String> = row.get(1)?;
    let (run, piece): (i64, i64) = (row.get(9)?, row.get(10)?);
    let (tile_row, column): (i64, i64) = (row.get(11)?, row.get(12)?);
    let label = class.clone().unwrap_or_default();
    let group = format!("run{run}piece{piece}");
    let name = format!("{group}_{tile_row:07}_{column}.png");
    let path: PathBuf = [label.as_str(), &name].iter().collect();
    Ok(Reviewed {
        tile: row.get(0)?,
        classes: row.get(4)?,
        is_told: class.is_some(),
        label: Label {
            path: path.display().to_string(),
            label,
            group,
            reviewer: row.get(2)?,
            decisions: row.get(3)?,
            predicted: row.get(5)?,
            probability: row.get(6)?,
            model_sha256: row.get(7)?,
            piece: row.get(8)?,
        },
    })
}
