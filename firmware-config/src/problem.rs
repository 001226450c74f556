//! What is wrong with a station, said so that it can be put right.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use miette::{Diagnostic, LabeledSpan, NamedSource, Severity, SourceCode};
use thiserror::Error;

/// Why there is no station.
#[derive(Debug, Error, Diagnostic)]
pub enum StationError {
    /// The file could not be read as text.
    #[error("cannot read the station file `{}`", path.display())]
    #[diagnostic(help(
        "Name a TOML file that exists and that you may read; `stations/` has ready ones to copy."
    ))]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The text is no usable station.
    #[error("the station `{origin}` cannot be used: {}", count(problems.len()))]
    Invalid {
        /// File name, or what was given for it.
        origin: String,
        /// Everything that is wrong, in the order of the text.
        #[related]
        problems: Vec<Problem>,
    },
    /// There is no ready station of this name.
    #[error("there is no ready station `{name}`")]
    #[diagnostic(help("{remedy}"))]
    UnknownReady {
        /// The name that was asked for.
        name: String,
        /// What to ask for instead.
        remedy: String,
    },
}

impl StationError {
    /// Everything that is wrong in the text of a station; empty when no text
    /// was read.
    pub fn problems(&self) -> &[Problem] {
        match self {
            StationError::Invalid { problems, .. } => problems,
            StationError::Read { .. } | StationError::UnknownReady { .. } => &[],
        }
    }
}

fn count(problems: usize) -> String {
    match problems {
        1 => "1 problem".to_owned(),
        more => format!("{more} problems"),
    }
}

/// One thing that is wrong with a station ([`Severity::Error`]) or probably
/// not meant ([`Severity::Warning`]).
///
/// Printed by `miette` it shows the lines of the file that it is about.
#[derive(Debug, Clone)]
pub struct Problem {
    /// Error or warning.
    pub severity: Severity,
    /// Dotted key that it is about, for example `camera.line_rate_hz`; empty
    /// when the text is not TOML.
    pub key: String,
    /// What is wrong, with key and value.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
    /// The text, where there is one.
    pub(crate) text: Option<NamedSource<Arc<str>>>,
    /// Places in the text, the most important first.
    pub(crate) labels: Vec<LabeledSpan>,
}

impl Problem {
    /// Line of the file, counted from 1, where there is a file.
    pub fn line(&self) -> Option<usize> {
        let text = self.text.as_ref()?.inner();
        let offset = self.labels.first()?.offset();
        Some(text.get(..offset)?.matches('\n').count() + 1)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for Problem {}

impl Diagnostic for Problem {
    fn severity(&self) -> Option<Severity> {
        Some(self.severity)
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(&self.remedy))
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.text.as_ref().map(|text| text as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        Some(Box::new(self.labels.iter().cloned()))
    }
}
