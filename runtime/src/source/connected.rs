//! Which cameras are connected, and what they offer.

use serde::Serialize;

/// A camera that is connected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Connected {
    /// What it is called.
    pub name: String,
    /// What a station writes in its section `source`.
    pub source: String,
    /// Paths that lead to it, those that stay the same first.
    pub paths: Vec<String>,
    /// Why it cannot be used now.
    pub problem: Option<String>,
    /// Formats and sizes of frames.
    pub formats: Vec<String>,
    /// What can be set, with the values that it takes.
    pub controls: Vec<String>,
}

/// The cameras that are connected. Asks in the networks of this computer too where the
/// program was made for that, which takes a second.
pub fn connected() -> Vec<Connected> {
    let mut cameras = Vec::new();
    #[cfg(target_os = "linux")]
    cameras.extend(super::v4l2::listing::connected());
    #[cfg(feature = "genicam")]
    cameras.extend(super::genicam::listing::connected());
    cameras
}
