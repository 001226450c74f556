//! The line camera and its optics.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Side of a tile: 512 pixels across the material and 512 lines along it.
pub const TILE_SIZE: usize = 512;

/// Most pixels that a line may have. The widest line cameras in common use
/// have 16384; the runtime sizes its buffers by this value.
pub const MAXIMUM_PIXELS_PER_LINE: usize = 16_384;

/// Lowest line rate, in lines per second, that a station may state.
pub const MINIMUM_LINE_RATE_HZ: f64 = 10.0;

/// Highest line rate, in lines per second, that a station may state.
pub const MAXIMUM_LINE_RATE_HZ: f64 = 400_000.0;

/// Fewest lines per metre of material: a tile is then 51 metres long.
pub const MINIMUM_LINES_PER_METRE: f64 = 10.0;

/// Most lines per metre of material: a line then covers a micrometre, which no
/// optics in a mill resolves.
pub const MAXIMUM_LINES_PER_METRE: f64 = 1_000_000.0;

/// Finest pixel, in millimetres of material, that a station may state.
pub const MINIMUM_MM_PER_PIXEL: f64 = 0.001;

/// Coarsest pixel, in millimetres of material, that a station may state.
pub const MAXIMUM_MM_PER_PIXEL: f64 = 10.0;

/// The line camera.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Camera {
    /// Pixels of one line. A multiple of 512, because a line is cut into
    /// columns of 512 pixels; 512 to 16384.
    #[serde(default = "default_pixels_per_line")]
    #[schemars(range(min = TILE_SIZE, max = MAXIMUM_PIXELS_PER_LINE), extend("multipleOf" = TILE_SIZE))]
    pub pixels_per_line: usize,
    /// Lines per second (Hz) that the camera delivers when it runs free, and
    /// the most that it can deliver when an encoder triggers it; 10 to 400000.
    #[schemars(range(min = MINIMUM_LINE_RATE_HZ, max = MAXIMUM_LINE_RATE_HZ))]
    pub line_rate_hz: f64,
    /// How the camera encodes a pixel. Deeper formats are reduced to 8 bits.
    #[serde(default)]
    pub pixel_format: PixelFormat,
    /// Which levels of a camera with more than 8 bits become 0 and 255; without it the
    /// lowest bits are left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<LevelWindow>,
    /// Exposure time of one line in microseconds, 0.1 to 100000 and never
    /// longer than the time from one line to the next.
    #[serde(default = "default_exposure_us")]
    #[schemars(range(min = 0.1, max = 100_000.0))]
    pub exposure_us: f64,
    /// What starts a line.
    #[serde(default)]
    pub trigger: Trigger,
}

fn default_pixels_per_line() -> usize {
    4096
}

fn default_exposure_us() -> f64 {
    5.0
}

/// How the camera encodes a pixel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PixelFormat {
    /// 8 bits per pixel.
    #[default]
    Mono8,
    /// 10 bits per pixel, in the low bits of two bytes.
    Mono10,
    /// 12 bits per pixel, in the low bits of two bytes.
    Mono12,
    /// 16 bits per pixel.
    Mono16,
    /// Red, green and blue of 8 bits each, which become their brightness.
    Rgb8,
    /// Blue, green and red of 8 bits each, which become their brightness.
    Bgr8,
}

impl PixelFormat {
    /// Bytes of one pixel.
    pub fn bytes(self) -> usize {
        match self {
            PixelFormat::Mono8 => 1,
            PixelFormat::Mono10 | PixelFormat::Mono12 | PixelFormat::Mono16 => 2,
            PixelFormat::Rgb8 | PixelFormat::Bgr8 => 3,
        }
    }

    /// Significant bits of one sample.
    pub fn bits(self) -> u32 {
        match self {
            PixelFormat::Mono8 | PixelFormat::Rgb8 | PixelFormat::Bgr8 => 8,
            PixelFormat::Mono10 => 10,
            PixelFormat::Mono12 => 12,
            PixelFormat::Mono16 => 16,
        }
    }
}

/// Which levels of a camera with more than 8 bits become 0 and 255.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LevelWindow {
    /// The level that becomes 0, and all below it; 0 to 65534.
    #[schemars(range(min = 0, max = 65_534))]
    pub black: u16,
    /// The level that becomes 255, and all above it; 1 to 65535, above `black`.
    #[schemars(range(min = 1, max = 65_535))]
    pub white: u16,
}

/// What starts a line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "mode", rename_all = "snake_case", deny_unknown_fields)]
pub enum Trigger {
    /// The camera's own clock: lines come at `line_rate_hz` whatever the speed
    /// of the material, so that their spacing changes with it.
    #[default]
    FreeRunning,
    /// A pulse of an encoder on the material: lines are evenly spaced, and
    /// their rate follows the speed.
    Encoder {
        /// Lines per metre of material, 10 to 1000000.
        #[schemars(range(min = MINIMUM_LINES_PER_METRE, max = MAXIMUM_LINES_PER_METRE))]
        lines_per_metre: f64,
    },
}

/// How the material is seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Optics {
    /// Millimetres of material that one pixel covers across the line, 0.001 to
    /// 10.
    #[schemars(range(min = MINIMUM_MM_PER_PIXEL, max = MAXIMUM_MM_PER_PIXEL))]
    pub mm_per_pixel: f64,
    /// Which end of the line looks at the operator side.
    #[serde(default)]
    pub scan_direction: ScanDirection,
}

/// Which end of the line looks at the operator side; positions across the
/// material are counted in millimetres from there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ScanDirection {
    /// The first pixel of a line is at the operator side.
    #[default]
    Forward,
    /// The last pixel of a line is at the operator side.
    Reverse,
}
