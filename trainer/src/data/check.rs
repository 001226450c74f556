//! Files that training should not see.
//!
//! Every image of a table is hashed and decoded in full, by the code that
//! training uses, and compared with what the table says of it and with the
//! others. What is wrong becomes a CSV table, `bad_files.csv`:
//!
//! | column | meaning |
//! |---|---|
//! | `path` | image file, as in the table |
//! | `split` | its part, `train`, `val` or `test`; empty where it has none |
//! | `problem` | one of [`Problem`], for example `truncated` |
//! | `detail` | what was found, and beside what it should be |
//!
//! A file with several problems has several rows. Once all files in it are
//! repaired or out of the table, nothing is wrong any more: of copies one is
//! not listed, in the first of the parts train, val and test.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

use millsight_export::durable::replace_file;
use millsight_export::preprocess::{Image, LoadImageError, load_image};
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::DataError;
use super::image_header::Header;
use super::index;
use super::near_duplicates::{self, Fingerprint};
use super::table::{Row, Split};

/// What may be wrong with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Problem {
    /// There is no such file.
    Missing,
    /// It cannot be read or decoded.
    Unreadable,
    /// It ends before the image does.
    Truncated,
    /// Its width or height is not that of its row.
    WrongSize,
    /// Its pixel format is not that of its row.
    WrongMode,
    /// Its bytes are not those that the table was made from.
    Changed,
    /// Another tile of the same part, or of a table without parts, has the
    /// same pixels.
    Duplicate,
    /// A tile of another part has the same pixels.
    Leaking,
    /// A tile of another part shows nearly the same
    /// ([`near_duplicates`]).
    NearDuplicate,
}

impl Problem {
    /// All of them, in the order of the summary.
    pub const ALL: [Self; 9] = [
        Self::Missing,
        Self::Unreadable,
        Self::Truncated,
        Self::WrongSize,
        Self::WrongMode,
        Self::Changed,
        Self::Duplicate,
        Self::Leaking,
        Self::NearDuplicate,
    ];

    /// The word in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Unreadable => "unreadable",
            Self::Truncated => "truncated",
            Self::WrongSize => "wrong_size",
            Self::WrongMode => "wrong_mode",
            Self::Changed => "changed",
            Self::Duplicate => "duplicate",
            Self::Leaking => "leaking",
            Self::NearDuplicate => "near_duplicate",
        }
    }
}

/// One thing that is wrong with one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Number of its row in the table, from 0.
    pub row: usize,
    /// What kind of thing.
    pub problem: Problem,
    /// What was found.
    pub detail: String,
}

/// Looks at every file of a table; `root` is the folder to which its paths
/// are relative, and tiles of different parts are near-duplicates from
/// `similarity` on. `done` is called after each file.
///
/// A thread has one image in memory at a time, and some 1.1 KiB of each are
/// kept. What is found comes in the order of the rows and follows from the
/// files alone, not from the number of threads.
pub fn files(
    rows: &[Row],
    root: &Path,
    similarity: f64,
    threads: &rayon::ThreadPool,
    done: impl Fn() + Sync,
) -> Vec<Finding> {
    let looked_at: Vec<_> = threads.install(|| {
        let look = |(number, row)| {
            let outcome = examine(number, row, &root.join(&row.path));
            done();
            outcome
        };
        rows.par_iter().enumerate().map(look).collect()
    });
    let mut findings = Vec::new();
    let mut contents = Vec::with_capacity(rows.len());
    for (of_file, content) in looked_at {
        findings.extend(of_file);
        contents.push(content);
    }
    let copies = copies(rows, &contents);
    let mut tiles: Vec<(Option<&Fingerprint>, Option<Split>)> = rows
        .iter()
        .zip(&contents)
        .map(|(row, content)| {
            (
                content.as_ref().map(|content| &content.fingerprint),
                row.split,
            )
        })
        .collect();
    for copy in &copies {
        tiles[copy.row].0 = None;
    }
    findings.extend(copies);
    let alike = near_duplicates::across_splits(&tiles, similarity, threads);
    for (row, likeness) in alike.into_iter().enumerate() {
        if let Some(likeness) = likeness {
            let more = match likeness.count {
                1 => String::new(),
                count => format!(", and like {} more", count - 1),
            };
            findings.push(Finding {
                row,
                problem: Problem::NearDuplicate,
                detail: format!(
                    "like {}, similarity {:.3}{more}",
                    named(rows, likeness.to, row),
                    likeness.similarity
                ),
            });
        }
    }
    findings.sort_by_key(|finding| (finding.row, finding.problem));
    findings
}

/// What is compared between files.
struct Content {
    bytes: [u8; 32],
    pixels: [u8; 32],
    fingerprint: Fingerprint,
}

