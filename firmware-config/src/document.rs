//! The TOML text of a station: where each key stands in it, and the way from
//! text to a checked [`Station`].

use std::ops::Range;
use std::sync::Arc;

use miette::{LabeledSpan, NamedSource, Severity};
use serde::Deserialize;
use toml::Spanned;
use toml::de::DeTable;

use crate::problem::{Problem, StationError};
use crate::relations::{self, Finding};
use crate::schema::station_schema;
use crate::shape::{self, Mismatch, Repair};
use crate::station::Station;

/// The text of a station with its name.
pub(crate) struct Document<'t> {
    text: &'t str,
    source: NamedSource<Arc<str>>,
}

impl<'t> Document<'t> {
    /// Takes `text`, which messages call `origin_name`.
    pub(crate) fn new(text: &'t str, origin_name: &str) -> Self {
        Self {
            text,
            source: NamedSource::new(origin_name, Arc::from(text)),
        }
    }

    /// The station that the text describes, with its warnings, or everything
    /// that is wrong with it.
    pub(crate) fn into_station(self) -> Result<(Station, Vec<Problem>), StationError> {
        if self.text.trim().is_empty() {
            return Err(self.invalid(vec![self.problem(
                Severity::Error,
                String::new(),
                "the file is empty".to_owned(),
                "Copy a ready station from `stations/` and change it.".to_owned(),
                vec![],
            )]));
        }
        let (root, syntax_errors) = DeTable::parse_recoverable(self.text);
        // Errors after the first are often only its consequences.
        let first = syntax_errors
            .iter()
            .min_by_key(|error| error.span().map(|span| span.start));
        if let Some(error) = first {
            return Err(self.invalid(vec![self.syntax_problem(error)]));
        }
        let (mismatches, repairs) = shape::check(root.get_ref(), &station_schema(), self.text);
        let station = match self.repaired_station(repairs) {
            Ok(station) => station,
            Err(error) if mismatches.is_empty() => {
                return Err(self.invalid(vec![self.syntax_problem(&error)]));
            }
            Err(_) => {
                let problems = mismatches.into_iter().map(|m| self.mismatch_problem(m));
                return Err(self.invalid(problems.collect()));
            }
        };
        // Stand-ins are never spoken of: what rests on a bad key is left out.
        let known_bad: Vec<String> = mismatches.iter().map(Mismatch::key).collect();
        let findings = relations::check(&station)
            .into_iter()
            .filter(|finding| !finding.touches(&known_bad))
            .map(|finding| self.finding_problem(finding, root.get_ref(), &station));
        let (warnings, mut errors): (Vec<Problem>, Vec<Problem>) =
            findings.partition(|problem| problem.severity == Severity::Warning);
        errors.extend(mismatches.into_iter().map(|m| self.mismatch_problem(m)));
        if errors.is_empty() {
            Ok((station, warnings))
        } else {
            Err(self.invalid(errors))
        }
    }

    /// The station with stand-ins for what cannot be read, so that the
    /// relations between all other values are still checked.
    fn repaired_station(&self, repairs: Vec<Repair>) -> Result<Station, toml::de::Error> {
        let mut table: toml::Table = toml::from_str(self.text)?;
        for repair in repairs {
            put(&mut table, &repair.path, repair.value);
        }
        Station::deserialize(table)
    }

    fn invalid(&self, mut problems: Vec<Problem>) -> StationError {
        problems.sort_by_key(|problem| problem.labels.first().map(LabeledSpan::offset));
        StationError::Invalid {
            origin: self.source.name().to_owned(),
            problems,
        }
    }

    fn problem(
        &self,
        severity: Severity,
        key: String,
        message: String,
        remedy: String,
        labels: Vec<LabeledSpan>,
    ) -> Problem {
        Problem {
            severity,
            key,
            message,
            remedy,
            text: Some(self.source.clone()),
            labels,
        }
    }

