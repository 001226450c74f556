//! The ledger: every tile that enters ends in exactly one counted state.
//!
//! Only the ledger counts; progress display, summary and log read it.

mod summary;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use millsight_export::card::NO_DEFECT;
use millsight_export::engine::EngineIdentity;

use crate::source::CameraCounts;

pub use self::summary::{
    Latency, LineCounts, ModelIdentity, Rate, Recorded, Summary, TileCounts, TruthComparison,
};

/// Why nobody has looked at a tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum UnjudgedReason {
    /// Too many rows were waiting for the classifier.
    Overload,
    /// The verdict would have come after the deadline.
    Deadline,
    /// The engine failed or gave no numbers.
    EngineError,
    /// No buffer was free, so that the image could not be kept.
    ImageLost,
    /// The program itself failed on the way.
    Fault,
}

impl UnjudgedReason {
    const ALL: [UnjudgedReason; 5] = [
        UnjudgedReason::Overload,
        UnjudgedReason::Deadline,
        UnjudgedReason::EngineError,
        UnjudgedReason::ImageLost,
        UnjudgedReason::Fault,
    ];

    /// Whether only time was missing, so that the tile can be judged later.
    pub fn is_overdue(self) -> bool {
        matches!(self, UnjudgedReason::Overload | UnjudgedReason::Deadline)
    }

    /// The reason's name in summaries and records.
    pub fn name(self) -> &'static str {
        match self {
            UnjudgedReason::Overload => "overload",
            UnjudgedReason::Deadline => "deadline",
            UnjudgedReason::EngineError => "engine_error",
            UnjudgedReason::ImageLost => "image_lost",
            UnjudgedReason::Fault => "fault",
        }
    }
}

/// The state in which a tile ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum TileState {
    /// No material in the tile.
    Background,
    /// The screen found nothing.
    Cleared,
    /// The classifier gave a verdict.
    Judged {
        /// Index of the defect class that was flagged, if one was.
        flagged: Option<usize>,
    },
    /// Nobody looked.
    Unjudged(UnjudgedReason),
}

impl TileState {
    /// The state's name in summaries and records.
    pub fn name(self) -> &'static str {
        match self {
            TileState::Background => "background",
            TileState::Cleared => "cleared",
            TileState::Judged { .. } => "judged",
            TileState::Unjudged(_) => "unjudged",
        }
    }

    /// Whether an operator should look at the tile.
    pub fn needs_review(self) -> bool {
        matches!(
            self,
            TileState::Judged { flagged: Some(_) } | TileState::Unjudged(_)
        )
    }
}

/// Counts of a run. Shared between threads.
#[derive(Debug)]
pub struct Ledger {
    started: Instant,
    classes: Vec<String>,
    lines: AtomicU64,
    gaps: AtomicU64,
    missing: AtomicU64,
    entered: AtomicU64,
    padded: AtomicU64,
    background: AtomicU64,
    cleared: AtomicU64,
    judged: AtomicU64,
    late: AtomicU64,
    record_failures: AtomicU64,
    unjudged: [AtomicU64; UnjudgedReason::ALL.len()],
    backlog: AtomicU64,
    flagged: Vec<AtomicU64>,
    /// Microseconds from the last line of a tile to its verdict.
    latency: Mutex<Histogram<u64>>,
    /// Microseconds from the start to the state that came last.
    last_settled: AtomicU64,
    /// What became of the camera, where there is one.
    camera: Mutex<Option<CameraCounts>>,
}

/// Latencies, counted together by their size.
#[derive(Debug, Clone, PartialEq)]
pub struct LatencyBuckets {
    /// Upper end in seconds, and how many lie between it and the one before.
    pub buckets: Vec<(f64, u64)>,
    /// Sum of all, in seconds.
    pub sum: f64,
    /// Number of all.
    pub count: u64,
}

/// Latencies above this are counted as this: ten minutes, in microseconds.
const LONGEST_LATENCY_US: u64 = 600_000_000;

impl Ledger {
    /// An empty ledger for a model's classes.
    pub fn new(classes: &[String]) -> Self {
        Self {
            started: Instant::now(),
            classes: classes.to_vec(),
            lines: AtomicU64::new(0),
            gaps: AtomicU64::new(0),
            missing: AtomicU64::new(0),
            entered: AtomicU64::new(0),
            padded: AtomicU64::new(0),
            background: AtomicU64::new(0),
            cleared: AtomicU64::new(0),
            judged: AtomicU64::new(0),
            late: AtomicU64::new(0),
            record_failures: AtomicU64::new(0),
            unjudged: Default::default(),
            backlog: AtomicU64::new(0),
            flagged: classes.iter().map(|_| AtomicU64::new(0)).collect(),
            latency: Mutex::new(new_histogram()),
            last_settled: AtomicU64::new(0),
            camera: Mutex::new(None),
        }
    }

    /// Number of the model's classes.
    pub fn classes(&self) -> usize {
        self.classes.len()
    }

    /// Counts lines that a source gave.
    pub fn lines(&self, count: u64) {
        self.lines.fetch_add(count, Ordering::Relaxed);
    }

