//! A piece as a whole: where its defects lie, how many there are, and whether they
//! repeat.

mod defects;
mod marks;
mod table;

#[cfg(test)]
mod tests;

use millsight_firmware_config::{Station, TILE_SIZE};
use rusqlite::{Row, params};
use serde::Serialize;

use super::decision::{HOLDS, classes_of};
use super::error::ReviewError;
use super::store::Review;
pub use defects::Defect;
pub use marks::RepeatingMark;
pub use table::{ClassCount, Stretch};

/// A coil, rod or wire, from head to tail.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Piece {
    /// Its number in the record.
    pub id: i64,
    /// Number of the run.
    pub run: i64,
    /// What it is called.
    pub name: String,
    /// Name of the station.
    pub station: String,
    /// Name of the model.
    pub model: String,
    /// How the run ended: `running`, `complete`, `complete_with_problems`, `stopped` or
    /// `crashed`.
    pub status: String,
    /// When its head came, RFC 3339 in UTC.
    pub started: String,
    /// When its tail had passed, RFC 3339 in UTC; none yet, or never known.
    pub finished: Option<String>,
    /// Its lines; known when it has passed.
    pub lines: Option<i64>,
    /// Lines that are missing in gaps; known when it has passed.
    pub missing_lines: Option<i64>,
    /// Tiles that were flagged as a defect.
    pub flagged: i64,
    /// Tiles that nobody has judged.
    pub unjudged: i64,
    /// Tiles on which someone has decided.
    pub reviewed: i64,
}

/// A tile of a piece that was flagged or left unjudged.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Finding {
    /// Its number in the record.
    pub tile: i64,
    /// Its first line, from the head on.
    pub first_line: i64,
    /// Column in the row, from 0 on.
    pub column: i64,
    /// Where it begins along the piece, metres.
    pub metres: f64,
    /// Where its centre lies across, millimetres.
    pub millimetres: f64,
    /// Class of the verdict; none: unjudged.
    pub class: Option<String>,
    /// Probability of that class, 0 to 1.
    pub probability: Option<f64>,
    /// The class that all reviewers gave it; none where there is none, or they do not
    /// agree or could not tell.
    pub reviewed: Option<String>,
}

impl Finding {
    /// What it is taken for: what people say goes before the verdict. `None` where
    /// neither is known.
    pub(super) fn taken_for(&self) -> Option<&str> {
        self.reviewed.as_deref().or(self.class.as_deref())
    }
}

/// Lines that were lost.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct LostLines {
    /// Where they would begin along the piece, metres.
    pub metres: f64,
    /// How many.
    pub lines: i64,
    /// Why.
    pub reason: String,
}

/// All that is known of a piece.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct PieceReport {
    /// Which.
    pub piece: Piece,
    /// Its length, metres; so far, while it passes.
    pub length_m: f64,
    /// Width of what the camera sees, millimetres.
    pub width_mm: f64,
    /// Length of a tile along the piece, metres.
    pub tile_m: f64,
    /// Width of a tile, millimetres.
    pub tile_mm: f64,
    /// Classes of the model.
    pub model_classes: Vec<String>,
    /// Its tiles that were flagged or left unjudged, from the head on.
    pub findings: Vec<Finding>,
    /// Neighbouring tiles of a class are one defect.
    pub defects: Vec<Defect>,
    /// How many there are of each class.
    pub classes: Vec<ClassCount>,
    /// Where they are dense.
    pub stretches: Vec<Stretch>,
    /// Defects that repeat with a period, as those of a damaged roll do.
    pub marks: Vec<RepeatingMark>,
    /// Where nobody can say anything.
    pub gaps: Vec<LostLines>,
}

fn selected(which: &str) -> String {
    format!(
        "SELECT piece.id, piece.run, piece.name, run.station, model.name, run.status, \
         piece.started, piece.finished, piece.lines, piece.missing_lines, \
         (SELECT count(*) FROM record.tile WHERE piece = piece.id AND {FLAGGED}), \
         (SELECT count(*) FROM record.tile WHERE piece = piece.id AND state = 'unjudged'), \
         (SELECT count(DISTINCT d.tile) FROM decision d JOIN record.tile ON tile.id = d.tile \
          WHERE tile.piece = piece.id AND {HOLDS}) \
         FROM record.piece JOIN record.run ON run.id = piece.run \
         JOIN record.model ON model.id = run.model WHERE {which}"
    )
}

/// Of a tile: the model took it for a defect.
const FLAGGED: &str = "state = 'judged' AND class <> 'no_defect'";

