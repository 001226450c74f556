//! Which tile comes next.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use millsight_export::card::{ModelCard, NO_DEFECT};
use millsight_firmware_config::Station;
use rusqlite::params;
use serde::{Deserialize, Serialize};

use super::decision::HOLDS;
use super::error::ReviewError;
use super::store::Review;
use crate::decide::Decider;

/// Tiles that are taken over from the record at once, so that decisions need not
/// wait.
const AT_ONCE: usize = 2000;

/// Steps in which the distance from another verdict is told.
const STEPS: f32 = 20.0;

/// What of a tile that was judged stands for one that was not.
const UNJUDGED: i64 = -1;

/// In which order tiles come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Unjudged ones first, then by how near another verdict was, and of those that
    /// are alike the rarest class.
    #[default]
    Useful,
    /// The latest first.
    Latest,
}

/// Tiles that wait for a reviewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Waiting {
    /// Nobody could judge them in time.
    pub unjudged: u64,
    /// Flagged by the model.
    pub flagged: u64,
}

impl Review {
    /// Takes over what was recorded since the last time; gives the number of tiles
    /// that have come or changed.
    ///
    /// # Errors
    /// When a database cannot be read or written.
    pub fn refresh(&self) -> Result<u64, ReviewError> {
        let mut changed = 0;
        loop {
            let (taken, is_all) = self.write(|| self.take_over())?;
            changed += taken;
            if is_all {
                break;
            }
        }
        Ok(changed + self.write(|| self.take_over_late())?)
    }

