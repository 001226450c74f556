//! What is kept of a run, and how long a verdict may take.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is kept of a run, and where.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Recording {
    /// Folder of the database and the tile images. A relative path starts at
    /// the station file's folder.
    #[schemars(length(min = 1))]
    pub folder: PathBuf,
    /// Disk space that the folder may take, database and images together, in
    /// GiB (2³⁰ bytes), 0.1 to 1000000. When it is taken, no more images are
    /// kept; verdicts still are.
    #[schemars(range(min = 0.1, max = 1_000_000.0))]
    pub disk_budget_gib: f64,
    /// Which tile images are kept.
    pub keep_images: KeepImages,
}

impl Default for Recording {
    fn default() -> Self {
        Self {
            folder: PathBuf::from("record"),
            disk_budget_gib: 20.0,
            keep_images: KeepImages::Flagged,
        }
    }
}

/// Which tile images are kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeepImages {
    /// Those that an operator should look at: defects and unjudged tiles.
    #[default]
    Flagged,
    /// Every tile with material.
    All,
    /// No image; only the database is written.
    None,
}

/// Rows of tiles that may be being recorded while others wait; the runtime
/// keeps memory for them.
pub const RECORDING_ROWS: usize = 8;

/// How long a verdict may take, and how much may wait for one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Deadlines {
    /// Milliseconds from the last line of a tile to its verdict, 1 to 3600000
    /// and never less than one row of tiles takes to arrive.
    #[schemars(range(min = 1.0, max = 3_600_000.0))]
    pub verdict_ms: f64,
    /// Rows of tiles that may wait, 2 to 1024; a tile that comes when they are
    /// full is counted as unjudged.
    #[schemars(range(min = 2, max = 1024))]
    pub queue_rows: usize,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            verdict_ms: 400.0,
            queue_rows: 64,
        }
    }
}
