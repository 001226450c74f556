//! Flat-field correction of a line camera: per-pixel offset (dark signal
//! non-uniformity, DSNU) and gain (photo response non-uniformity, PRNU),
//! after EMVA 1288: `out = (in − dark) · target / (white − dark)`.

use std::path::PathBuf;

use millsight_firmware_config::{ScanDirection, Station};
use multiversion::multiversion;
use serde::{Deserialize, Serialize};

/// Fractional bits of the fixed-point gain.
const GAIN_BITS: u32 = 10;

/// What a flat-field file (JSON) holds: mean levels of each pixel of the
/// line, taken with the lens covered and on an evenly lit white target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reference {
    /// Mean dark level of each pixel, 0 to 255.
    pub dark: Vec<f32>,
    /// Mean white level of each pixel, 0 to 255, above `dark`.
    pub white: Vec<f32>,
    /// Level to which white is brought, 1 to 255.
    pub target: f32,
    /// How it was recorded; nothing where it was made of strips.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken: Option<Taken>,
}

/// How a flat field was recorded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Taken {
    /// Exposure of a line, in microseconds.
    pub exposure_us: f64,
    /// Which end of the line looked at the operator side.
    pub scan_direction: ScanDirection,
    /// Lines of which each mean was taken.
    pub lines: u64,
}

/// The mean level of each pixel over many lines.
#[derive(Debug, Clone)]
pub struct MeanLine {
    sums: Vec<u64>,
    lines: u64,
}

impl MeanLine {
    /// Of no lines yet, of `pixels_per_line` pixels.
    pub fn new(pixels_per_line: usize) -> Self {
        Self {
            sums: vec![0; pixels_per_line],
            lines: 0,
        }
    }

    /// Adds whole lines, 8-bit grey.
    pub fn add(&mut self, pixels: &[u8]) {
        for line in pixels.chunks_exact(self.sums.len().max(1)) {
            for (sum, &level) in self.sums.iter_mut().zip(line) {
                *sum += u64::from(level);
            }
            self.lines += 1;
        }
    }

    /// Lines that were added.
    pub fn lines(&self) -> u64 {
        self.lines
    }

    /// The mean of each pixel; nothing of no lines.
    pub fn mean(&self) -> Option<Vec<f32>> {
        let mean = |&sum: &u64| (sum as f64 / self.lines as f64) as f32;
        (self.lines > 0).then(|| self.sums.iter().map(mean).collect())
    }
}

/// Why a flat-field file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FlatFieldError {
    /// The file could not be read.
    #[error("cannot read the flat field {path}: {error}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        error: std::io::Error,
    },
    /// The file is not understood.
    #[error(
        "the flat field {path} is not understood: {error}; it must be JSON with the lists `dark` and `white` and the level `target`"
    )]
    Parse {
        /// The file.
        path: PathBuf,
        /// What the parser says.
        error: serde_json::Error,
    },
    /// The values make no sense.
    #[error("the flat field {path} cannot be used: {reason}")]
    Values {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        reason: String,
    },
}

/// A correction that is ready to be applied.
#[derive(Debug, Clone)]
pub struct FlatField {
    dark: Vec<u16>,
    gain: Vec<u16>,
}

impl FlatField {
    /// Reads the flat-field file of a station for lines of `pixels_per_line` pixels; tells
    /// what is doubtful about it. `None`: the station has none.
    ///
    /// # Errors
    /// When the file is missing, malformed, of another width or scan direction, or asks for
    /// a gain outside 0 to 63.
    pub fn of_station(
        station: &Station,
        pixels_per_line: usize,
    ) -> Result<Option<(Self, Option<String>)>, FlatFieldError> {
        let Some(path) = station
            .flat_field
            .as_ref()
            .map(|flat_field| &flat_field.file)
        else {
            return Ok(None);
        };
        let text = std::fs::read(path).map_err(|error| FlatFieldError::Read {
            path: path.clone(),
            error,
        })?;
        let reference: Reference =
            serde_json::from_slice(&text).map_err(|error| FlatFieldError::Parse {
                path: path.clone(),
                error,
            })?;
        let values = |reason| FlatFieldError::Values {
            path: path.clone(),
            reason,
        };
        let correction = Self::new(&reference, pixels_per_line).map_err(values)?;
        let doubt = match &reference.taken {
            Some(taken) => doubt(taken, station).map_err(values)?,
            None => None,
        };
        let doubt = doubt.map(|doubt| format!("the flat field {}: {doubt}", path.display()));
        Ok(Some((correction, doubt)))
    }

