//! What a run did, as it is printed and recorded.

use std::collections::BTreeMap;

use millsight_export::engine::EngineIdentity;
use millsight_export::model_file::ModelFile;
use serde::{Deserialize, Serialize};

use crate::source::CameraCounts;

/// Counts of lines.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LineCounts {
    /// Lines that came.
    pub r#in: u64,
    /// Gaps in their sequence.
    pub gaps: u64,
    /// Lines missing in those gaps.
    pub missing: u64,
}

/// Counts of tiles by state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TileCounts {
    /// Tiles that entered.
    pub total: u64,
    /// No material.
    pub background: u64,
    /// The screen found nothing.
    pub cleared: u64,
    /// The classifier gave a verdict.
    pub judged: u64,
    /// Nobody looked.
    pub unjudged: u64,
    /// Tiles partly filled up with black, whatever their state.
    pub padded: u64,
    /// Tiles that were judged, but after their deadline.
    pub late: u64,
}

impl TileCounts {
    /// Tiles that have a final state.
    pub fn settled(&self) -> u64 {
        self.background + self.cleared + self.judged + self.unjudged
    }
}

/// Throughput.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rate {
    /// Lines a second, over the whole run.
    pub lines_per_second: f64,
    /// Tiles a second, over the whole run.
    pub tiles_per_second: f64,
    /// Seconds until the last tile had its state.
    pub elapsed_s: f64,
}

/// From the last line of a tile to its verdict, in milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Median.
    pub p50: f64,
    /// 95th percentile.
    pub p95: f64,
    /// 99th percentile.
    pub p99: f64,
    /// Largest.
    pub max: f64,
}

/// Which model judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ModelIdentity {
    /// SHA-256 of the ONNX file.
    pub sha256: String,
    /// The card's name.
    pub name: String,
}

impl ModelIdentity {
    /// That of a model file.
    pub fn of(model: &ModelFile) -> Self {
        Self {
            sha256: model.sha256.clone(),
            name: model.card.name.clone(),
        }
    }
}

/// How verdicts compare with the simulator's ground truth, in tiles, over
/// those that were judged or cleared. A tile with a defect is found when it is flagged at
/// all, because then an operator looks at it; whether it is flagged as the
/// class that was drawn is counted apart.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TruthComparison {
    /// Tiles with a defect that were flagged.
    pub defects_flagged: u64,
    /// Those of them that were flagged as the class that was drawn.
    pub defects_named: u64,
    /// Tiles with a defect.
    pub defects: u64,
    /// Those of them that the screen cleared, so that the classifier did not
    /// see them.
    pub defects_cleared: u64,
    /// Tiles without a defect that were flagged.
    pub false_alarms: u64,
    /// Tiles without a defect.
    pub clean: u64,
}

/// What was recorded of a run, and what was to be recorded but was lost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// Tiles that are recorded.
    pub tiles: u64,
    /// Tiles that should be recorded and are not.
    pub tiles_lost: u64,
    /// Images of recorded tiles.
    pub images: u64,
    /// Recorded tiles whose image was to be kept and is not.
    pub images_lost: u64,
    /// Gaps that are recorded.
    pub gaps: u64,
    /// Gaps that should be recorded and are not.
    pub gaps_lost: u64,
    /// Verdicts of tiles that were recorded as unjudged before.
    pub late_verdicts: u64,
    /// Such verdicts that are not recorded.
    pub late_verdicts_lost: u64,
}

impl Recorded {
    /// Adds what more was recorded or lost.
    pub fn add(&mut self, more: &Recorded) {
        self.tiles += more.tiles;
        self.tiles_lost += more.tiles_lost;
        self.images += more.images;
        self.images_lost += more.images_lost;
        self.gaps += more.gaps;
        self.gaps_lost += more.gaps_lost;
        self.late_verdicts += more.late_verdicts;
        self.late_verdicts_lost += more.late_verdicts_lost;
    }

    /// What was lost, in words; `None` when nothing was.
    pub fn problem(&self) -> Option<String> {
        let lost = self.tiles_lost + self.images_lost + self.gaps_lost + self.late_verdicts_lost;
        if lost == 0 {
            return None;
        }
        Some(format!(
            "lost from the record: {} of {} tiles, the images of {} others, {} of {} gaps, {} of {} late verdicts",
            self.tiles_lost,
            self.tiles + self.tiles_lost,
            self.images_lost,
            self.gaps_lost,
            self.gaps + self.gaps_lost,
            self.late_verdicts_lost,
            self.late_verdicts + self.late_verdicts_lost
        ))
    }
}

/// What a run did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Lines.
    pub lines: LineCounts,
    /// The camera, where lines came from one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub camera: Option<CameraCounts>,
    /// Tiles by state.
    pub tiles: TileCounts,
    /// Unjudged tiles by reason.
    pub unjudged_reasons: BTreeMap<String, u64>,
    /// Flagged tiles by defect class.
    pub flagged: BTreeMap<String, u64>,
    /// Throughput.
    pub rate: Rate,
    /// Latency.
    pub latency_ms: Latency,
    /// What ran the model.
    pub engine: EngineIdentity,
    /// The model.
    pub model: ModelIdentity,
    /// The screen that looked first, where there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub screen: Option<ModelIdentity>,
    /// Folder of the record, where one was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<String>,
    /// What the record holds of the run, where one was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recorded: Option<Recorded>,
    /// Comparison with ground truth, where the source knows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub truth: Option<TruthComparison>,
    /// What was done otherwise than asked.
    pub notices: Vec<String>,
    /// What went wrong. Not empty: the run failed in part.
    pub problems: Vec<String>,
}
