//! Whether all is well: the camera, the disk, the clock, and that every tile is judged
//! in time.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use serde::Serialize;

use super::alarms::AlarmKind;
use super::error::ReviewError;
use super::live::Live;
use super::store::Review;
use crate::record::{Space, space_for};

/// How long no line may come before that is an alarm.
const SILENCE: Duration = Duration::from_secs(3);

/// How often the disk is looked at.
const DISK_INTERVAL: Duration = Duration::from_secs(10);

/// Share of the disk that should be free, and bytes that suffice whatever the share.
const LEAST_FREE: f64 = 0.05;
const ENOUGH_FREE: u64 = 20 << 30;

/// By how much the clock may differ from the time that has passed: clocks that are set
/// by others over the network are slewed, not set.
const JUMP: f64 = 2.0;

const GIB: f64 = (1u64 << 30) as f64;

/// How the computer and the camera are.
#[derive(Debug, Clone, Default, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Health {
    /// Seconds since the last line came; none before the first.
    pub silent_s: Option<f64>,
    /// Whether the camera is connected; none where lines come from elsewhere, and before the
    /// first.
    pub camera_is_there: Option<bool>,
    /// Space on the disk of the record; none where that is not known.
    pub disk: Option<Space>,
    /// Seconds by which the clock was changed since the run began.
    pub clock_changed_s: f64,
}

/// Looks at a run again and again, and raises alarms.
pub(super) struct Watch {
    live: Arc<Live>,
    health: Health,
    begun: (Instant, SystemTime),
    /// When a line came last.
    last_line: Option<Instant>,
    disk_seen: Option<Instant>,
    /// What was told already.
    lines: u64,
    unjudged: u64,
    missing: u64,
    gaps: u64,
    late: u64,
    losses: u64,
    record_failures: u64,
    told_silence: bool,
    told_clock: f64,
}

impl Watch {
    pub(super) fn new(live: Arc<Live>) -> Self {
        Self {
            live,
            health: Health::default(),
            begun: (Instant::now(), SystemTime::now()),
            last_line: None,
            disk_seen: None,
            lines: 0,
            unjudged: 0,
            missing: 0,
            gaps: 0,
            late: 0,
            losses: 0,
            record_failures: 0,
            told_silence: false,
            told_clock: 0.0,
        }
    }

    /// Looks once. An alarm that cannot be kept is raised again the next time.
    pub(super) fn look(&mut self, review: &Review) -> Result<(), ReviewError> {
        let looked = self.look_at_all(review);
        self.live.set_health(self.health.clone());
        looked
    }

    fn look_at_all(&mut self, review: &Review) -> Result<(), ReviewError> {
        self.look_at_clock(review)?;
        self.look_at_disk(review)?;
        self.look_at_camera(review)?;
        self.look_at_lines(review)?;
        self.look_at_tiles(review)
    }

    fn look_at_camera(&mut self, review: &Review) -> Result<(), ReviewError> {
        let Some(camera) = self.live.ledger().camera() else {
            return Ok(());
        };
        self.health.camera_is_there = Some(camera.is_there);
        if camera.losses > self.losses {
            let losses = camera.losses;
            review.raise(
                AlarmKind::Camera,
                &format!(
                    "the camera is gone, or its stream has failed, for the {losses}. time in this \
                     run: look at its power and its cable; it is looked for until it is back"
                ),
            )?;
            self.losses = losses;
        }
        Ok(())
    }

    fn look_at_lines(&mut self, review: &Review) -> Result<(), ReviewError> {
        let counts = self.live.ledger().line_counts();
        let now = Instant::now();
        if counts.r#in > self.lines {
            self.last_line = Some(now);
            self.lines = counts.r#in;
            self.told_silence = false;
        }
        let silent = self.last_line.map(|last| now.duration_since(last));
        self.health.silent_s = silent.map(|silent| silent.as_secs_f64());
        if let Some(silent) = silent.filter(|&silent| silent >= SILENCE)
            && !self.told_silence
            && self.health.camera_is_there != Some(false)
        {
            let seconds = silent.as_secs();
            review.raise(
                AlarmKind::NoLines,
                &format!("no line has come for {seconds} s: look at the camera and its cable"),
            )?;
            self.told_silence = true;
        }
        if counts.missing > self.missing || counts.gaps > self.gaps {
            let (gaps, lines) = (counts.gaps, counts.missing);
            review.raise(
                AlarmKind::Gap,
                &format!("{lines} lines are lost, in {gaps} places of this run"),
            )?;
            (self.missing, self.gaps) = (counts.missing, counts.gaps);
        }
        Ok(())
    }

    fn look_at_tiles(&mut self, review: &Review) -> Result<(), ReviewError> {
        let ledger = self.live.ledger();
        let tiles = ledger.tiles();
        if tiles.unjudged > self.unjudged {
            let reasons: Vec<String> = ledger
                .unjudged_by_reason()
                .filter(|(_, count)| *count > 0)
                .map(|(reason, count)| format!("{count} {}", reason.replace('_', " ")))
                .collect();
            let (count, reasons) = (tiles.unjudged, reasons.join(", "));
            review.raise(
                AlarmKind::Unjudged,
                &format!("nobody has judged {count} tiles ({reasons}): look at them"),
            )?;
        }
        // Those that are judged after all may become unjudged again as others.
        self.unjudged = tiles.unjudged;
        if tiles.late > self.late {
            let late = tiles.late;
            review.raise(
                AlarmKind::Late,
                &format!("{late} verdicts of this run came after their deadline"),
            )?;
            self.late = late;
        }
        let failures = ledger.record_failures();
        if failures > self.record_failures {
            review.raise(
                AlarmKind::Record,
                &format!(
                    "{failures} times something could not be recorded: look at the disk; the \
                     summary of the run will say what is lost"
                ),
            )?;
            self.record_failures = failures;
        }
        Ok(())
    }

    fn look_at_disk(&mut self, review: &Review) -> Result<(), ReviewError> {
        if self
            .disk_seen
            .is_some_and(|seen| seen.elapsed() < DISK_INTERVAL)
        {
            return Ok(());
        }
        self.disk_seen = Some(Instant::now());
        self.health.disk = space_for(review.folder());
        match self.health.disk {
            Some(space) if is_little(space) => {
                review.raise(AlarmKind::Disk, &little(space, review.folder()))
            }
            _ => Ok(()),
        }
    }

    fn look_at_clock(&mut self, review: &Review) -> Result<(), ReviewError> {
        let (instant, clock) = self.begun;
        let changed = changed(clock, SystemTime::now(), instant.elapsed());
        self.health.clock_changed_s = changed;
        if (changed - self.told_clock).abs() >= JUMP {
            let by = changed - self.told_clock;
            review.raise(
                AlarmKind::Clock,
                &format!(
                    "the computer's clock was changed by {by:+.0} s: times in the record may lie \
                     beside each other wrongly, their order is right"
                ),
            )?;
            self.told_clock = changed;
        }
        Ok(())
    }
}

