//! What passes the camera, and how it is told from an empty background.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Highest speed, in metres per second, that a station may state.
pub const MAXIMUM_SPEED_M_PER_S: f64 = 40.0;

/// The material that passes the camera.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Material {
    /// Form of the material.
    pub kind: MaterialKind,
    /// Speed of the material in metres per second.
    pub speed_m_per_s: Speed,
    /// Name of the piece (coil, rod, wire) that passes first; it stands in the
    /// record, unless a recording names its own. Up to 100 characters, without
    /// `/`, `\` and control characters, so that a file can be named after it.
    #[serde(default = "default_piece_id")]
    #[schemars(length(min = 1, max = 100))]
    pub piece_id: String,
}

fn default_piece_id() -> String {
    "piece-1".to_owned()
}

/// Form of the material.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MaterialKind {
    /// Flat: sheet or coil.
    Strip,
    /// Round or profiled, straight.
    Rod,
    /// Round and thin, coiled.
    Wire,
}

/// Speed of the material in metres per second: `min` ≤ `nominal` ≤ `max`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Speed {
    /// Slowest speed at which the station inspects, in metres per second, 0 to
    /// 40.
    #[schemars(range(min = 0.0, max = MAXIMUM_SPEED_M_PER_S))]
    pub min: f64,
    /// Usual speed in metres per second, 0.001 to 40.
    #[schemars(range(min = 0.001, max = MAXIMUM_SPEED_M_PER_S))]
    pub nominal: f64,
    /// Highest speed in metres per second, 0.001 to 40.
    #[schemars(range(min = 0.001, max = MAXIMUM_SPEED_M_PER_S))]
    pub max: f64,
}

/// How a tile with material is told from one that shows only background.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MaterialDetection {
    /// Whether tiles without material are set aside as background. When it is
    /// `false` every tile is looked at.
    pub enabled: bool,
    /// Least grey level, 0 to 255, of a pixel that shows material.
    pub minimum_level: u8,
    /// Share of a tile's pixels, 0 to 1, that must show material; a tile with
    /// a smaller share is background.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub minimum_share: f32,
}

impl Default for MaterialDetection {
    fn default() -> Self {
        Self {
            enabled: true,
            minimum_level: 16,
            minimum_share: 0.0625,
        }
    }
}
