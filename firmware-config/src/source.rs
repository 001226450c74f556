//! Where lines come from, and how they are corrected.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Lowest line rate, in lines per second, at which the simulator draws: its
/// lamps flicker with the mains, which slower lines would not show.
pub const MINIMUM_SIMULATED_LINE_RATE_HZ: f64 = 100.0;

/// Where lines come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Source {
    /// Steel drawn by the program itself.
    Simulator {
        /// Seed of the random numbers: the same seed draws the same steel.
        #[serde(default = "default_seed")]
        #[schemars(range(min = 0, max = i64::MAX))]
        seed: u64,
        /// Metres of material to draw, 0.01 to 100000.
        #[serde(default = "default_metres")]
        #[schemars(range(min = 0.01, max = 100_000.0))]
        metres: f64,
        /// How fast lines come.
        #[serde(default)]
        pace: Pace,
        /// Whether all lines are drawn before the first is given, so that they come
        /// at rates at which drawing does not keep up. They are kept in memory.
        #[serde(default)]
        drawn_beforehand: bool,
    },
    /// Lines that were recorded before.
    Replay {
        /// A recording, a PNG or TIFF strip of any height, or a folder of
        /// tiles. A relative path starts at the station file's folder.
        #[schemars(length(min = 1))]
        path: PathBuf,
        /// How fast lines come.
        #[serde(default)]
        pace: Pace,
    },
}

fn default_seed() -> u64 {
    1
}

fn default_metres() -> f64 {
    10.0
}

/// How fast lines come from a source that is not a camera.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Pace {
    /// At the camera's line rate, as they would in the mill; a recording at
    /// the rate that it states itself.
    #[default]
    LineRate,
    /// As fast as they can be read or drawn.
    Unpaced,
}

/// Per-pixel gain and offset of the camera (its PRNU and DSNU).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FlatField {
    /// File with dark and white level of each pixel of the line, as
    /// `millsight flat-field` writes it. A relative path starts at the station
    /// file's folder.
    #[schemars(length(min = 1))]
    pub file: PathBuf,
}
