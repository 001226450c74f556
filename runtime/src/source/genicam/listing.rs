//! The GenICam cameras that answer.

use super::camera::Camera;
use super::devices::{self, CameraInfo};
use crate::source::connected::Connected;

/// The cameras that answer.
pub(in crate::source) fn connected() -> Vec<Connected> {
    devices::list().iter().map(describe).collect()
}

fn describe(info: &CameraInfo) -> Connected {
    let mut found = Connected {
        name: format!(
            "{} {} {} ({}, {})",
            info.vendor, info.model, info.serial, info.protocol, info.address
        ),
        source: format!("kind = \"genicam\", camera = \"{}\"", info.id),
        paths: Vec::new(),
        problem: None,
        formats: Vec::new(),
        controls: Vec::new(),
    };
    match Camera::open(&info.id).and_then(|camera| camera.offered()) {
        Ok(offered) => {
            let (width, height) = (offered.width, offered.height);
            found.formats.push(format!(
                "{}: {} to {} × {} to {} pixels",
                offered.pixel_formats.join(", "),
                width.least,
                width.most,
                height.least,
                height.most
            ));
            if let Some(rates) = offered.line_rates {
                found.controls.push(format!(
                    "{} for {:.0} to {:.0} lines/s",
                    rates.feature, rates.least, rates.most
                ));
            }
        }
        Err(error) => found.problem = Some(error.to_string()),
    }
    found
}
