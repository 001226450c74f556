//! The summary of a run, for people and for programs.

use std::io::{self, Write};

use millsight_export::output::{self, OutputError};

use crate::ledger::Summary;

/// Prints a summary: as text, or as one line of JSON.
///
/// # Errors
/// When standard output cannot be written.
pub fn print(summary: &Summary, json: bool) -> Result<(), OutputError> {
    output::write(|out| {
        if json {
            serde_json::to_writer(&mut *out, summary)?;
            return writeln!(out);
        }
        describe(summary, out)
    })
}

/// The summary for people.
fn describe(summary: &Summary, out: &mut dyn Write) -> io::Result<()> {
    let Summary {
        lines,
        tiles,
        rate,
        latency_ms,
        engine,
        model,
        ..
    } = summary;
    writeln!(
        out,
        "lines     {:>9} in, {} missing in {} gaps",
        lines.r#in, lines.missing, lines.gaps
    )?;
    if let Some(camera) = &summary.camera {
        writeln!(
            out,
            "camera    {:>9} frames, {} lost, {} damaged; gone {} times, {:.1} s in all",
            camera.frames,
            camera.dropped_frames,
            camera.damaged_frames,
            camera.losses,
            camera.seconds_away
        )?;
    }
    writeln!(
        out,
        "tiles     {:>9} = {} background + {} cleared + {} judged + {} unjudged   ({} padded)",
        tiles.total, tiles.background, tiles.cleared, tiles.judged, tiles.unjudged, tiles.padded
    )?;
    if !summary.unjudged_reasons.is_empty() {
        let reasons = summary
            .unjudged_reasons
            .iter()
            .map(|(reason, count)| format!("{reason} {count}"));
        writeln!(out, "unjudged  {}", reasons.collect::<Vec<_>>().join(", "))?;
    }
    let flagged: u64 = summary.flagged.values().sum();
    let classes = summary
        .flagged
        .iter()
        .map(|(class, count)| format!("{class} {count}"));
    writeln!(
        out,
        "flagged   {flagged:>9}   {}",
        classes.collect::<Vec<_>>().join(", ")
    )?;
    if let Some(truth) = &summary.truth {
        writeln!(
            out,
            "truth     {} of {} tiles with a simulated defect flagged, {} of them as the right class; \
             {} false alarms on {} clean tiles",
            truth.defects_flagged,
            truth.defects,
            truth.defects_named,
            truth.false_alarms,
            truth.clean
        )?;
        if summary.screen.is_some() {
            writeln!(
                out,
                "          {} tiles with a simulated defect cleared by the screen",
                truth.defects_cleared
            )?;
        }
    }
    writeln!(
        out,
        "rate      {:>9.0} lines/s, {:.1} tiles/s over {:.1} s",
        rate.lines_per_second, rate.tiles_per_second, rate.elapsed_s
    )?;
    writeln!(
        out,
        "latency   {:>9.1} ms median, {:.1} p95, {:.1} p99, {:.1} max",
        latency_ms.p50, latency_ms.p95, latency_ms.p99, latency_ms.max
    )?;
    writeln!(out, "engine    {engine}")?;
    writeln!(
        out,
        "model     {} ({}…)",
        model.name,
        &model.sha256.get(..12).unwrap_or_default()
    )?;
    if let Some(screen) = &summary.screen {
        let seen = tiles.cleared + tiles.judged;
        writeln!(
            out,
            "screen    {} ({}…), {:.1} % of the tiles with material passed on",
            screen.name,
            &screen.sha256.get(..12).unwrap_or_default(),
            100.0 * tiles.judged as f64 / seen.max(1) as f64
        )?;
    }
    match &summary.record {
        Some(folder) => writeln!(out, "record    {folder}")?,
        None => writeln!(
            out,
            "record    none (give --out DIR to keep the flagged tiles)"
        )?,
    }
    for notice in &summary.notices {
        writeln!(out, "notice    {notice}")?;
    }
    for problem in &summary.problems {
        writeln!(out, "problem   {problem}")?;
    }
    Ok(())
}
