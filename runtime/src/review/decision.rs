//! What a reviewer said of a tile. Decisions are appended; undoing one appends as well.

use rand::RngExt;
use rand_pcg::Pcg64;
use rusqlite::{Row, params};
use serde::{Deserialize, Serialize};

use super::error::ReviewError;
use super::store::Review;
use crate::record::now;

/// Decisions that are made before a tile may come back, so that its answer is not
/// just remembered.
const APART: i64 = 20;

/// A decision to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct NewDecision {
    /// Chosen by who asks, so that a request that is repeated is one decision: a
    /// UUID or the like.
    pub key: String,
    /// The tile, as the record numbers it.
    pub tile: i64,
    /// Class of the model's card; `None`: cannot tell.
    pub class: Option<String>,
    /// What the reviewer adds.
    #[serde(default)]
    pub note: String,
    /// Milliseconds for which the reviewer looked.
    pub took_ms: u64,
}

/// A decision that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Decision {
    /// Its number; later ones are larger.
    pub id: i64,
    /// The tile, as the record numbers it.
    pub tile: i64,
    /// When, RFC 3339 in UTC.
    pub made: String,
    /// Who.
    pub reviewer: String,
    /// The class; `None`: could not tell.
    pub class: Option<String>,
    /// What the reviewer added.
    pub note: String,
    /// SHA-256 of the model whose verdict was seen.
    pub model_sha256: String,
    /// Milliseconds for which the reviewer looked.
    pub took_ms: u64,
    /// Whether it was asked again, without the earlier answer.
    pub is_blind: bool,
    /// Whether it was undone.
    pub is_undone: bool,
}

/// Of a decision `d`: it was made, and not undone.
pub(super) const HOLDS: &str = "d.undoes IS NULL AND NOT EXISTS \
     (SELECT 1 FROM decision u WHERE u.undoes = d.id)";

/// Selects decisions in their order.
fn selected(which: &str) -> String {
    format!(
        "SELECT d.id, d.tile, d.made, d.reviewer, d.class, d.note, d.model_sha256, d.took_ms, \
         d.is_blind, EXISTS (SELECT 1 FROM decision u WHERE u.undoes = d.id) AS is_undone \
         FROM decision d WHERE d.undoes IS NULL AND {which} ORDER BY d.id"
    )
}

fn read(row: &Row<'_>) -> rusqlite::Result<Decision> {
    Ok(Decision {
        id: row.get(0)?,
        tile: row.get(1)?,
        made: row.get(2)?,
        reviewer: row.get(3)?,
        class: row.get(4)?,
        note: row.get(5)?,
        model_sha256: row.get(6)?,
        took_ms: row.get::<_, i64>(7)?.unsigned_abs(),
        is_blind: row.get(8)?,
        is_undone: row.get(9)?,
    })
}

impl Review {
    /// Appends a decision of a reviewer. One with a key that is known already is
    /// not made again: what was decided with that key is given. A share of the tiles,
    /// `again`, 0 to 1, comes back to be decided once more.
    ///
    /// # Errors
    /// When there is no such tile or class, the key stands for something else, or the
    /// database cannot be written.
    pub fn decide(
        &self,
        reviewer: &str,
        new: &NewDecision,
        again: f64,
    ) -> Result<Decision, ReviewError> {
        self.write(|| {
            if let Some(known) = self.of_key(&new.key)? {
                return known
                    .filter(|known| known.tile == new.tile)
                    .ok_or_else(|| ReviewError::KeyInUse(new.key.clone()));
            }
            let (is_open, model_sha256) = self.check(new)?;
            let values = params![
                new.key,
                new.tile,
                now(),
                reviewer,
                new.class,
                new.note,
                model_sha256,
                i64::try_from(new.took_ms).unwrap_or(i64::MAX),
                !is_open,
            ];
            self.execute(
                "INSERT INTO decision (key, tile, made, reviewer, class, note, model_sha256, \
                 took_ms, is_blind) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
                values,
            )?;
            let id = self.database.last_insert_rowid();
            self.execute(
                "UPDATE candidate SET is_open = 0 WHERE tile = ?1",
                [new.tile],
            )?;
            self.execute("DELETE FROM again WHERE tile = ?1", [new.tile])?;
            if is_open && comes_back(id, again) {
                let due = [new.tile, id + APART];
                self.execute("INSERT INTO again (tile, due) VALUES (?1, ?2)", due)?;
            }
            self.made(id)
        })
    }

