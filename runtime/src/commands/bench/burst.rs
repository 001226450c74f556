//! `bench burst`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use miette::IntoDiagnostic;
use millsight_export::output;
use serde_json::json;

use super::line::{self, Line};
use super::{CAMERA_RATE, rate, seconds};
use crate::bench::burst::{self, Burst, Phases};
use crate::networks;

/// Rows of tiles that are drawn, of either kind.
const ROWS: usize = 16;

/// Let every tile carry a defect for a while, and see how long that is made up for.
///
/// What cannot be judged in time is recorded with its image and judged from there,
/// while lines go on. Lines are drawn beforehand, every column of tiles covered. The
/// run ends when all has been judged.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Seconds in which every tile carries a defect.
    #[arg(long, default_value_t = 2.0, value_parser = seconds)]
    burst: f64,

    /// Seconds before the burst.
    #[arg(long, default_value_t = 5.0, value_parser = seconds)]
    before: f64,

    /// Seconds after the burst.
    #[arg(long, default_value_t = 30.0, value_parser = seconds)]
    after: f64,

    /// Lines per second.
    #[arg(long, value_name = "RATE", default_value_t = CAMERA_RATE, value_parser = rate)]
    rate: f64,

    /// Folder for the record; without it a temporary one.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    #[command(flatten)]
    line: Line,
}

pub fn burst(arguments: &Arguments, as_json: bool) -> miette::Result<ExitCode> {
    let (station, request) = arguments.line.station()?;
    let width = station.camera.pixels_per_line;
    let drawn = arguments.line.draw(width, ROWS)?;
    let defects = arguments.line.draw_with(width, ROWS, 1.0)?;
    let networks = networks::start(&station, &request).into_diagnostic()?;
    let temporary = tempfile::tempdir().into_diagnostic()?;
    let folder = arguments.out.as_deref().unwrap_or(temporary.path());
    let phases = Phases {
        before: Duration::from_secs_f64(arguments.before),
        burst: Duration::from_secs_f64(arguments.burst),
        after: Duration::from_secs_f64(arguments.after),
    };
    let burst = burst::run(
        &station,
        networks,
        [&drawn, &defects],
        line::flat_field(width)?,
        arguments.rate,
        phases,
        folder,
    )
    .into_diagnostic()?;
    if as_json {
        output::line(json!(burst))?;
        return Ok(ExitCode::SUCCESS);
    }
    let Burst {
        tiles,
        most_unjudged,
        recovered_s,
        recorded,
    } = burst;
    output::write(|out| {
        writeln!(
            out,
            "tiles     {:>9} = {} background + {} cleared + {} judged + {} unjudged",
            tiles.total, tiles.background, tiles.cleared, tiles.judged, tiles.unjudged
        )?;
        writeln!(out, "late      {:>9}", tiles.late)?;
        writeln!(out, "unjudged  {most_unjudged:>9} at most at a time")?;
        match recovered_s {
            Some(seconds) => writeln!(out, "recovered {seconds:>9.1} s after the burst")?,
            None => writeln!(out, "recovered     never")?,
        }
        writeln!(
            out,
            "recorded  {:>9} tiles, {} lost, {} images, {} lost",
            recorded.tiles, recorded.tiles_lost, recorded.images, recorded.images_lost
        )
    })?;
    Ok(ExitCode::SUCCESS)
}
