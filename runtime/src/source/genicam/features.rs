//! Features of a camera by their names, as its own description (GenICam) gives them.

use std::ptr;

use aravis::glib::prelude::*;
use aravis::glib::translate::{ToGlibPtr, from_glib_full, from_glib_none};
use aravis::glib::{self, GString};
use aravis::prelude::*;
use millsight_firmware_config::FeatureValue;

use super::error::Error;

/// Most by which a number that was read back may differ from the one that was set, in
/// parts of it: cameras round rates and times to their clock.
const TOLERANCE: f64 = 1e-3;

/// Whether a value that was read back is the one that was asked for.
fn is_met(asked: &FeatureValue, given: &FeatureValue) -> bool {
    match (asked, given) {
        (FeatureValue::Float(asked), FeatureValue::Float(given)) => is_near(*asked, *given),
        (FeatureValue::Integer(asked), FeatureValue::Float(given)) => {
            is_near(*asked as f64, *given)
        }
        (asked, given) => asked == given,
    }
}

fn is_near(asked: f64, given: f64) -> bool {
    (asked - given).abs() <= TOLERANCE * asked.abs()
}

/// What kind of value a feature takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Boolean,
    Enumeration,
    Integer,
    Float,
    Text,
    Command,
}

/// The features of an open camera.
pub(super) struct Features<'a> {
    /// The camera.
    pub(super) camera: &'a aravis::Camera,
    /// How it was asked for.
    pub(super) name: &'a str,
}

impl Features<'_> {
    /// Sets features; tells which the camera has set to something else.
    ///
    /// Selectors come first, as they say what the others are of; the rest in the given
    /// order. What a feature may be can depend on another, as the line rate on the time of
    /// exposure: those that are refused are tried again after the others.
    ///
    /// # Errors
    /// When the camera lacks a feature, or still refuses one after all others were set.
    pub(super) fn set_all(&self, features: &[(&str, &FeatureValue)]) -> Result<Vec<String>, Error> {
        let (mut waiting, others): (Vec<_>, Vec<_>) = features
            .iter()
            .copied()
            .partition(|(name, _)| name.ends_with("Selector"));
        waiting.extend(others);
        while !waiting.is_empty() {
            let mut refused = Vec::new();
            let mut first_error = None;
            for &(name, value) in &waiting {
                if let Err(error) = self.set(name, value) {
                    refused.push((name, value));
                    if matches!(error, Error::Gone { .. } | Error::Busy { .. }) {
                        return Err(error);
                    }
                    first_error.get_or_insert(error);
                }
            }
            match first_error {
                Some(error) if refused.len() == waiting.len() => return Err(error),
                _ => waiting = refused,
            }
        }
        // Setting one feature may change another: they are read when all are set.
        let mut notices = Vec::new();
        for &(name, asked) in features {
            if let Some(given) = self.get(name)?
                && !is_met(asked, &given)
            {
                notices.push(format!(
                    "the camera `{}` has set {name} to {given} instead of {asked}",
                    self.name
                ));
            }
        }
        Ok(notices)
    }

    /// Reads a feature; nothing of a command.
    ///
    /// # Errors
    /// When the camera lacks it or does not let it be read.
    pub(super) fn get(&self, name: &str) -> Result<Option<FeatureValue>, Error> {
        let value = match self.kind(name)? {
            Kind::Boolean => self.camera.boolean(name).map(FeatureValue::Boolean),
            Kind::Integer => self.camera.integer(name).map(FeatureValue::Integer),
            Kind::Float => self.camera.float(name).map(FeatureValue::Float),
            Kind::Enumeration | Kind::Text => text(self.camera, name).map(FeatureValue::Text),
            Kind::Command => return Ok(None),
        };
        value.map(Some).map_err(|error| self.failed(name, &error))
    }

    fn set(&self, name: &str, value: &FeatureValue) -> Result<(), Error> {
        let camera = self.camera;
        let kind = self.kind(name)?;
        let done = match (kind, value) {
            (Kind::Boolean, FeatureValue::Boolean(value)) => camera.set_boolean(name, *value),
            (Kind::Integer, FeatureValue::Integer(value)) => {
                self.check_integer(name, *value)?;
                camera.set_integer(name, *value)
            }
            (Kind::Float, FeatureValue::Float(value)) => {
                self.check_float(name, *value)?;
                camera.set_float(name, *value)
            }
            (Kind::Float, FeatureValue::Integer(value)) => {
                self.check_float(name, *value as f64)?;
                camera.set_float(name, *value as f64)
            }
            (Kind::Enumeration, FeatureValue::Text(value)) => {
                self.check_entry(name, value)?;
                camera.set_string(name, value)
            }
            (Kind::Text, FeatureValue::Text(value)) => camera.set_string(name, value),
            (Kind::Command, FeatureValue::Boolean(true)) => camera.execute_command(name),
            (kind, value) => {
                let expected = match kind {
                    Kind::Boolean => "true or false",
                    Kind::Integer => "a whole number",
                    Kind::Float => "a number",
                    Kind::Enumeration | Kind::Text => "a text",
                    Kind::Command => "true, as it is a command",
                };
                return Err(self.refused(name, format!("it takes {expected}, not {value}")));
            }
        };
        done.map_err(|error| self.failed(name, &error))
    }

    fn kind(&self, name: &str) -> Result<Kind, Error> {
        let Some(node) = self.camera.device().and_then(|device| device.feature(name)) else {
            return Err(self.refused(name, "the camera has none of this name".to_owned()));
        };
        // Some nodes are several of these; the narrower kinds come first.
        let kind = if node.is::<aravis::GcBoolean>() {
            Kind::Boolean
        } else if node.is::<aravis::GcEnumeration>() {
            Kind::Enumeration
        } else if node.is::<aravis::GcCommand>() {
            Kind::Command
        } else if node.is::<aravis::GcFloat>() {
            Kind::Float
        } else if node.is::<aravis::GcInteger>() {
            Kind::Integer
        } else if node.is::<aravis::GcString>() {
            Kind::Text
        } else {
            return Err(self.refused(name, "it is no value".to_owned()));
        };
        Ok(kind)
    }

    /// The library hands values on that the camera says it cannot take, and some cameras
    /// take them then.
    fn check_integer(&self, name: &str, value: i64) -> Result<(), Error> {
        let Ok((least, most)) = self.camera.integer_bounds(name) else {
            return Ok(());
        };
        let step = self.camera.integer_increment(name).unwrap_or(1).max(1);
        let is_step = value.wrapping_sub(least) % step == 0;
        if (least..=most).contains(&value) && is_step {
            return Ok(());
        }
        let reason = format!("{value} is not from {least} to {most} in steps of {step}");
        Err(self.refused(name, reason))
    }

    fn check_float(&self, name: &str, value: f64) -> Result<(), Error> {
        match self.camera.float_bounds(name) {
            Ok((least, most)) if !(least..=most).contains(&value) => {
                Err(self.refused(name, format!("{value} is not from {least} to {most}")))
            }
            _ => Ok(()),
        }
    }

    fn check_entry(&self, name: &str, value: &str) -> Result<(), Error> {
        match self.camera.dup_available_enumerations_as_strings(name) {
            Ok(entries) if !entries.iter().any(|entry| entry == value) => {
                let entries: Vec<_> = entries.iter().map(|entry| entry.as_str()).collect();
                Err(self.refused(name, format!("{value} is none of {}", entries.join(", "))))
            }
            _ => Ok(()),
        }
    }

    fn refused(&self, name: &str, reason: String) -> Error {
        Error::Feature {
            camera: self.name.to_owned(),
            feature: name.to_owned(),
            reason,
        }
    }

    fn failed(&self, name: &str, error: &glib::Error) -> Error {
        Error::of_feature(self.name, name, error)
    }
}

