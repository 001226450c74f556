//! What someone should know of at once, and who has taken note of it.

use rusqlite::{Row, params};
use serde::Serialize;

use super::error::ReviewError;
use super::store::Review;
use crate::record::now;

/// What an alarm is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlarmKind {
    /// Tiles that nobody has judged.
    Unjudged,
    /// Lines were lost.
    Gap,
    /// No lines come.
    NoLines,
    /// The camera is gone, or its stream has failed.
    Camera,
    /// Verdicts came too late.
    Late,
    /// Something could not be recorded.
    Record,
    /// Little space is left for the record.
    Disk,
    /// The computer's clock was changed.
    Clock,
}

impl AlarmKind {
    /// Its name in the database and on the page.
    pub fn name(self) -> &'static str {
        match self {
            AlarmKind::Unjudged => "unjudged",
            AlarmKind::Gap => "gap",
            AlarmKind::NoLines => "no_lines",
            AlarmKind::Camera => "camera",
            AlarmKind::Late => "late",
            AlarmKind::Record => "record",
            AlarmKind::Disk => "disk",
            AlarmKind::Clock => "clock",
        }
    }
}

/// An alarm that nobody has acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Alarm {
    /// Its number.
    pub id: i64,
    /// What it is about.
    pub kind: String,
    /// What is wrong.
    pub told: String,
    /// When it was raised, RFC 3339 in UTC.
    pub raised: String,
    /// When it was last raised again, RFC 3339 in UTC.
    pub renewed: String,
}

impl Review {
    /// Raises an alarm, or renews the open one of its kind.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn raise(&self, kind: AlarmKind, told: &str) -> Result<(), ReviewError> {
        self.execute(
            "INSERT INTO alarm (kind, raised, told, renewed) VALUES (?1, ?2, ?3, ?2) \
             ON CONFLICT (kind) WHERE acknowledged IS NULL \
             DO UPDATE SET told = excluded.told, renewed = excluded.renewed",
            params![kind.name(), now(), told],
        )
    }

    /// Alarms that nobody has acknowledged, the first first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn alarms(&self) -> Result<Vec<Alarm>, ReviewError> {
        let sql = "SELECT id, kind, told, raised, renewed FROM alarm \
             WHERE acknowledged IS NULL ORDER BY id";
        self.all(sql, [], read)
    }

    /// Notes that someone has taken note of an alarm. Once is enough: of one that is
    /// acknowledged nothing is changed.
    ///
    /// # Errors
    /// When there is no such alarm, or the database cannot be written.
    pub fn acknowledge(&self, alarm: i64, who: &str) -> Result<(), ReviewError> {
        self.write(|| {
            let sql = "SELECT id FROM alarm WHERE id = ?1";
            let known: Option<i64> = self.one(sql, [alarm], |row| row.get(0))?;
            known.ok_or(ReviewError::NoAlarm(alarm))?;
            self.execute(
                "UPDATE alarm SET acknowledged = ?2, acknowledged_by = ?3 \
                 WHERE id = ?1 AND acknowledged IS NULL",
                params![alarm, now(), who],
            )
        })
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<Alarm> {
    Ok(Alarm {
        id: row.get(0)?,
        kind: row.get(1)?,
        told: row.get(2)?,
        raised: row.get(3)?,
        renewed: row.get(4)?,
    })
}
