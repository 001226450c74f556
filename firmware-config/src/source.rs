//! Where lines come from, and how they are corrected.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
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
    /// A camera that Linux knows as a video device (V4L2).
    V4l2 {
        /// The device, best by a path that stays the same, below `/dev/v4l/by-id`.
        #[schemars(length(min = 1))]
        device: PathBuf,
        /// Lines of a frame, 1 to 65535.
        #[serde(default = "default_frame_lines")]
        #[schemars(range(min = 1, max = 65_535))]
        frame_lines: u32,
        /// Frames that the driver may fill before the first is taken, 2 to 64.
        #[serde(default = "default_buffers")]
        #[schemars(range(min = 2, max = 64))]
        buffers: u32,
        /// Settings of the camera by their names, as `millsight devices` lists them.
        #[serde(default)]
        controls: BTreeMap<String, i64>,
    },
    /// A GenICam camera (GigE Vision, USB3 Vision), for a program that is built with the
    /// feature `genicam`.
    Genicam {
        /// Its id, serial number, or the address of its network interface, as `millsight
        /// devices` lists them.
        #[schemars(length(min = 1))]
        camera: String,
        /// Lines of a frame, 1 to 65535.
        #[serde(default = "default_frame_lines")]
        #[schemars(range(min = 1, max = 65_535))]
        frame_lines: u32,
        /// Frames that may be received before the first is taken, 2 to 256.
        #[serde(default = "default_network_buffers")]
        #[schemars(range(min = 2, max = 256))]
        buffers: u32,
        /// MiB of the socket that receives a GigE camera's packets, 4 to 256.
        #[serde(default = "default_socket_buffer_mib")]
        #[schemars(range(min = 4, max = 256))]
        socket_buffer_mib: u32,
        /// Whether packets that were lost are asked for again.
        #[serde(default = "default_resend")]
        resend: bool,
        /// Features of the camera by their names, as its manual has them.
        #[serde(default)]
        features: BTreeMap<String, FeatureValue>,
        /// An encoder that the camera reads itself, and whose count it sends with each
        /// frame.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        encoder: Option<EncoderChunk>,
        /// Chunk with the state of the camera's input lines, such as `LineStatusAll`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(length(min = 1))]
        line_status_chunk: Option<String>,
    },
    /// A program that writes lines as a recording, for cameras with a library of their
    /// own.
    Feed {
        /// A Unix socket that is made and at which the program calls; without it,
        /// standard input. A relative path starts at the station file's folder.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(length(min = 1))]
        socket: Option<PathBuf>,
    },
}

/// An encoder that a GenICam camera reads itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EncoderChunk {
    /// Chunk with its count at the first line of a frame, as the camera's `ChunkSelector`
    /// names it.
    #[serde(default = "default_encoder_chunk")]
    #[schemars(length(min = 1))]
    pub chunk: String,
    /// Counts per metre of material, 1 to 1000000000.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub counts_per_metre: f64,
}

impl Source {
    /// Whether lines come from a camera, which cannot wait.
    pub fn is_camera(&self) -> bool {
        match self {
            Source::V4l2 { .. } | Source::Genicam { .. } | Source::Feed { .. } => true,
            Source::Simulator { .. } | Source::Replay { .. } => false,
        }
    }
}

/// What a feature of a camera is set to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum FeatureValue {
    /// On or off.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// A number.
    Float(f64),
    /// A text, or the name of an entry.
    Text(String),
}

impl JsonSchema for FeatureValue {
    fn schema_name() -> Cow<'static, str> {
        "FeatureValue".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "What a feature of a camera is set to.",
            "type": ["boolean", "integer", "number", "string"],
        })
    }
}

impl fmt::Display for FeatureValue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean(value) => value.fmt(formatter),
            Self::Integer(value) => value.fmt(formatter),
            Self::Float(value) => value.fmt(formatter),
            Self::Text(value) => value.fmt(formatter),
        }
    }
}

fn default_frame_lines() -> u32 {
    256
}

fn default_buffers() -> u32 {
    8
}

fn default_network_buffers() -> u32 {
    32
}

fn default_socket_buffer_mib() -> u32 {
    8
}

fn default_resend() -> bool {
    true
}

fn default_encoder_chunk() -> String {
    "EncoderValue".to_owned()
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
