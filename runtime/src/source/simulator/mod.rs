//! A simulated line-scan camera over hot rolled steel.
//!
//! It draws what a camera with LED light sees of strip, rod and wire, with the
//! defects of five classes, with harmless things that resemble them, and with
//! the truth about every tile. It serves as demo, test bench and data set for
//! everyone who has no mill at hand.
//!
//! * [`Strip`] yields the camera lines of one piece in blocks of any size.
//! * [`write_tiles`] writes tiles of many pieces into class folders.
//! * [`truth`] states when a tile carries a label.
//!
//! How a line comes about, in the order of the files: `settings` (what can be
//! chosen), `piece` (what stays the same over a piece), `texture` and `surface`
//! (the rolled surface), `crack`, `mark`, `overfill` and `confounder` (pictures
//! of features as relative changes of brightness), `feature` and `plan` (which
//! of them lie where), `camera` (shape, light, optics, noise), `strip`, `tiles`
//! and `tile_set` (what callers see).
//!
//! The same settings draw the same bytes on the same kind of machine, whatever
//! the number of threads. Between machines, the last bit of a sine may differ.

mod camera;
mod confounder;
mod crack;
mod dice;
mod feature;
mod mark;
mod overfill;
mod piece;
mod plan;
mod relief;
mod settings;
mod stamp;
mod strip;
mod surface;
mod texture;
mod tile_set;
mod tiles;
pub mod truth;
mod window;

#[cfg(test)]
mod tests;

pub use settings::{ClassShares, Material, SettingsError, SimulatorSettings};
pub use strip::{Strip, StripTruth};
pub use tile_set::{TileSetError, TileSetSummary, draw_tiles, write_tiles};
pub use tiles::{TileSetSettings, TileTruth};
pub use truth::{CLASS_NAMES, Defect, DefectClass, TileLabel};

/// Width in pixels and height in lines of a tile.
pub const TILE: usize = 512;