    /// The correction by a reference, for lines of `pixels_per_line` pixels.
    ///
    /// # Errors
    /// What is wrong with the reference, in the cases of [`FlatField::of_station`].
    pub fn new(reference: &Reference, pixels_per_line: usize) -> Result<Self, String> {
        let Reference {
            dark,
            white,
            target,
            ..
        } = reference;
        if dark.len() != pixels_per_line || white.len() != pixels_per_line {
            return Err(format!(
                "it has {} dark and {} white levels, but a line has {pixels_per_line} pixels; \
                 take it again with this camera",
                dark.len(),
                white.len()
            ));
        }
        if !(1.0..=255.0).contains(target) {
            return Err(format!(
                "`target` is {target}, but must be a level from 1 to 255"
            ));
        }
        let mut gain = Vec::with_capacity(pixels_per_line);
        for (pixel, (&dark, &white)) in dark.iter().zip(white).enumerate() {
            let value = target / (white - dark);
            if !(0.0..=255.0).contains(&dark) || !value.is_finite() || !(0.0..63.0).contains(&value)
            {
                return Err(format!(
                    "pixel {pixel} has dark {dark} and white {white}; white must lie well above dark: \
                     clean the lens and the target, then take it again"
                ));
            }
            gain.push((value * f32::from(1u16 << GAIN_BITS)).round() as u16);
        }
        Ok(Self {
            dark: dark.iter().map(|&level| level.round() as u16).collect(),
            gain,
        })
    }

    /// Copies whole lines from `source` to `target`, corrected.
    pub fn copy(&self, source: &[u8], target: &mut [u8]) {
        let width = self.gain.len();
        let lines = source.chunks_exact(width);
        for (source, target) in lines.zip(target.chunks_exact_mut(width)) {
            correct(source, &self.dark, &self.gain, target);
        }
    }
}

/// What is doubtful about a flat field that was recorded otherwise than its station runs.
///
/// # Errors
/// When the light fell on other pixels.
fn doubt(taken: &Taken, station: &Station) -> Result<Option<String>, String> {
    let name = |direction| match direction {
        ScanDirection::Forward => "forward",
        ScanDirection::Reverse => "reverse",
    };
    let direction = station.optics.scan_direction;
    if taken.scan_direction != direction {
        return Err(format!(
            "it was recorded with the scan direction \"{}\", and `optics.scan_direction` is \"{}\"; \
             record one for it with `millsight flat-field record`",
            name(taken.scan_direction),
            name(direction)
        ));
    }
    let exposure = station.camera.exposure_us;
    let is_another = (taken.exposure_us - exposure).abs() > 0.01 * exposure;
    Ok(is_another.then(|| {
        format!(
            "it was recorded at an exposure of {} µs, and `camera.exposure_us` is {exposure}; \
             record it anew with `millsight flat-field record`",
            taken.exposure_us
        )
    }))
}

/// Corrects a line: `(level − dark) · gain`, rounded. Sixteen bits suffice for
/// either half of the product, and processors multiply many of these at once.
#[multiversion(targets = "simd")]
fn correct(source: &[u8], dark: &[u16], gain: &[u16], target: &mut [u8]) {
    const UP: u32 = 16 - GAIN_BITS;
    let factors = source.iter().zip(dark).zip(gain);
    for (out, ((&level, &dark), &gain)) in target.iter_mut().zip(factors) {
        let signal = u16::from(level).saturating_sub(dark) << UP;
        let upper = ((u32::from(signal) * u32::from(gain)) >> 16) as u16;
        let half = signal.wrapping_mul(gain) >> 15;
        *out = (upper + half).min(255) as u8;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_uneven_line_becomes_even() {
        let reference = Reference {
            dark: vec![2.0, 4.0, 0.0, 10.0],
            white: vec![202.0, 104.0, 255.0, 110.0],
            target: 200.0,
            taken: None,
        };
        let flat = FlatField::new(&reference, 4).unwrap();
        let mut out = [0; 8];
        flat.copy(&[102, 54, 128, 60, 0, 0, 0, 255], &mut out);
        assert_eq!(out, [100, 100, 100, 100, 0, 0, 0, 255]);
    }

    #[test]
    fn every_level_is_rounded_as_the_formula_says() {
        let levels: Vec<u8> = (0..=255).collect();
        for (dark, gain) in [
            (0, 1024),
            (3, 1500),
            (0, 64_511),
            (255, 1),
            (7, 1023),
            (40, 0),
        ] {
            let flat = FlatField {
                dark: vec![dark; 256],
                gain: vec![gain; 256],
            };
            let mut corrected = [0; 256];
            flat.copy(&levels, &mut corrected);
            for (level, got) in levels.iter().zip(corrected) {
                let signal = u32::from(u16::from(*level).saturating_sub(dark));
                let rounded = (signal * u32::from(gain) + (1 << (GAIN_BITS - 1))) >> GAIN_BITS;
                assert_eq!(u32::from(got), rounded.min(255), "{level} {dark} {gain}");
            }
        }
    }

    #[test]
    fn unusable_references_name_the_pixel() {
        let reference = Reference {
            dark: vec![2.0, 50.0],
            white: vec![202.0, 50.0],
            target: 200.0,
            taken: None,
        };
        let reason = FlatField::new(&reference, 2).unwrap_err();
        assert!(reason.contains("pixel 1"), "{reason}");
        let reason = FlatField::new(&reference, 4096).unwrap_err();
        assert!(reason.contains("4096"), "{reason}");
    }
}
