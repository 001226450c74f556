//! Formats and ranges that a camera offers.

use aravis::prelude::*;

use super::camera::Camera;
use super::error::Error;

/// Names under which cameras have their line rate, in lines a second.
const LINE_RATES: [&str; 3] = ["AcquisitionLineRate", "AcquisitionLineRateAbs", "LineRate"];

/// Values that a whole number can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Range {
    /// The least.
    pub least: i64,
    /// The largest.
    pub most: i64,
    /// From one to the next.
    pub step: i64,
}

/// Line rates that a camera can have as it is set up, in lines a second.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct LineRates {
    /// The feature that sets it: a line rate, or `AcquisitionFrameRate` of a camera that
    /// only has a rate of frames.
    pub feature: String,
    /// The lowest.
    pub least: f64,
    /// The highest.
    pub most: f64,
}

/// What a camera offers.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Offered {
    /// Formats of pixels.
    pub pixel_formats: Vec<String>,
    /// Pixels of a line.
    pub width: Range,
    /// Lines of a frame.
    pub height: Range,
    /// Line rates, where the camera tells.
    pub line_rates: Option<LineRates>,
}

impl Camera {
    /// The formats and ranges that it offers as it is set up now.
    ///
    /// # Errors
    /// When it does not tell.
    pub fn offered(&self) -> Result<Offered, Error> {
        let camera = &self.camera;
        let failed = self.failed("read the formats of");
        let formats = camera.dup_available_pixel_formats_as_strings();
        let range = |name| {
            let (least, most) = camera.integer_bounds(name)?;
            let step = camera.integer_increment(name).unwrap_or(1).max(1);
            Ok(Range { least, most, step })
        };
        Ok(Offered {
            pixel_formats: formats
                .map_err(&failed)?
                .into_iter()
                .map(String::from)
                .collect(),
            width: range("Width").map_err(&failed)?,
            height: range("Height").map_err(&failed)?,
            line_rates: self.line_rates(),
        })
    }

    fn line_rates(&self) -> Option<LineRates> {
        let is_there = |name: &str| self.camera.is_feature_available(name).unwrap_or(false);
        if let Some(name) = LINE_RATES.into_iter().find(|name| is_there(name)) {
            let (least, most) = self.camera.float_bounds(name).ok()?;
            return Some(LineRates {
                feature: name.to_owned(),
                least,
                most,
            });
        }
        let (least, most) = self.camera.frame_rate_bounds().ok()?;
        let height = self.camera.integer("Height").ok()? as f64;
        Some(LineRates {
            feature: "AcquisitionFrameRate".to_owned(),
            least: least * height,
            most: most * height,
        })
    }
}
