//! What is found on the way of a run: problems and notices.

use std::mem::{Discriminant, discriminant};
use std::sync::{Mutex, PoisonError};

use super::Outcome;
use crate::classify::ClassifyError;
use crate::record::RecordError;

/// A kind of problem. However often one occurs, it takes one line, so that a
/// run of days on a full disk ends with a short list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Problem {
    /// A thread did not start.
    Thread,
    /// A thread or what it called panicked.
    Panic(&'static str),
    /// The source failed.
    Source,
    /// The source gave no line at all.
    NoLines,
    /// The source gave something that is no block of lines.
    NoWholeLines,
    /// Lines that cannot be read.
    Unreadable,
    /// Lines that did not come from the camera.
    Camera,
    /// Lines that the source lost.
    Lost,
    /// Lines that do not follow those before them.
    Sequence,
    /// Tiles that could not be judged.
    Classify(Discriminant<ClassifyError>),
    /// Something that was not recorded.
    Record(Discriminant<RecordError>),
    /// Rows that were counted, but not recorded one by one.
    Unrecorded,
    /// Recorded images that cannot be read again.
    Backlog,
    /// Verdicts after their deadline.
    Late,
    /// Tiles without a state.
    Ledger,
}

impl Problem {
    pub(super) fn classify(error: &ClassifyError) -> Self {
        Problem::Classify(discriminant(error))
    }

    pub(super) fn record(error: &RecordError) -> Self {
        Problem::Record(discriminant(error))
    }
}

/// A kind of notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Notice {
    /// Lines that were missing before, as the source itself says.
    Gap,
    /// A source that is slower than its line rate.
    Rate,
    /// A thread that runs on another core than the station's.
    Core,
}

/// Collects problems and notices from all threads: of each kind the first one
/// and how many there were.
#[derive(Debug, Default)]
pub(super) struct Findings {
    problems: Mutex<Vec<Found<Problem>>>,
    notices: Mutex<Vec<Found<Notice>>>,
}

#[derive(Debug)]
struct Found<Kind> {
    kind: Kind,
    first: String,
    count: u64,
}

impl Findings {
    /// Notes a problem.
    pub(super) fn problem(&self, kind: Problem, text: String) {
        if let Some(first) = note(&self.problems, kind, text) {
            tracing::error!("{first}");
        }
    }

    /// Notes something that is no fault.
    pub(super) fn notice(&self, kind: Notice, text: String) {
        if let Some(first) = note(&self.notices, kind, text) {
            tracing::warn!("{first}");
        }
    }

    /// Everything that was found, in the order in which each kind came first.
    pub(super) fn into_outcome(self) -> Outcome {
        Outcome {
            problems: list(self.problems),
            notices: list(self.notices),
        }
    }
}

/// Adds to what was found; gives the text of the first of its kind.
fn note<Kind: PartialEq>(
    found: &Mutex<Vec<Found<Kind>>>,
    kind: Kind,
    text: String,
) -> Option<String> {
    let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = found.iter_mut().find(|known| known.kind == kind) {
        known.count += 1;
        return None;
    }
    found.push(Found {
        kind,
        first: text.clone(),
        count: 1,
    });
    Some(text)
}

fn list<Kind>(found: Mutex<Vec<Found<Kind>>>) -> Vec<String> {
    let found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    found
        .into_iter()
        .map(|Found { first, count, .. }| match count {
            1 => first,
            2 => format!("{first} (and once more in this way)"),
            _ => format!("{first} (and {} times more in this way)", count - 1),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    #[test]
    fn a_long_run_with_a_full_disk_ends_with_a_short_list() {
        let findings = Findings::default();
        for tile in 0..10_000 {
            let error = RecordError::Image {
                folder: PathBuf::from(format!("{tile}")),
                error: std::io::ErrorKind::StorageFull.into(),
            };
            findings.problem(Problem::record(&error), error.to_string());
            let missing = RecordError::Missing {
                path: PathBuf::from("record"),
            };
            findings.problem(Problem::record(&missing), missing.to_string());
        }
        let problems = findings.into_outcome().problems;
        assert_eq!(problems.len(), 2);
        assert!(problems[0].contains(" 0:"), "{}", problems[0]);
        assert!(problems[0].contains("9999 times more"), "{}", problems[0]);
    }
}