/// Looks at one file by itself. There is no content where it cannot be decoded.
fn examine(number: usize, row: &Row, path: &Path) -> (Vec<Finding>, Option<Content>) {
    let mut findings = Vec::new();
    let mut found = |problem, detail| {
        findings.push(Finding {
            row: number,
            problem,
            detail,
        });
    };
    let opened = load_image(path).map_err(|error| (problem_of(&error), error.to_string()));
    let opened = opened.and_then(|image| {
        let unreadable = |reason: String| (Problem::Unreadable, reason);
        let header = Header::read(path).map_err(unreadable)?;
        let bytes = index::sha256(path).map_err(|error| unreadable(error.to_string()))?;
        Ok((image, header, bytes))
    });
    let (image, header, bytes) = match opened {
        Ok(opened) => opened,
        Err((problem, detail)) => {
            found(problem, detail);
            return (findings, None);
        }
    };
    let expected = (
        row.width.unwrap_or(header.width),
        row.height.unwrap_or(header.height),
    );
    if expected != (header.width, header.height) {
        found(
            Problem::WrongSize,
            format!(
                "{}x{} pixels instead of {}x{}",
                header.width, header.height, expected.0, expected.1
            ),
        );
    }
    if let Some(mode) = row.mode.as_ref().filter(|mode| **mode != header.mode) {
        found(
            Problem::WrongMode,
            format!("mode {} instead of {mode}", header.mode),
        );
    }
    let hash = hex::encode(bytes);
    if let Some(expected) = row
        .sha256
        .as_ref()
        .filter(|expected| !expected.eq_ignore_ascii_case(&hash))
    {
        found(
            Problem::Changed,
            format!("SHA-256 {hash}, in the table {expected}"),
        );
    }
    let content = Content {
        bytes,
        pixels: hash_of_pixels(&image),
        fingerprint: Fingerprint::of(image.view()),
    };
    (findings, Some(content))
}

fn problem_of(error: &LoadImageError) -> Problem {
    match error {
        LoadImageError::Read { source, .. } if source.kind() == ErrorKind::NotFound => {
            Problem::Missing
        }
        LoadImageError::Truncated { .. } => Problem::Truncated,
        _ => Problem::Unreadable,
    }
}

/// Hash of the size and the levels; colour of three equal channels is grey.
fn hash_of_pixels(image: &Image) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update((image.width as u64).to_le_bytes());
    hash.update((image.height as u64).to_le_bytes());
    let mut pixels = image.pixels.chunks_exact(image.channels);
    if image.channels == 3 && pixels.all(|pixel| pixel[0] == pixel[1] && pixel[1] == pixel[2]) {
        let grey: Vec<u8> = image.pixels.iter().copied().step_by(3).collect();
        hash.update(grey);
    } else {
        hash.update(&image.pixels);
    }
    hash.finalize().into()
}

/// Tiles with the same pixels as another one. The first of them, by part and
/// then by row, is left out.
fn copies(rows: &[Row], contents: &[Option<Content>]) -> Vec<Finding> {
    let mut same: BTreeMap<[u8; 32], Vec<(usize, &Content)>> = BTreeMap::new();
    for (row, content) in contents.iter().enumerate() {
        if let Some(content) = content {
            same.entry(content.pixels).or_default().push((row, content));
        }
    }
    let mut findings = Vec::new();
    for mut members in same.into_values() {
        // Rows without a part come last: they are in nobody's way.
        members.sort_by_key(|&(row, _)| (rows[row].split.is_none(), rows[row].split, row));
        let (first, original) = members[0];
        for &(row, content) in &members[1..] {
            let leaking = rows[row].split.is_some() && rows[row].split != rows[first].split;
            let what = if content.bytes == original.bytes {
                "bytes"
            } else {
                "pixels"
            };
            findings.push(Finding {
                row,
                problem: if leaking {
                    Problem::Leaking
                } else {
                    Problem::Duplicate
                },
                detail: format!("same {what} as {}", named(rows, first, row)),
            });
        }
    }
    findings
}

/// A tile by its path, with its part and, where it is not that of `beside`,
/// its label.
fn named(rows: &[Row], tile: usize, beside: usize) -> String {
    let row = &rows[tile];
    let mut name = row.path.clone();
    if let Some(split) = row.split {
        name.push_str(&format!(" in {}", split.name()));
    }
    if row.label != rows[beside].label {
        name.push_str(&format!(", which is labelled {}", row.label));
    }
    name
}

/// Writes the findings as CSV, the columns alone where there are none.
///
/// # Errors
/// When the file cannot be written.
pub fn write(path: &Path, rows: &[Row], findings: &[Finding]) -> Result<(), DataError> {
    let encode = || -> std::io::Result<Vec<u8>> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(["path", "split", "problem", "detail"])?;
        for finding in findings {
            let row = &rows[finding.row];
            writer.write_record([
                row.path.as_str(),
                row.split.map_or("", Split::name),
                finding.problem.name(),
                &finding.detail,
            ])?;
        }
        writer.into_inner().map_err(|error| error.into_error())
    };
    let bytes = encode().map_err(DataError::io("encode", path))?;
    replace_file(path, &bytes).map_err(DataError::io("write", path))
}

#[cfg(test)]
mod tests;