    /// Undoes a decision of the same reviewer: appends that it no longer holds.
    /// Where no other decision is left, the tile waits in the queue again. An
    /// undoing with a key that is known already is not done again.
    ///
    /// # Errors
    /// When there is no such decision, it is another's or undone already, or the
    /// database cannot be written.
    pub fn undo(&self, reviewer: &str, decision: i64, key: &str) -> Result<Decision, ReviewError> {
        let refused = |reason| ReviewError::NotUndone { decision, reason };
        self.write(|| {
            let found = self.decision(decision)?;
            let found = found.ok_or(refused("there is none"))?;
            if found.reviewer != reviewer {
                return Err(refused("it is another reviewer's"));
            }
            let by_key = "SELECT undoes FROM decision WHERE key = ?1";
            let known: Option<Option<i64>> = self.one(by_key, [key], |row| row.get(0))?;
            if known == Some(Some(decision)) {
                return Ok(found);
            }
            if known.is_some() {
                return Err(ReviewError::KeyInUse(key.to_owned()));
            }
            if found.is_undone {
                return Err(refused("it is undone already"));
            }
            let values = params![
                key,
                found.tile,
                now(),
                reviewer,
                found.model_sha256,
                decision
            ];
            self.execute(
                "INSERT INTO decision (key, tile, made, reviewer, note, model_sha256, took_ms, \
                 is_blind, undoes) VALUES (?1, ?2, ?3, ?4, '', ?5, 0, 0, ?6)",
                values,
            )?;
            let is_open = self.decisions(found.tile)?.iter().all(|one| one.is_undone);
            self.execute(
                "UPDATE candidate SET is_open = ?2 WHERE tile = ?1",
                params![found.tile, is_open],
            )?;
            self.execute("DELETE FROM again WHERE tile = ?1", [found.tile])?;
            self.made(decision)
        })
    }

    /// A decision; `None` where there is none, or it only undoes another.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn decision(&self, id: i64) -> Result<Option<Decision>, ReviewError> {
        self.one(&selected("d.id = ?1"), [id], read)
    }

    /// All decisions on a tile in their order, those that were undone too.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn decisions(&self, tile: i64) -> Result<Vec<Decision>, ReviewError> {
        self.all(&selected("d.tile = ?1"), [tile], read)
    }

    /// The last decisions of a reviewer that hold, the last first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn last_of(&self, reviewer: &str, most: usize) -> Result<Vec<Decision>, ReviewError> {
        let sql = format!(
            "SELECT * FROM ({} DESC) WHERE NOT is_undone LIMIT ?2",
            selected("d.reviewer = ?1")
        );
        self.all(&sql, params![reviewer, most as i64], read)
    }

    /// What a key stands for: nothing yet, a decision, or (`Some(None)`) an undoing.
    fn of_key(&self, key: &str) -> Result<Option<Option<Decision>>, ReviewError> {
        let sql = "SELECT id FROM decision WHERE key = ?1";
        let id: Option<i64> = self.one(sql, [key], |row| row.get(0))?;
        id.map(|id| self.decision(id)).transpose()
    }

    /// A decision that was just made.
    fn made(&self, id: i64) -> Result<Decision, ReviewError> {
        let missing = rusqlite::Error::QueryReturnedNoRows;
        let made = self.decision(id)?;
        made.ok_or_else(|| ReviewError::database(&self.path)(missing))
    }

    /// Whether the tile is open, and the model that has judged it.
    ///
    /// # Errors
    /// When nobody should look at the tile, or its model does not have the class.
    fn check(&self, new: &NewDecision) -> Result<(bool, String), ReviewError> {
        let sql = "SELECT candidate.is_open, model.sha256, model.card FROM candidate \
             JOIN record.tile ON tile.id = candidate.tile \
             JOIN record.model ON model.id = tile.model WHERE candidate.tile = ?1";
        let found = self.one(sql, [new.tile], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get::<_, String>(2)?))
        })?;
        let (is_open, model_sha256, card) = found.ok_or(ReviewError::NoTile(new.tile))?;
        if let Some(class) = &new.class {
            let classes = classes_of(&card);
            if !classes.contains(class) {
                return Err(ReviewError::NoClass {
                    class: class.clone(),
                    classes: classes.join(", "),
                });
            }
        }
        Ok((is_open, model_sha256))
    }
}

/// The classes of a card, as JSON.
pub(super) fn classes_of(card: &str) -> Vec<String> {
    #[derive(Deserialize)]
    struct Classes {
        classes: Vec<String>,
    }
    serde_json::from_str::<Classes>(card).map_or_else(|_| Vec::new(), |card| card.classes)
}

/// Whether the tile of a decision is asked again: of `share` of them.
fn comes_back(decision: i64, share: f64) -> bool {
    let seed = u128::from(decision.unsigned_abs());
    Pcg64::new(seed, 5).random_bool(share.clamp(0.0, 1.0))
}