    /// Counts one gap of `missing` lines.
    pub fn gap(&self, missing: u64) {
        self.gaps.fetch_add(1, Ordering::Relaxed);
        self.missing.fetch_add(missing, Ordering::Relaxed);
    }

    /// Counts the tiles of a row that was assembled.
    pub fn enter(&self, tiles: u64, padded: bool) {
        self.entered.fetch_add(tiles, Ordering::Relaxed);
        if padded {
            self.padded.fetch_add(tiles, Ordering::Relaxed);
        }
    }

    /// Counts the final state of one tile.
    pub fn settle(&self, state: TileState) {
        let counter = match state {
            TileState::Background => &self.background,
            TileState::Cleared => &self.cleared,
            TileState::Judged { flagged } => {
                if let Some(count) = flagged.and_then(|class| self.flagged.get(class)) {
                    count.fetch_add(1, Ordering::Relaxed);
                }
                &self.judged
            }
            TileState::Unjudged(reason) => &self.unjudged[reason as usize],
        };
        counter.fetch_add(1, Ordering::Relaxed);
        let moment = self.started.elapsed().as_micros() as u64;
        self.last_settled.fetch_max(moment, Ordering::Relaxed);
    }

    /// Counts that a tile, counted as unjudged before, was judged after all.
    pub fn judged_late(&self, reason: UnjudgedReason, flagged: Option<usize>) {
        self.settle(TileState::Judged { flagged });
        self.late(1);
        self.unjudged[reason as usize].fetch_sub(1, Ordering::Relaxed);
    }

    /// Counts verdicts that came after their deadline; they are counted as
    /// judged as well.
    pub fn late(&self, tiles: u64) {
        self.late.fetch_add(tiles, Ordering::Relaxed);
    }

    /// Counts that something could not be recorded.
    pub fn record_failed(&self) {
        self.record_failures.fetch_add(1, Ordering::Relaxed);
    }

    /// How often something could not be recorded so far.
    pub fn record_failures(&self) -> u64 {
        self.record_failures.load(Ordering::Relaxed)
    }

    /// Notes how long the verdicts of `tiles` tiles took, from their last line.
    pub fn latency(&self, latency: Duration, tiles: u64) {
        let microseconds = (latency.as_micros() as u64).clamp(1, LONGEST_LATENCY_US);
        let mut histogram = self.latency.lock().unwrap_or_else(PoisonError::into_inner);
        histogram.saturating_record_n(microseconds, tiles);
    }

    /// Tiles that have entered but have no final state yet. Zero at the end
    /// of a run, or the ledger does not add up.
    pub fn outstanding(&self) -> i64 {
        let tiles = self.tiles();
        tiles.total as i64 - tiles.settled() as i64
    }

    /// The counts of tiles so far.
    pub fn tiles(&self) -> TileCounts {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        TileCounts {
            total: get(&self.entered),
            background: get(&self.background),
            cleared: get(&self.cleared),
            judged: get(&self.judged),
            unjudged: self.unjudged.iter().map(get).sum(),
            padded: get(&self.padded),
            late: get(&self.late),
        }
    }

    /// The counts of lines so far.
    pub fn line_counts(&self) -> LineCounts {
        LineCounts {
            r#in: self.lines.load(Ordering::Relaxed),
            gaps: self.gaps.load(Ordering::Relaxed),
            missing: self.missing.load(Ordering::Relaxed),
        }
    }

    /// Says what became of the camera so far.
    pub fn set_camera(&self, counts: CameraCounts) {
        *self.camera.lock().unwrap_or_else(PoisonError::into_inner) = Some(counts);
    }

