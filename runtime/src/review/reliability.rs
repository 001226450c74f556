//! How far a model is right, as people say who have looked at what it flagged.

use millsight_export::card::{ModelCard, NO_DEFECT, Proportion};
use millsight_export::operating::bounds::exact;
use rusqlite::params;
use serde::Serialize;

use super::decision::HOLDS;
use super::error::ReviewError;
use super::store::Review;

/// What became of the tiles that a model flagged as a class.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct ClassReliability {
    /// The class.
    pub class: String,
    /// Tiles that the model flagged as it.
    pub flagged: u64,
    /// Those of them on which all reviewers agree.
    pub reviewed: u64,
    /// Share of those that they confirm, with exact bounds of 95 %: the precision.
    #[schema(value_type = Object)]
    pub confirmed: Proportion,
    /// Share of those in which they see no defect, with exact bounds of 95 %.
    #[schema(value_type = Object)]
    pub false_alarms: Proportion,
}

/// Tiles on which people decided, each with the class on which they agree, or none.
pub(super) fn agreed() -> String {
    format!(
        "SELECT d.tile, CASE count(DISTINCT coalesce(d.class, '')) WHEN 1 THEN max(d.class) END \
         AS class FROM decision d WHERE {HOLDS} GROUP BY d.tile"
    )
}

impl Review {
    /// How far a model, named by its SHA-256, was right, class by class.
    ///
    /// # Errors
    /// When a database cannot be read.
    pub fn reliability(&self, model_sha256: &str) -> Result<Vec<ClassReliability>, ReviewError> {
        let sql = format!(
            "SELECT tile.class, count(*), count(agreed.class), \
             count(*) FILTER (WHERE agreed.class = tile.class), \
             count(*) FILTER (WHERE agreed.class = ?2) \
             FROM record.tile JOIN record.model ON model.id = tile.model \
             LEFT JOIN ({}) agreed ON agreed.tile = tile.id \
             WHERE model.sha256 = ?1 AND tile.state = 'judged' AND tile.class <> ?2 \
             GROUP BY tile.class ORDER BY tile.class",
            agreed()
        );
        self.all(&sql, params![model_sha256, NO_DEFECT], |row| {
            let count = |column| row.get::<_, i64>(column).map(i64::unsigned_abs);
            let reviewed = count(2)?;
            Ok(ClassReliability {
                class: row.get(0)?,
                flagged: count(1)?,
                reviewed,
                confirmed: exact(count(3)?, reviewed),
                false_alarms: exact(count(4)?, reviewed),
            })
        })
    }

    /// SHA-256 and card of the model of the last run; `None` where there was none.
    ///
    /// # Errors
    /// When the record cannot be read.
    pub fn last_model(&self) -> Result<Option<(String, ModelCard)>, ReviewError> {
        let sql = "SELECT model.sha256, model.card FROM record.run \
             JOIN record.model ON model.id = run.model ORDER BY run.id DESC LIMIT 1";
        let found: Option<(String, String)> =
            self.one(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(found.and_then(|(sha256, card)| Some((sha256, serde_json::from_str(&card).ok()?))))
    }
}
