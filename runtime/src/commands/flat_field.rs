//! `millsight flat-field`: the correction of a camera, from two recordings or from the
//! camera itself.

mod record;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use miette::{IntoDiagnostic, WrapErr, miette};
use millsight_export::{durable, output};
use millsight_firmware_config::{Camera, Station};
use serde_json::json;

use super::inspect::load_station;
use crate::flat_field::{FlatField, MeanLine, Reference};
use crate::source::Event;
use crate::station;

/// Make the flat field of a camera, from two strips or from the camera itself.
///
/// A line camera's pixels differ in offset (dark signal non-uniformity, DSNU)
/// and in gain (photo response non-uniformity, PRNU), and light falls off
/// towards the edges. `flat-field record` takes some thousand lines with the
/// lens covered and some thousand of an evenly lit white target that moves, so
/// that its own structure averages out; without it the lines come from two
/// strips. The means of each pixel become a file (JSON) that corrects every
/// line after EMVA 1288:
///
/// out = (in − dark) · target / (white − dark)
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "\
Examples:
  millsight flat-field record --station line3.toml --out line3.flat.json
  millsight flat-field --dark dark.png --white white.png --out flat-field.json

In the station file:
  [flat_field]
  file = \"line3.flat.json\""
)]
pub struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    strips: Option<Strips>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Record(record::Arguments),
}

#[derive(Debug, Args)]
struct Strips {
    /// Strip taken with the lens covered: a recording, a PNG or TIFF.
    #[arg(long, value_name = "STRIP")]
    dark: PathBuf,

    /// Strip of an evenly lit white target, its brightest pixel below 80 % of the range.
    #[arg(long, value_name = "STRIP")]
    white: PathBuf,

    /// File to write.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,

    /// Station whose camera took the strips: its pixel format tells how deep
    /// images are reduced to 8 bits, as a run of the station does it.
    #[arg(long, value_name = "FILE")]
    station: Option<PathBuf>,

    /// Grey level, 1 to 255, to which white is brought [default: the mean of
    /// the white strip].
    #[arg(long, value_name = "LEVEL")]
    target: Option<f32>,
}

/// Level above which white comes near over-exposure: 80 % of the range.
const WELL_EXPOSED: f32 = 204.0;

/// Makes a flat field.
pub fn flat_field(arguments: &Arguments, json: bool) -> miette::Result<ExitCode> {
    match (&arguments.command, &arguments.strips) {
        (Some(Command::Record(arguments)), _) => record::record(arguments, json),
        (None, Some(strips)) => of_strips(strips, json),
        (None, None) => Err(miette!(
            "neither strips nor a camera are named; see `millsight flat-field --help`"
        )),
    }
}

/// Averages two strips and writes the flat field.
fn of_strips(arguments: &Strips, json: bool) -> miette::Result<ExitCode> {
    let station = match &arguments.station {
        Some(path) => load_station(path)?.0,
        None => Station::ready("replay")?,
    };
    let dark = mean_of_strip(&arguments.dark, &station.camera)?;
    let white = mean_of_strip(&arguments.white, &station.camera)?;
    let reference = Reference {
        target: arguments.target.unwrap_or_else(|| mean(&white)),
        dark,
        white,
        taken: None,
    };
    let brightest = brightest(&reference.white);
    if brightest > WELL_EXPOSED {
        eprintln!(
            "warning: the brightest pixel of {} has the level {brightest:.0}, above {WELL_EXPOSED} \
             (80 % of the range): what is over-exposed cannot be corrected; record it with less \
             light or a shorter exposure",
            arguments.white.display()
        );
    }
    let origin = format!(
        "{} and {}",
        arguments.dark.display(),
        arguments.white.display()
    );
    finish(&reference, &origin, &arguments.out, json)
}

/// Writes a flat field that can be used, and says what it is like.
fn finish(reference: &Reference, origin: &str, out: &Path, json: bool) -> miette::Result<ExitCode> {
    let pixels = reference.white.len();
    FlatField::new(reference, pixels)
        .map_err(|reason| miette!("{origin} make no flat field: {reason}"))?;
    let text = serde_json::to_vec(reference).into_diagnostic()?;
    durable::replace_file(out, &text)
        .into_diagnostic()
        .wrap_err_with(|| format!("cannot write {}", out.display()))?;
    let signal: Vec<f32> = reference
        .white
        .iter()
        .zip(&reference.dark)
        .map(|(white, dark)| white - dark)
        .collect();
    let dsnu = deviation(&reference.dark);
    let prnu = deviation(&signal) / mean(&signal);
    if json {
        output::line(json!({
            "out": out,
            "pixels": pixels,
            "target": reference.target,
            "brightest": brightest(&reference.white),
            "dsnu": dsnu,
            "prnu": prnu,
        }))?;
    } else {
        output::line(format_args!(
            "{}: {pixels} pixels, white brought to {:.1}; \
             DSNU {dsnu:.2} levels, PRNU {:.2} %",
            out.display(),
            reference.target,
            prnu * 100.0
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The mean level of each pixel over all lines of a strip.
fn mean_of_strip(path: &Path, camera: &Camera) -> miette::Result<Vec<f32>> {
    let mut source = station::open_replay(path, camera).into_diagnostic()?;
    let mut lines = MeanLine::new(source.pixels_per_line());
    loop {
        match source.next_event().into_diagnostic()? {
            Event::Lines(block) => lines.add(block.pixels),
            Event::Gap(_) | Event::Nothing => {}
            Event::Unreadable(gap) | Event::Lost(gap) => {
                return Err(miette!(
                    "{} cannot be averaged: {}",
                    path.display(),
                    gap.reason
                ));
            }
            Event::End => break,
        }
    }
    lines
        .mean()
        .ok_or_else(|| miette!("{} holds no lines", path.display()))
}

fn brightest(levels: &[f32]) -> f32 {
    levels.iter().copied().fold(0.0, f32::max)
}

fn mean(values: &[f32]) -> f32 {
    values.iter().sum::<f32>() / values.len() as f32
}

fn deviation(values: &[f32]) -> f32 {
    let mean = mean(values);
    let squares: f32 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (squares / values.len() as f32).sqrt()
}
