//! What is shown of a tile.

use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};

use rusqlite::{Row, params};
use serde::Serialize;

use super::decision::classes_of;
use super::error::ReviewError;
use super::store::Review;

/// What the line found out about a tile.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Tile {
    /// Its number in the record.
    pub id: i64,
    /// Number of the run.
    pub run: i64,
    /// Number of the piece.
    pub piece: i64,
    /// What the piece is called.
    pub piece_name: String,
    /// Row of tiles, from 0 on.
    pub row: i64,
    /// Column in the row, from 0 on.
    pub column: i64,
    /// Where it begins along the piece, metres.
    pub metres: f64,
    /// Where its centre lies across, millimetres.
    pub millimetres: f64,
    /// Millimetres of a pixel.
    pub mm_per_pixel: f64,
    /// Its lines; fewer than 512 where the piece ended or lines were lost.
    pub lines: i64,
    /// `judged` or `unjudged`.
    pub state: String,
    /// Why it is unjudged.
    pub reason: Option<String>,
    /// Class of the verdict.
    pub class: Option<String>,
    /// Probability of that class, 0 to 1.
    pub probability: Option<f64>,
    /// Classes of the model.
    pub classes: Vec<String>,
    /// Probability of each class; empty without a verdict.
    pub probabilities: Vec<f64>,
    /// What the screen gave as the probability of a defect, 0 to 1.
    pub suspicion: Option<f64>,
    /// How far it is from the tiles that the model was trained on, of which half are nearer than 1.
    /// None where the model does not tell.
    pub distance: Option<f64>,
    /// Name of the model.
    pub model: String,
    /// Whether there is an image.
    pub has_image: bool,
    /// Why there is no image that was to be kept.
    pub image_problem: Option<String>,
    /// When its state was known, RFC 3339 in UTC.
    pub settled: String,
}

/// A recorded tile beside another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Neighbour {
    /// Its number in the record.
    pub id: i64,
    /// Rows further along the piece, -1 to 1.
    pub rows: i64,
    /// Columns further across, -1 to 1.
    pub columns: i64,
}

const TILE: &str = "SELECT tile.id, piece.run, piece.id, piece.name, tile.row, tile.\"column\", \
     tile.metres, tile.millimetres, run.mm_per_pixel, tile.lines, tile.state, tile.reason, \
     tile.class, tile.probability, tile.probabilities, tile.suspicion, model.name, \
     tile.image IS NOT NULL, tile.image_problem, tile.settled, tile.distance \
     FROM record.tile JOIN record.piece ON piece.id = tile.piece \
     JOIN record.run ON run.id = piece.run JOIN record.model ON model.id = tile.model \
     WHERE tile.id = ?1";

impl Review {
    /// Tiles by their numbers, in that order; what is not recorded is left out.
    ///
    /// # Errors
    /// When the record cannot be read.
    pub fn tiles(&self, numbers: &[i64]) -> Result<Vec<Tile>, ReviewError> {
        let mut classes: HashMap<i64, Vec<String>> = HashMap::new();
        let mut tiles = Vec::with_capacity(numbers.len());
        for &number in numbers {
            let Some(mut tile) = self.one(TILE, [number], read)? else {
                continue;
            };
            tile.classes = match classes.get(&tile.run) {
                Some(known) => known.clone(),
                None => {
                    let sql = "SELECT card FROM record.run JOIN record.model ON model.id = run.model \
                         WHERE run.id = ?1";
                    let card: Option<String> = self.one(sql, [tile.run], |row| row.get(0))?;
                    let found = classes_of(&card.unwrap_or_default());
                    classes.entry(tile.run).or_insert(found).clone()
                }
            };
            tiles.push(tile);
        }
        Ok(tiles)
    }

    /// The recorded tiles with an image around a tile.
    ///
    /// # Errors
    /// When the record cannot be read.
    pub fn neighbours(&self, tile: &Tile) -> Result<Vec<Neighbour>, ReviewError> {
        self.all(
            "SELECT id, row - ?2, \"column\" - ?3 FROM record.tile WHERE piece = ?1 \
             AND row BETWEEN ?2 - 1 AND ?2 + 1 AND \"column\" BETWEEN ?3 - 1 AND ?3 + 1 \
             AND id <> ?4 AND image IS NOT NULL",
            params![tile.piece, tile.row, tile.column, tile.id],
            |row| {
                Ok(Neighbour {
                    id: row.get(0)?,
                    rows: row.get(1)?,
                    columns: row.get(2)?,
                })
            },
        )
    }

    /// SHA-256 of the model that judged a tile, or would have; `None` where there is no
    /// such tile.
    ///
    /// # Errors
    /// When the record cannot be read.
    pub fn model_of(&self, tile: i64) -> Result<Option<String>, ReviewError> {
        let sql = "SELECT model.sha256 FROM record.tile \
             JOIN record.model ON model.id = tile.model WHERE tile.id = ?1";
        self.one(sql, [tile], |row| row.get(0))
    }

    /// The file of a tile's image; `None` where it has none. It lies below the
    /// record's folder, whatever the record says.
    ///
    /// # Errors
    /// When the record cannot be read.
    pub fn image(&self, tile: i64) -> Result<Option<PathBuf>, ReviewError> {
        let sql = "SELECT image FROM record.tile WHERE id = ?1";
        let image: Option<Option<String>> = self.one(sql, [tile], |row| row.get(0))?;
        let relative = image.flatten().map(PathBuf::from);
        let inside = relative.filter(|path| is_inside(path));
        Ok(inside.map(|path| self.folder().join(path)))
    }
}

/// Whether a path leads nowhere but further down.
pub(super) fn is_inside(path: &Path) -> bool {
    path.components()
        .all(|component| matches!(component, Component::Normal(_)))
}

fn read(row: &Row<'_>) -> rusqlite::Result<Tile> {
    let probabilities: Option<String> = row.get(14)?;
    let probabilities = probabilities.and_then(|text| serde_json::from_str(&text).ok());
    Ok(Tile {
        id: row.get(0)?,
        run: row.get(1)?,
        piece: row.get(2)?,
        piece_name: row.get(3)?,
        row: row.get(4)?,
        column: row.get(5)?,
        metres: row.get(6)?,
        millimetres: row.get(7)?,
        mm_per_pixel: row.get(8)?,
        lines: row.get(9)?,
        state: row.get(10)?,
        reason: row.get(11)?,
        class: row.get(12)?,
        probability: row.get(13)?,
        classes: Vec::new(),
        probabilities: probabilities.unwrap_or_default(),
        suspicion: row.get(15)?,
        model: row.get(16)?,
        has_image: row.get(17)?,
        image_problem: row.get(18)?,
        settled: row.get(19)?,
        distance: row.get(20)?,
    })
}
