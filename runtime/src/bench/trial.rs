//! A run at a rate.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use millsight_firmware_config::Station;
use serde::{Deserialize, Serialize};

use super::process::{self, Taken};
use crate::classify::Models;
use crate::flat_field::FlatField;
use crate::ledger::{Latency, Ledger, ModelIdentity, Summary, TileCounts};
use crate::networks::Networks;
use crate::pipeline::{self, Drive, Run};
use crate::position::Geometry;
use crate::record::Recorder;
use crate::source::prerendered::Prerendered;

/// Time until a run is in its steady state: engines have run, buffers been used.
const SETTLING: Duration = Duration::from_secs(1);

/// Share of its time by which a source may be late: a computer that does other
/// things too is so now and then.
const TOLERATED_LAG: f64 = 0.01;

/// What came out of a run at a rate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// Lines per second, until the last verdict.
    pub lines_per_second: f64,
    /// Tiles by state.
    pub tiles: TileCounts,
    /// From the last line of a tile to its state.
    pub latency_ms: Latency,
    /// Processor time as a multiple of the time.
    pub cores_used: f64,
    /// Memory at the end without the drawn lines, in MiB.
    pub rss_mb: f64,
    /// Allocations per second, once the run is in its steady state.
    pub allocations_per_second: f64,
    /// Whether every tile had its state in time and the source kept its rate.
    #[serde(skip)]
    pub is_held: bool,
}

/// Runs prerendered lines, corrected by a flat field, through the networks at `rate` lines per second.
/// Verdicts are counted, nothing is recorded.
pub fn run(
    station: &Station,
    networks: Networks,
    drawn: &Prerendered,
    flat_field: FlatField,
    rate: f64,
    time: Duration,
) -> Trial {
    let lines = (rate * time.as_secs_f64()).max(1.0) as u64;
    let deadline = Duration::from_secs_f64(station.deadlines.verdict_ms / 1000.0);
    let begin = Instant::now();
    let before = Taken::now();
    let mut settled: Option<(Instant, u64)> = None;
    let mut last: Option<(Instant, u64)> = None;
    let drive = Drive::Paced {
        line_rate: rate,
        deadline,
    };
    let lines_of_run = drawn.of_lines(lines);
    let summary = inspect(
        station,
        networks,
        lines_of_run,
        Some(flat_field),
        drive,
        None,
        |_, _| {
            if begin.elapsed() < SETTLING {
                return;
            }
            let now = (Instant::now(), process::allocations());
            settled.get_or_insert(now);
            last = Some(now);
        },
    );
    let after = Taken::now();
    let elapsed = begin.elapsed().as_secs_f64();
    let allocations = settled
        .zip(last)
        .map_or(0.0, |((from, first), (to, last))| {
            let seconds = (to - from).as_secs_f64();
            (last - first) as f64 / seconds.max(f64::MIN_POSITIVE)
        });
    let processor = after.processor.saturating_sub(before.processor);
    let tiles = summary.tiles;
    let resident = after.resident.saturating_sub(drawn.pixels().len() as u64);
    // The last verdict may take until the deadline after the last line.
    let due = lines as f64 / rate * (1.0 + TOLERATED_LAG) + deadline.as_secs_f64();
    let kept = summary.rate.elapsed_s <= due;
    Trial {
        lines_per_second: summary.rate.lines_per_second,
        is_held: tiles.unjudged == 0 && tiles.late == 0 && kept,
        tiles,
        latency_ms: summary.latency_ms,
        cores_used: processor.as_secs_f64() / elapsed,
        rss_mb: resident as f64 / f64::from(1 << 20),
        allocations_per_second: allocations,
    }
}

/// Lines per second of prerendered lines that go through the networks as fast as
/// they can, for some time, corrected by a flat field where there is one. Verdicts
/// are counted, nothing is recorded.
pub fn fastest(
    station: &Station,
    networks: Networks,
    drawn: &Prerendered,
    flat_field: Option<FlatField>,
    time: Duration,
) -> f64 {
    let begin = Instant::now();
    let endless = drawn.of_lines(u64::MAX);
    let summary = inspect(
        station,
        networks,
        endless,
        flat_field,
        Drive::Unpaced,
        None,
        |_, stop| {
            if begin.elapsed() >= time {
                stop.store(true, Ordering::Relaxed);
            }
        },
    );
    summary.rate.lines_per_second
}

/// Runs lines through the networks, with a record where there is a recorder.
/// `progress` is called about ten times a second with the counts, and may end the run.
pub(super) fn inspect(
    station: &Station,
    networks: Networks,
    lines: Prerendered,
    flat_field: Option<FlatField>,
    drive: Drive,
    recorder: Option<&mut Recorder>,
    mut progress: impl FnMut(&Ledger, &AtomicBool),
) -> Summary {
    let ledger = Ledger::new(&networks.model.card.classes);
    let stop = AtomicBool::new(false);
    pipeline::run(
        Run {
            source: Box::new(lines),
            geometry: Geometry::of(station),
            classifiers: networks.classifiers,
            models: &Models::default(),
            flat_field,
            recorder,
            observe: None,
            drive,
            cores: &station.cores,
            queue_rows: station.deadlines.queue_rows,
            stop: &stop,
            ledger: &ledger,
        },
        |ledger| progress(ledger, &stop),
    );
    let defects = networks.decider.defects().map(|(class, _)| class);
    let model = ModelIdentity::of(&networks.model);
    ledger.summary(defects, networks.engine, model)
}
