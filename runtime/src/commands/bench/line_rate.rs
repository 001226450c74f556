//! `bench line-rate`.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use miette::IntoDiagnostic;
use millsight_export::output;
use serde_json::json;

use super::line::{self, Line};
use super::{CAMERA_RATE, rate, seconds};
use crate::bench::search::highest_held;
use crate::bench::trial::{self, Trial};
use crate::networks;

/// Rows of tiles that are drawn: 128 MiB of lines of 4096 pixels. Fewer tiles would
/// hardly show how many the screen passes on.
const ROWS: usize = 64;

/// Longest time of a run that looks for the highest rate.
const SEARCH: Duration = Duration::from_secs(10);

/// Find the highest line rate at which every tile is looked at in time.
///
/// Lines of simulated steel, drawn beforehand, are given at a rate, every column
/// of tiles covered, and corrected by a flat field. A rate is held when no tile is
/// left unjudged, no verdict is late and the lines came at that rate. Then one run
/// at the camera's rate shows latency, processor, memory and allocations. Nothing
/// is recorded.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Seconds of the run that is shown; those that look for the highest rate take no
    /// longer than 10.
    #[arg(long, default_value_t = 10.0, value_parser = seconds)]
    seconds: f64,

    /// Lines per second of the run that is shown.
    #[arg(long, value_name = "RATE", default_value_t = CAMERA_RATE, value_parser = rate)]
    rate: f64,

    #[command(flatten)]
    line: Line,
}

pub fn line_rate(arguments: &Arguments, as_json: bool) -> miette::Result<ExitCode> {
    let (station, request) = arguments.line.station()?;
    let width = station.camera.pixels_per_line;
    let drawn = arguments.line.draw(width, ROWS)?;
    let flat_field = line::flat_field(width)?;
    let time = Duration::from_secs_f64(arguments.seconds);
    let trial = |rate: f64, time: Duration| -> miette::Result<Trial> {
        let networks = networks::start(&station, &request).into_diagnostic()?;
        let trial = trial::run(&station, networks, &drawn, flat_field.clone(), rate, time);
        let word = if trial.is_held { "held" } else { "not held" };
        eprintln!(
            "{rate:>9.0} lines/s {word}: {} unjudged, {} late, {:.1} ms p99, {:.2} cores",
            trial.tiles.unjudged, trial.tiles.late, trial.latency_ms.p99, trial.cores_used
        );
        Ok(trial)
    };
    let mut failure = None;
    let held = highest_held(arguments.rate, |rate| match trial(rate, time.min(SEARCH)) {
        Ok(trial) => trial.is_held,
        Err(error) => {
            failure.get_or_insert(error);
            false
        }
    });
    if let Some(failure) = failure {
        return Err(failure);
    }
    let at_rate = trial(arguments.rate, time)?;
    if as_json {
        output::line(json!({"held_lines_per_second": held, "at_rate": at_rate}))?;
        return Ok(ExitCode::SUCCESS);
    }
    let Trial {
        lines_per_second,
        tiles,
        latency_ms,
        cores_used,
        rss_mb,
        allocations_per_second,
        ..
    } = at_rate;
    output::write(|out| {
        writeln!(out, "held      {held:>9.0} lines/s")?;
        writeln!(out, "at        {lines_per_second:>9.0} lines/s:")?;
        writeln!(
            out,
            "tiles     {:>9} = {} background + {} cleared + {} judged + {} unjudged",
            tiles.total, tiles.background, tiles.cleared, tiles.judged, tiles.unjudged
        )?;
        writeln!(
            out,
            "latency   {:>9.1} ms median, {:.1} p95, {:.1} p99, {:.1} max",
            latency_ms.p50, latency_ms.p95, latency_ms.p99, latency_ms.max
        )?;
        writeln!(out, "cores     {cores_used:>9.2}")?;
        writeln!(out, "memory    {rss_mb:>9.0} MiB")?;
        writeln!(
            out,
            "allocated {allocations_per_second:>9.0} times a second"
        )
    })?;
    Ok(ExitCode::SUCCESS)
}