/// Seconds by which a clock has gone further than the time that has passed.
fn changed(before: SystemTime, after: SystemTime, passed: Duration) -> f64 {
    let went = match after.duration_since(before) {
        Ok(forward) => forward.as_secs_f64(),
        Err(back) => -back.duration().as_secs_f64(),
    };
    went - passed.as_secs_f64()
}

fn is_little(space: Space) -> bool {
    space.free < ENOUGH_FREE && (space.free as f64) < LEAST_FREE * space.total as f64
}

fn little(space: Space, folder: &Path) -> String {
    let free = space.free as f64 / GIB;
    let folder = folder.display();
    format!("{free:.1} GiB are left for the record {folder}: make space, or record elsewhere")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use millsight_export::engine::EngineIdentity;

    use super::*;
    use crate::ledger::{Ledger, ModelIdentity, TileState, UnjudgedReason};
    use crate::review::About;
    use crate::source::CameraCounts;

    #[test]
    fn a_clock_that_is_set_differs_from_the_time_that_passed() {
        let noon = SystemTime::UNIX_EPOCH + Duration::from_secs(43_200);
        let second = Duration::from_secs(1);
        assert_eq!(changed(noon, noon + second, second), 0.0);
        assert_eq!(changed(noon, noon + 3601 * second, second), 3600.0);
        assert_eq!(changed(noon, noon - 59 * second, second), -60.0);
    }

    #[test]
    fn what_goes_wrong_is_told_once_and_again_when_it_grows() {
        let folder = tempfile::tempdir().unwrap();
        let geometry = crate::position::Geometry {
            lines_per_metre: 1000.0,
            counts_per_metre: None,
            mm_per_pixel: 0.5,
            pixels_per_line: 512,
            reversed: false,
        };
        let _recorder = crate::testing::recorder(folder.path(), geometry);
        let review = Review::open(folder.path()).unwrap();
        let ledger = Arc::new(Ledger::new(&["no_defect".into()]));
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
        let about = About {
            station: "test".into(),
            piece: "coil".into(),
            engine,
            model,
            screen: None,
            classes: vec!["no_defect".into()],
            line_rate: None,
            columns: 1,
        };
        let live = Arc::new(Live::new(about, Arc::clone(&ledger)));
        let mut watch = Watch::new(Arc::clone(&live));
        let open = |watch: &mut Watch| {
            watch.look(&review).unwrap();
            let alarms = review.alarms().unwrap();
            let kinds = alarms.iter().filter(|alarm| alarm.kind != "disk");
            kinds.map(|alarm| (alarm.kind.clone(), alarm.id)).collect()
        };
        let none: Vec<(String, i64)> = open(&mut watch);
        assert_eq!(none, []);
        assert!(live.health().silent_s.is_none());
        ledger.lines(512);
        ledger.gap(7);
        ledger.late(1);
        ledger.record_failed();
        ledger.enter(1, false);
        ledger.settle(TileState::Unjudged(UnjudgedReason::Deadline));
        let raised: Vec<(String, i64)> = open(&mut watch);
        let kinds: Vec<&str> = raised.iter().map(|(kind, _)| kind.as_str()).collect();
        assert_eq!(kinds, ["gap", "unjudged", "late", "record"]);
        for (_, alarm) in &raised {
            review.acknowledge(*alarm, "anna").unwrap();
        }
        // What is known is not told again, what is new is.
        assert_eq!(open(&mut watch), []);
        ledger.gap(1);
        let again: Vec<(String, i64)> = open(&mut watch);
        assert_eq!(again.len(), 1);
        assert_eq!(again[0].0, "gap");
        assert!(live.health().silent_s.is_some());
        assert!(live.health().camera_is_there.is_none());
        review.acknowledge(again[0].1, "anna").unwrap();
        ledger.set_camera(CameraCounts {
            losses: 1,
            ..CameraCounts::default()
        });
        let gone: Vec<(String, i64)> = open(&mut watch);
        assert_eq!((gone.len(), gone[0].0.as_str()), (1, "camera"));
        assert_eq!(live.health().camera_is_there, Some(false));
    }

    #[test]
    fn little_space_is_a_small_share_of_a_disk() {
        let space = |free, total| Space { free, total };
        assert!(is_little(space(1 << 30, 100 << 30)));
        assert!(!is_little(space(6 << 30, 100 << 30)));
        assert!(!is_little(space(21 << 30, 4000 << 30)));
    }
}
