//! What a Millsight station is: the camera, the optics, the material that
//! passes, the model that looks at it and where its findings are kept.
//!
//! A station is one TOML file, read with [`Station::load`]. Everything that is
//! wrong with a file is reported at once, each [`Problem`] with its line, key,
//! value and remedy. What can be said of a single value (its type, its range,
//! its choices) is said once, in the types, from where it reaches both the
//! JSON Schema ([`station_schema`]) and the check of a file; what must hold
//! between values stands in the module `relations`.
//!
//! ```
//! use millsight_firmware_config::Station;
//!
//! let station = Station::parse(
//!     r#"
//!     name = "line 3"
//!     [camera]
//!     line_rate_hz = 6000
//!     [optics]
//!     mm_per_pixel = 0.3
//!     [material]
//!     kind = "strip"
//!     speed_m_per_s = { min = 1.5, nominal = 1.8, max = 2.0 }
//!     [source]
//!     kind = "simulator"
//!     "#,
//!     "line-3.toml",
//! )?;
//! assert_eq!(station.columns(), 8);
//! # Ok::<(), millsight_firmware_config::StationError>(())
//! ```

mod camera;
mod cores;
mod document;
mod figures;
mod geometry;
mod inference;
mod material;
mod problem;
mod ready;
mod relations;
mod retention;
mod schema;
mod shape;
mod source;
mod station;
mod suggestion;
mod web;
mod wording;

pub use camera::{
    Camera, LevelWindow, MAXIMUM_LINE_RATE_HZ, MAXIMUM_LINES_PER_METRE, MAXIMUM_MM_PER_PIXEL,
    MAXIMUM_PIXELS_PER_LINE, MINIMUM_LINE_RATE_HZ, MINIMUM_LINES_PER_METRE, MINIMUM_MM_PER_PIXEL,
    Optics, PixelFormat, ScanDirection, TILE_SIZE, Trigger,
};
pub use cores::{Cores, HIGHEST_CORE};
pub use inference::{
    ASSUMED_WORKERS, Engine, EngineChoice, MAXIMUM_WORKERS, Model, Provider, Screen,
};
pub use material::{MAXIMUM_SPEED_M_PER_S, Material, MaterialDetection, MaterialKind, Speed};
pub use problem::{Problem, StationError};
pub use ready::READY_STATIONS;
pub use relations::{MAXIMUM_QUEUE_BYTES, is_piece_id};
pub use retention::{Deadlines, KeepImages, RECORDING_ROWS, Recording};
pub use schema::station_schema;
pub use source::{
    EncoderChunk, FeatureValue, FlatField, MINIMUM_SIMULATED_LINE_RATE_HZ, Pace, Source,
};
pub use station::Station;
pub use web::Web;