    /// The next tiles of the queue, after a tile that was given before.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn queue(
        &self,
        order: Order,
        after: Option<i64>,
        most: usize,
    ) -> Result<Vec<i64>, ReviewError> {
        match order {
            Order::Latest => self.all(
                "SELECT tile FROM candidate WHERE is_open AND tile < ?1 ORDER BY tile DESC LIMIT ?2",
                params![after.unwrap_or(i64::MAX), most as i64],
                |row| row.get(0),
            ),
            Order::Useful => self.useful(after, most),
        }
    }

    /// Tiles that were decided a while ago and are to be decided once more.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn due_again(&self, most: usize) -> Result<Vec<i64>, ReviewError> {
        self.all(
            "SELECT tile FROM again WHERE due <= (SELECT max(id) FROM decision) \
             ORDER BY due LIMIT ?1",
            [most as i64],
            |row| row.get(0),
        )
    }

    /// How many tiles wait.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn waiting(&self) -> Result<Waiting, ReviewError> {
        let sql = "SELECT count(*) FILTER (WHERE nearness < 0), \
             count(*) FILTER (WHERE nearness >= 0) FROM candidate WHERE is_open";
        let counted = self.one(sql, [], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))
        })?;
        let (unjudged, flagged) = counted.unwrap_or_default();
        Ok(Waiting {
            unjudged: unjudged.unsigned_abs(),
            flagged: flagged.unsigned_abs(),
        })
    }

    /// One group of tiles after the other, each in the order of the index.
    fn useful(&self, after: Option<i64>, most: usize) -> Result<Vec<i64>, ReviewError> {
        let classes: Vec<String> = self.all(
            "SELECT class FROM class_count ORDER BY tiles, class",
            [],
            |row| row.get(0),
        )?;
        let unjudged = std::iter::once((UNJUDGED, ""));
        let judged = (0..=STEPS as i64)
            .flat_map(|nearness| classes.iter().map(move |class| (nearness, class.as_str())));
        let mut groups = unjudged.chain(judged).peekable();
        let mut from = 0;
        let last = match after {
            Some(tile) => self.one(
                "SELECT nearness, class FROM candidate WHERE tile = ?1",
                [tile],
                |row| Ok((tile, row.get::<_, i64>(0)?, row.get::<_, String>(1)?)),
            )?,
            None => None,
        };
        if let Some((tile, nearness, class)) = last {
            while groups
                .next_if(|group| *group != (nearness, class.as_str()))
                .is_some()
            {}
            from = tile;
        }
        let mut tiles = Vec::new();
        for (nearness, class) in groups {
            let more: Vec<i64> = self.all(
                "SELECT tile FROM candidate WHERE is_open AND nearness = ?1 AND class = ?2 \
                 AND tile > ?3 ORDER BY tile LIMIT ?4",
                params![nearness, class, from, (most - tiles.len()) as i64],
                |row| row.get(0),
            )?;
            tiles.extend(more);
            if tiles.len() >= most {
                break;
            }
            from = 0;
        }
        Ok(tiles)
    }

    /// Takes over tiles that are new; gives how many someone should look at, and
    /// whether there are no more.
    fn take_over(&self) -> Result<(u64, bool), ReviewError> {
        let new = self.all(
            "SELECT tile.id, piece.run, tile.class, tile.probabilities, tile.model \
             FROM record.tile JOIN record.piece ON piece.id = tile.piece \
             WHERE tile.id > (SELECT tile FROM taken_over) ORDER BY tile.id LIMIT ?1",
            [AT_ONCE as i64],
            read_recorded,
        )?;
        let mut deciders = HashMap::new();
        let mut taken = 0;
        for recorded in &new {
            taken += u64::from(self.add(recorded, &mut deciders)?);
        }
        if let Some(last) = new.last() {
            self.execute("UPDATE taken_over SET tile = ?1", [last.tile])?;
        }
        Ok((taken, new.len() < AT_ONCE))
    }

    /// Takes over the verdicts of tiles that were judged after all.
    fn take_over_late(&self) -> Result<u64, ReviewError> {
        let judged = self.all(
            "SELECT tile.id, piece.run, tile.class, tile.probabilities, tile.model \
             FROM candidate JOIN record.tile ON tile.id = candidate.tile \
             JOIN record.piece ON piece.id = tile.piece \
             WHERE candidate.is_open IN (0, 1) AND candidate.nearness = -1 \
             AND tile.class IS NOT NULL",
            [],
            read_recorded,
        )?;
        let mut deciders = HashMap::new();
        for recorded in &judged {
            // What was decided of it stays; what is no defect need not be looked at.
            self.execute("DELETE FROM candidate WHERE tile = ?1", [recorded.tile])?;
            self.add(recorded, &mut deciders)?;
        }
        Ok(judged.len() as u64)
    }

    /// Adds a tile to the candidates if someone should look at it.
    fn add(
        &self,
        recorded: &Recorded,
        deciders: &mut HashMap<(i64, i64), Option<Decider>>,
    ) -> Result<bool, ReviewError> {
        let (class, nearness) = match recorded.class.as_deref() {
            Some(NO_DEFECT) => return Ok(false),
            None => ("", UNJUDGED),
            Some(class) => {
                let (run, model) = (recorded.run, recorded.model);
                let decider = match deciders.entry((run, model)) {
                    Entry::Occupied(entry) => entry.into_mut(),
                    Entry::Vacant(entry) => entry.insert(self.decider_of(run, model)?),
                };
                let probabilities = &recorded.probabilities;
                (class, nearness(decider.as_ref(), class, probabilities))
            }
        };
        let insert = format!(
            "INSERT INTO candidate (tile, class, nearness, is_open) VALUES (?1, ?2, ?3, \
             NOT EXISTS (SELECT 1 FROM decision d WHERE d.tile = ?1 AND {HOLDS}))"
        );
        self.execute(&insert, params![recorded.tile, class, nearness])?;
        if nearness != UNJUDGED {
            self.execute(
                "INSERT INTO class_count (class, tiles) VALUES (?1, 1) \
                 ON CONFLICT (class) DO UPDATE SET tiles = tiles + 1",
                [class],
            )?;
        }
        Ok(true)
    }

    /// What a run decided by with a model; `None` where its card is not understood.
    fn decider_of(&self, run: i64, model: i64) -> Result<Option<Decider>, ReviewError> {
        let sql = "SELECT (SELECT card FROM record.model WHERE id = ?2), station_toml \
             FROM record.run WHERE id = ?1";
        let found = self.one(sql, [run, model], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
        })?;
        let (card, station) = found.unwrap_or_default();
        let station = Station::parse(&station, "recorded");
        let thresholds = station.map(|station| station.thresholds);
        let card = serde_json::from_str::<ModelCard>(&card).ok();
        Ok(card.and_then(|card| Decider::new(&card, &thresholds.unwrap_or_default()).ok()))
    }
}

/// How near another verdict was, in steps of `1 / STEPS`; 0 where that is not known, so
/// that it is looked at early.
fn nearness(decider: Option<&Decider>, class: &str, probabilities: &[f32]) -> i64 {
    let margin = decider.and_then(|decider| decider.margin(class, probabilities));
    (margin.unwrap_or(0.0) * STEPS) as i64
}

/// A tile as it is recorded.
struct Recorded {
    tile: i64,
    run: i64,
    model: i64,
    class: Option<String>,
    probabilities: Vec<f32>,
}

fn read_recorded(row: &rusqlite::Row<'_>) -> rusqlite::Result<Recorded> {
    let probabilities: Option<String> = row.get(3)?;
    let probabilities = probabilities.and_then(|text| serde_json::from_str(&text).ok());
    Ok(Recorded {
        tile: row.get(0)?,
        run: row.get(1)?,
        model: row.get(4)?,
        class: row.get(2)?,
        probabilities: probabilities.unwrap_or_default(),
    })
}