impl Review {
    /// Pieces, the last first; those before a piece that was given before.
    ///
    /// # Errors
    /// When a database cannot be read.
    pub fn pieces(&self, before: Option<i64>, most: usize) -> Result<Vec<Piece>, ReviewError> {
        let sql = selected("piece.id < ?1 ORDER BY piece.id DESC LIMIT ?2");
        let values = params![before.unwrap_or(i64::MAX), most as i64];
        self.all(&sql, values, read_piece)
    }

    /// All that is known of a piece.
    ///
    /// # Errors
    /// When there is no such piece, or a database cannot be read.
    pub fn piece(&self, number: i64) -> Result<PieceReport, ReviewError> {
        let piece = self.one(&selected("piece.id = ?1"), [number], read_piece)?;
        let piece = piece.ok_or(ReviewError::NoPiece(number))?;
        let sql = "SELECT lines_per_metre, mm_per_pixel, station_toml, card FROM record.run \
             JOIN record.model ON model.id = run.model WHERE run.id = ?1";
        let run = self.one(sql, [piece.run], |row| {
            let (station, card): (String, String) = (row.get(2)?, row.get(3)?);
            Ok((row.get(0)?, row.get(1)?, station, card))
        })?;
        let (lines_per_metre, mm_per_pixel, station, card): (f64, f64, _, _) =
            run.ok_or(ReviewError::NoPiece(number))?;
        let findings = self.findings(number)?;
        let gaps = self.gaps(number)?;
        let tile_m = TILE / lines_per_metre;
        let tile_mm = TILE * mm_per_pixel;
        let seen = findings.last().map_or(0.0, |last| last.metres + tile_m);
        let lines = piece.lines.unwrap_or(0) + piece.missing_lines.unwrap_or(0);
        let length_m = seen.max(lines as f64 / lines_per_metre);
        let station = Station::parse(&station, "recorded").ok();
        let widest = findings.iter().map(|one| one.column + 1).max().unwrap_or(1);
        let width_mm = station.map_or(widest as f64 * tile_mm, |station| {
            station.camera.pixels_per_line as f64 * mm_per_pixel
        });
        let defects = defects::grouped(&findings, tile_m, tile_mm);
        Ok(PieceReport {
            classes: table::classes(&findings, &defects),
            stretches: table::stretches(&defects, length_m),
            marks: marks::repeating(&findings, tile_m, tile_mm),
            piece,
            length_m,
            width_mm,
            tile_m,
            tile_mm,
            model_classes: classes_of(&card),
            findings,
            defects,
            gaps,
        })
    }

    fn findings(&self, piece: i64) -> Result<Vec<Finding>, ReviewError> {
        let sql = format!(
            "SELECT tile.id, tile.first_line, tile.\"column\", tile.metres, tile.millimetres, \
             tile.class, tile.probability, \
             (SELECT CASE count(DISTINCT coalesce(d.class, '')) WHEN 1 THEN max(d.class) END \
              FROM decision d WHERE d.tile = tile.id AND {HOLDS}) \
             FROM record.tile WHERE tile.piece = ?1 AND (state = 'unjudged' OR {FLAGGED}) \
             ORDER BY tile.first_line, tile.\"column\""
        );
        self.all(&sql, [piece], |row| {
            Ok(Finding {
                tile: row.get(0)?,
                first_line: row.get(1)?,
                column: row.get(2)?,
                metres: row.get(3)?,
                millimetres: row.get(4)?,
                class: row.get(5)?,
                probability: row.get(6)?,
                reviewed: row.get(7)?,
            })
        })
    }

    fn gaps(&self, piece: i64) -> Result<Vec<LostLines>, ReviewError> {
        let sql = "SELECT metres, lines, reason FROM record.gap WHERE piece = ?1 ORDER BY id";
        self.all(sql, [piece], |row| {
            Ok(LostLines {
                metres: row.get(0)?,
                lines: row.get(1)?,
                reason: row.get(2)?,
            })
        })
    }
}

/// Lines, and pixels, of a tile.
const TILE: f64 = TILE_SIZE as f64;

fn read_piece(row: &Row<'_>) -> rusqlite::Result<Piece> {
    Ok(Piece {
        id: row.get(0)?,
        run: row.get(1)?,
        name: row.get(2)?,
        station: row.get(3)?,
        model: row.get(4)?,
        status: row.get(5)?,
        started: row.get(6)?,
        finished: row.get(7)?,
        lines: row.get(8)?,
        missing_lines: row.get(9)?,
        flagged: row.get(10)?,
        unjudged: row.get(11)?,
        reviewed: row.get(12)?,
    })
}
