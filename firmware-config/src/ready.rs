//! The stations that come with the program.

use crate::problem::StationError;
use crate::suggestion::closest;

/// Name and TOML text of each ready station: `demo`, `strip`, `rod`, `wire`
/// and `replay`.
pub const READY_STATIONS: &[(&str, &str)] = &[
    ("demo", include_str!("../stations/demo.toml")),
    ("strip", include_str!("../stations/strip.toml")),
    ("rod", include_str!("../stations/rod.toml")),
    ("wire", include_str!("../stations/wire.toml")),
    ("replay", include_str!("../stations/replay.toml")),
];

/// Text of the ready station `name`.
pub(crate) fn text(name: &str) -> Result<&'static str, StationError> {
    let names = || READY_STATIONS.iter().map(|(known, _)| *known);
    READY_STATIONS
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, text)| *text)
        .ok_or_else(|| {
            let list = names().collect::<Vec<_>>().join(", ");
            let remedy = match closest(name, names()) {
                Some(near) => format!("Did you mean `{near}`? Ready stations: {list}."),
                None => format!("Ready stations: {list}."),
            };
            StationError::UnknownReady {
                name: name.to_owned(),
                remedy,
            }
        })
}