    fn syntax_problem(&self, error: &toml::de::Error) -> Problem {
        let labels = error
            .span()
            .map(|span| {
                LabeledSpan::new_with_span(Some("here".to_owned()), visible(self.text, span))
            })
            .into_iter()
            .collect();
        self.problem(
            Severity::Error,
            String::new(),
            format!("this is not TOML: {}", error.message().replace('\n', ", ")),
            "Sections are written `[section]`, keys `key = value`, and text stands in quotes."
                .to_owned(),
            labels,
        )
    }

    fn mismatch_problem(&self, mismatch: Mismatch) -> Problem {
        let label = LabeledSpan::new_with_span(
            Some(mismatch.label.clone()),
            visible(self.text, mismatch.span.clone()),
        );
        let key = mismatch.key();
        self.problem(
            Severity::Error,
            key,
            mismatch.message,
            mismatch.remedy,
            vec![label],
        )
    }

    fn finding_problem(&self, finding: Finding, root: &DeTable<'_>, station: &Station) -> Problem {
        let mut labels = Vec::new();
        let mut remedy = finding.remedy;
        for (key, label) in finding.labels {
            match position(root, key) {
                Some(span) => labels.push(LabeledSpan::new_with_span(
                    Some(label),
                    visible(self.text, span),
                )),
                None => {
                    if let Some(value) = value_of(station, key) {
                        remedy.push_str(&format!(
                            "\n`{key}` is not in the file; it is {value} by default."
                        ));
                    }
                }
            }
        }
        self.problem(
            finding.severity,
            finding.key.to_owned(),
            finding.message,
            remedy,
            labels,
        )
    }
}

/// Puts `value` at `path` in `table`, or takes out what is there.
fn put(table: &mut toml::Table, path: &[String], value: Option<toml::Value>) {
    match (path, value) {
        ([], _) => {}
        ([key], Some(value)) => {
            table.insert(key.clone(), value);
        }
        ([key], None) => {
            table.remove(key);
        }
        ([key, rest @ ..], value) => {
            if let Some(toml::Value::Table(inner)) = table.get_mut(key) {
                put(inner, rest, value);
            }
        }
    }
}

/// Where the value of the dotted `key` stands, if it is written in the text.
fn position(root: &DeTable<'_>, key: &str) -> Option<Range<usize>> {
    let (section, rest) = match key.split_once('.') {
        Some((section, rest)) => (section, Some(rest)),
        None => (key, None),
    };
    let (name, value) = root.get_key_value(section)?;
    match rest {
        Some(rest) => position(value.get_ref().as_table()?, rest),
        None => Some(entry_span(name.span(), value)),
    }
}

/// Span of `key = value`, or of the key alone where its value is a section
/// that stands elsewhere.
pub(crate) fn entry_span(
    key: Range<usize>,
    value: &Spanned<toml::de::DeValue<'_>>,
) -> Range<usize> {
    let end = value.span().end;
    if value.get_ref().is_table() || end < key.end {
        key
    } else {
        key.start..end
    }
}

/// `span` as one that shows: within the text, and at the end of a line on its
/// last character.
fn visible(text: &str, span: Range<usize>) -> Range<usize> {
    let end = span.end.min(text.len());
    let start = span.start.min(end);
    let marked = text.get(start..end).unwrap_or_default();
    let shows = marked.contains(|c: char| c != '\n' && c != '\r');
    let before = text.get(..start).unwrap_or_default();
    match before.char_indices().next_back() {
        Some((last, character)) if !shows && character != '\n' => last..start,
        _ => start..end,
    }
}

/// The value that `station` holds at the dotted `key`.
fn value_of(station: &Station, key: &str) -> Option<String> {
    let value = serde_json::to_value(station).ok()?;
    let pointer = format!("/{}", key.replace('.', "/"));
    value.pointer(&pointer).map(|value| match value {
        serde_json::Value::Number(number) => crate::schema::plain(number),
        other => other.to_string(),
    })
}
