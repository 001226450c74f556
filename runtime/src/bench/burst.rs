//! More defects for a while than can be judged in time, and how long it takes to
//! make up for them.

use std::path::Path;
use std::time::{Duration, Instant};

use millsight_firmware_config::{Station, TILE_SIZE};
use serde::{Deserialize, Serialize};

use super::trial;
use crate::flat_field::FlatField;
use crate::ledger::{ModelIdentity, Recorded, TileCounts};
use crate::networks::Networks;
use crate::pipeline::Drive;
use crate::position::Geometry;
use crate::record::{RecordError, Recorder, RunDescription};
use crate::source::prerendered::Prerendered;

/// When the burst comes, and how long lines go on after it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Phases {
    /// Before the burst.
    pub before: Duration,
    /// The burst.
    pub burst: Duration,
    /// Afterwards.
    pub after: Duration,
}

/// What came of a burst.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Burst {
    /// Tiles by state, at the end.
    pub tiles: TileCounts,
    /// Most tiles that were unjudged at a time.
    pub most_unjudged: u64,
    /// Seconds from the burst's last line until no tile was unjudged; `None` where
    /// some are at the end.
    pub recovered_s: Option<f64>,
    /// What was recorded, and what was lost.
    pub recorded: Recorded,
}

/// Runs lines at `rate` lines per second, for a while those of `burst`, with a record
/// in `folder`: what cannot be judged in time is judged from there.
///
/// # Errors
/// When the record cannot be written.
pub fn run(
    station: &Station,
    networks: Networks,
    [drawn, burst]: [&Prerendered; 2],
    flat_field: FlatField,
    rate: f64,
    phases: Phases,
    folder: &Path,
) -> Result<Burst, RecordError> {
    let whole_rows = |time: Duration| {
        let rows = rate * time.as_secs_f64() / TILE_SIZE as f64;
        rows.ceil() as u64 * TILE_SIZE as u64
    };
    let from = whole_rows(phases.before);
    let to = from + whole_rows(phases.burst);
    let lines = drawn
        .of_lines(to + whole_rows(phases.after))
        .with_burst(from..to, burst);
    let drive = Drive::paced(rate, &station.deadlines);
    let description = RunDescription {
        station: station.name.clone(),
        station_toml: String::new(),
        piece: station.material.piece_id.clone(),
        engine: networks.engine.clone(),
        model: ModelIdentity::of(&networks.model),
        card: networks.model.card.clone(),
        geometry: Geometry::of(station),
        files: Vec::new(),
    };
    let mut recorder = Recorder::begin(folder, &station.recording, description)?;
    let mut most_unjudged = 0;
    let (mut ended, mut unjudged) = (None, None);
    let mut summary = trial::inspect(
        station,
        networks,
        lines,
        Some(flat_field),
        drive,
        Some(&mut recorder),
        |ledger, _| {
            if ledger.line_counts().r#in >= to {
                ended.get_or_insert_with(Instant::now);
            }
            let tiles = ledger.tiles().unjudged;
            most_unjudged = most_unjudged.max(tiles);
            if tiles > 0 {
                unjudged = Some(Instant::now());
            }
        },
    );
    recorder.finish(&mut summary, false)?;
    let recovered = ended
        .zip(unjudged)
        .map_or(Duration::ZERO, |(ended, unjudged)| {
            unjudged.saturating_duration_since(ended)
        });
    let tiles = summary.tiles;
    Ok(Burst {
        tiles,
        most_unjudged,
        recovered_s: (tiles.unjudged == 0).then_some(recovered.as_secs_f64()),
        recorded: summary.recorded.unwrap_or_default(),
    })
}
