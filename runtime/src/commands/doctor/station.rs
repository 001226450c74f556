//! What a station names: thresholds, source, flat field, record.

use std::path::Path;

use millsight_export::model_file::ModelFile;
use millsight_firmware_config::Station;

use super::Findings;
use crate::commands::inspect::check_width;
use crate::decide::Decider;
use crate::flat_field::FlatField;
use crate::record::{nearest_existing, space_for};
use crate::station::open_source;

const GIB: f64 = (1u64 << 30) as f64;

/// Free space below which a record soon ends.
const LITTLE_GIB: f64 = 1.0;

/// Tries everything that a station names as a run would use it.
pub fn look(station: &Station, model: Option<&ModelFile>, findings: &mut Findings) {
    if let Some(model) = model {
        match Decider::new(&model.card, &station.thresholds) {
            Ok(decider) => {
                let defects: Vec<&str> = decider.defects().map(|(_, name)| name).collect();
                findings.ok("decide", format!("flags {}", defects.join(", ")));
            }
            Err(error) => findings.problem("decide", error.to_string()),
        }
    }
    let mut width = station.camera.pixels_per_line;
    match open_source(station) {
        Ok(source) => {
            width = source.pixels_per_line();
            match check_width(station, source.as_ref()) {
                Ok(()) => findings.ok("source", expected(source.expected_lines(), width)),
                Err(report) => findings.problem("source", report.to_string()),
            }
        }
        Err(error) => findings.problem("source", error.to_string()),
    }
    match FlatField::of_station(station, width) {
        Ok(Some((_, None))) => {
            findings.ok("flat field", format!("fits {width} pixels"));
        }
        Ok(Some((_, Some(doubt)))) => findings.note("flat field", doubt),
        Ok(None) => {}
        Err(error) => findings.problem("flat field", error.to_string()),
    }
    record(station, findings);
}

fn expected(lines: Option<u64>, width: usize) -> String {
    match lines {
        Some(lines) => format!("opens: {lines} lines of {width} pixels"),
        None => format!("opens: lines of {width} pixels"),
    }
}

/// Whether the record folder can be written, and its budget fits the disk.
fn record(station: &Station, findings: &mut Findings) {
    let folder = &station.recording.folder;
    let existing = nearest_existing(folder);
    // The file has no name of its own for long, and is gone at once.
    match tempfile::NamedTempFile::new_in(&existing) {
        Ok(_) => findings.ok("record", format!("{} can be written", folder.display())),
        Err(error) => findings.problem(
            "record",
            format!(
                "{} cannot be written: {error}; choose another `recording.folder`",
                existing.display()
            ),
        ),
    }
    let Some(free) = disk(folder, findings) else {
        return;
    };
    let kept = size(folder) as f64 / GIB;
    let budget = station.recording.disk_budget_gib;
    if budget - kept > free {
        findings.note(
            "disk",
            format!(
                "`recording.disk_budget_gib = {budget}` does not fit: the folder holds {kept:.1} \
                 GiB, and {free:.1} GiB are free; lower it to {:.1}, or the disk is full first",
                (kept + free).floor().max(0.1)
            ),
        );
    }
}

/// Says how much space is free for a folder, in GiB.
pub fn disk(folder: &Path, findings: &mut Findings) -> Option<f64> {
    let existing = nearest_existing(folder);
    let Some(space) = space_for(folder) else {
        findings.note(
            "disk",
            format!("cannot tell the free space at {}", existing.display()),
        );
        return None;
    };
    let free = space.free as f64 / GIB;
    let text = format!("{free:.1} GiB free for records at {}", existing.display());
    if free < LITTLE_GIB {
        findings.note("disk", text);
    } else {
        findings.ok("disk", text);
    }
    Some(free)
}

/// Bytes of all files below a folder; what cannot be read counts nothing.
fn size(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => size(&entry.path()),
            Ok(kind) if kind.is_file() => entry.metadata().map_or(0, |data| data.len()),
            _ => 0,
        })
        .sum()
}