/// Reads a feature that is a text or one of several settings; empty where the library
/// gives none. The safe call takes it for granted that there is one.
///
/// # Errors
/// When the camera lacks the feature or does not let it be read.
pub(super) fn text(camera: &aravis::Camera, feature: &str) -> Result<String, glib::Error> {
    let mut error = ptr::null_mut();
    // SAFETY: camera and name live through the call. The library gives an error that is
    // ours, or no text, or one that it keeps until the feature is read again.
    #[allow(unsafe_code)]
    unsafe {
        let text = aravis_sys::arv_camera_get_string(
            camera.to_glib_none().0,
            feature.to_glib_none().0,
            &mut error,
        );
        if !error.is_null() {
            return Err(from_glib_full(error));
        }
        let text: Option<GString> = from_glib_none(text);
        Ok(text.map(String::from).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_the_camera_rounds_are_met() {
        assert!(is_met(
            &FeatureValue::Float(67_000.0),
            &FeatureValue::Float(67_001.3)
        ));
        assert!(is_met(
            &FeatureValue::Integer(67_000),
            &FeatureValue::Float(66_999.0)
        ));
        assert!(!is_met(
            &FeatureValue::Float(67_000.0),
            &FeatureValue::Float(60_000.0)
        ));
        assert!(!is_met(
            &FeatureValue::Integer(4),
            &FeatureValue::Integer(5)
        ));
        assert!(is_met(&FeatureValue::Float(0.0), &FeatureValue::Float(0.0)));
    }
}