    /// What became of the camera so far, where there is one.
    pub fn camera(&self) -> Option<CameraCounts> {
        *self.camera.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says how many of the unjudged tiles wait until there is time.
    pub fn set_backlog(&self, tiles: usize) {
        self.backlog.store(tiles as u64, Ordering::Relaxed);
    }

    /// How many of the unjudged tiles wait until there is time.
    pub fn backlog(&self) -> u64 {
        self.backlog.load(Ordering::Relaxed)
    }

    /// Tiles that are unjudged now, by reason.
    pub fn unjudged_by_reason(&self) -> impl Iterator<Item = (&'static str, u64)> {
        UnjudgedReason::ALL.iter().map(|&reason| {
            let count = self.unjudged[reason as usize].load(Ordering::Relaxed);
            (reason.name(), count)
        })
    }

    /// Tiles flagged so far, by class, of all classes but "no defect".
    pub fn flagged_by_class(&self) -> impl Iterator<Item = (&str, u64)> {
        let classes = self.classes.iter().map(String::as_str).zip(&self.flagged);
        classes
            .filter(|(class, _)| *class != NO_DEFECT)
            .map(|(class, count)| (class, count.load(Ordering::Relaxed)))
    }

    /// The latency, to the microsecond, that a share of the verdicts so far did
    /// not exceed.
    pub fn latency_quantile(&self, share: f64) -> Duration {
        let histogram = self.latency.lock().unwrap_or_else(PoisonError::into_inner);
        Duration::from_micros(histogram.value_at_quantile(share))
    }

    /// Latencies so far, counted up to each of `ends`, in seconds and ascending.
    pub fn latency_buckets(&self, ends: &[f64]) -> LatencyBuckets {
        let histogram = self.latency.lock().unwrap_or_else(PoisonError::into_inner);
        let count = histogram.len();
        let mut counted = 0;
        let buckets = ends.iter().map(|&end| {
            let before = counted;
            counted = histogram.count_between(0, (end * 1e6) as u64);
            (end, counted - before)
        });
        let buckets = buckets.collect();
        LatencyBuckets {
            buckets,
            sum: histogram.mean() * count as f64 / 1e6,
            count,
        }
    }

    /// Tiles flagged so far, all defect classes together.
    pub fn flagged(&self) -> u64 {
        self.flagged
            .iter()
            .map(|count| count.load(Ordering::Relaxed))
            .sum()
    }

    /// Everything that was counted. `defects` are the indices of the classes
    /// that are defects.
    pub fn summary(
        &self,
        defects: impl Iterator<Item = usize>,
        engine: EngineIdentity,
        model: ModelIdentity,
    ) -> Summary {
        // Until the last tile had its state: what the program did afterwards
        // is no part of its rate.
        let elapsed = match self.last_settled.load(Ordering::Relaxed) {
            0 => self.started.elapsed(),
            microseconds => Duration::from_micros(microseconds),
        }
        .as_secs_f64();
        let lines = self.line_counts();
        let tiles = self.tiles();
        let histogram = self.latency.lock().unwrap_or_else(PoisonError::into_inner);
        let milliseconds = |microseconds: u64| microseconds as f64 / 1000.0;
        Summary {
            rate: Rate {
                lines_per_second: lines.r#in as f64 / elapsed,
                tiles_per_second: tiles.total as f64 / elapsed,
                elapsed_s: elapsed,
            },
            lines,
            camera: self.camera(),
            tiles,
            unjudged_reasons: self
                .unjudged_by_reason()
                .filter(|(_, count)| *count > 0)
                .map(|(reason, count)| (reason.to_owned(), count))
                .collect(),
            flagged: defects
                .map(|class| {
                    let count = self.flagged[class].load(Ordering::Relaxed);
                    (self.classes[class].clone(), count)
                })
                .collect(),
            latency_ms: Latency {
                p50: milliseconds(histogram.value_at_quantile(0.50)),
                p95: milliseconds(histogram.value_at_quantile(0.95)),
                p99: milliseconds(histogram.value_at_quantile(0.99)),
                max: milliseconds(histogram.max()),
            },
            engine,
            model,
            screen: None,
            record: None,
            recorded: None,
            truth: None,
            notices: Vec::new(),
            problems: Vec::new(),
        }
    }
}

/// Three significant digits from a microsecond to ten minutes. The bounds are
/// constants that the histogram accepts; without them it would resize itself.
fn new_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST_LATENCY_US, 3)
        .or_else(|_| Histogram::new(1))
        .unwrap_or_else(|_| unreachable!("one significant digit is always accepted"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_is_counted_once() {
        let ledger = Ledger::new(&["no_defect".into(), "cracks".into()]);
        ledger.enter(9, false);
        ledger.enter(9, true);
        assert_eq!(ledger.outstanding(), 18);
        let states = [
            TileState::Background,
            TileState::Cleared,
            TileState::Judged { flagged: None },
            TileState::Judged { flagged: Some(1) },
            TileState::Unjudged(UnjudgedReason::Overload),
            TileState::Unjudged(UnjudgedReason::Deadline),
            TileState::Unjudged(UnjudgedReason::EngineError),
            TileState::Unjudged(UnjudgedReason::ImageLost),
            TileState::Unjudged(UnjudgedReason::Fault),
        ];
        for state in states.iter().chain(&states) {
            ledger.settle(*state);
        }
        let tiles = ledger.tiles();
        assert_eq!(ledger.outstanding(), 0);
        assert_eq!((tiles.background, tiles.cleared), (2, 2));
        assert_eq!((tiles.judged, tiles.unjudged, tiles.padded), (4, 10, 9));
        assert_eq!(ledger.flagged(), 2);
    }

    #[test]
    fn the_rate_ends_with_the_last_tile() {
        let ledger = Ledger::new(&["no_defect".into()]);
        ledger.lines(512);
        ledger.enter(1, false);
        ledger.settle(TileState::Background);
        std::thread::sleep(Duration::from_millis(120));
        let engine = EngineIdentity {
            name: "embedded".into(),
            version: String::new(),
            provider: "cpu".into(),
            precision: "f32".into(),
        };
        let model = ModelIdentity {
            sha256: String::new(),
            name: String::new(),
        };
        let rate = ledger.summary(std::iter::empty(), engine, model).rate;
        assert!(rate.elapsed_s < 0.1, "{rate:?}");
    }
}
