//! What must hold between the values of a station, and the few rules of a
//! single value that a JSON Schema does not say.

mod cameras;
mod equipment;
mod timing;

pub use equipment::{MAXIMUM_QUEUE_BYTES, is_piece_id};

use miette::Severity;

use crate::station::Station;

/// A relation that does not hold.
pub(crate) struct Finding {
    /// Error or warning.
    pub(crate) severity: Severity,
    /// The key that it is named after.
    pub(crate) key: &'static str,
    /// What is wrong.
    pub(crate) message: String,
    /// What to do.
    pub(crate) remedy: String,
    /// Keys with what is written at each, the most important first.
    pub(crate) labels: Vec<(&'static str, String)>,
}

impl Finding {
    /// Whether it rests on one of `keys`, or on something in or around one.
    pub(crate) fn touches(&self, keys: &[String]) -> bool {
        let holds = |outer: &str, inner: &str| {
            inner
                .strip_prefix(outer)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        let rests_on_trigger = self.labels.iter().any(|(key, _)| *key == LINE_RATE);
        let trigger = rests_on_trigger.then_some("camera.trigger");
        self.labels
            .iter()
            .map(|(key, _)| *key)
            .chain(trigger)
            .any(|own| keys.iter().any(|key| holds(own, key) || holds(key, own)))
    }
}

/// The key that, with the trigger, decides how fast lines come.
const LINE_RATE: &str = "camera.line_rate_hz";

/// Everything that is wrong or doubtful in `station` beyond single values.
pub(crate) fn check(station: &Station) -> Vec<Finding> {
    let rules = [
        equipment::names,
        timing::speeds,
        timing::exposure,
        timing::encoder,
        timing::line_spacing,
        timing::row_and_deadline,
        equipment::queue_size,
        timing::queue_and_deadline,
        timing::aspect,
        timing::blur,
        equipment::providers,
        equipment::model_files,
        equipment::web,
        equipment::simulator,
        cameras::window,
        cameras::frames,
        equipment::thresholds,
        equipment::material_detection,
        equipment::disk_budget,
        equipment::kept_images,
    ];
    rules.iter().flat_map(|rule| rule(station)).collect()
}

fn error(
    key: &'static str,
    message: String,
    remedy: String,
    labels: Vec<(&'static str, String)>,
) -> Finding {
    Finding {
        severity: Severity::Error,
        key,
        message,
        remedy,
        labels,
    }
}

fn warning(
    key: &'static str,
    message: String,
    remedy: String,
    labels: Vec<(&'static str, String)>,
) -> Finding {
    Finding {
        severity: Severity::Warning,
        ..error(key, message, remedy, labels)
    }
}
