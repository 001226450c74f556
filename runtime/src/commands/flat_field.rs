//! `millsight flat-field`: the correction of a camera, from two recordings.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use miette::{IntoDiagnostic, WrapErr, miette};
use millsight_export::{durable, output};
use millsight_firmware_config::{Camera, Station};
use serde_json::json;

use super::inspect::load_station;
use crate::flat_field::{FlatField, Reference};
use crate::source::Event;
use crate::station;

/// Make a flat field of a dark and a white strip.
///
/// A line camera's pixels differ in offset (dark signal non-uniformity, DSNU)
/// and in gain (photo response non-uniformity, PRNU), and light falls off
/// towards the edges. Record some hundred lines with the lens covered and some
/// hundred of an evenly lit white target that moves, so that its own structure
/// averages out. The means of each pixel become a file (JSON) that corrects
/// every line after EMVA 1288:
///
/// out = (in − dark) · target / (white − dark)
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  millsight flat-field --dark dark.png --white white.png --out flat-field.json

In the station file:
  [flat_field]
  file = \"flat-field.json\"")]
pub struct Arguments {
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

/// Level above which a white strip comes near over-exposure: 80 % of the range.
const WELL_EXPOSED: f32 = 204.0;

/// Averages the two strips and writes the flat field.
pub fn flat_field(arguments: &Arguments, json: bool) -> miette::Result<ExitCode> {
    let station = match &arguments.station {
        Some(path) => load_station(path)?.0,
        None => Station::ready("replay")?,
    };
    let dark = mean_line(&arguments.dark, &station.camera)?;
    let white = mean_line(&arguments.white, &station.camera)?;
    let target = arguments.target.unwrap_or_else(|| mean(&white));
    let pixels = white.len();
    let reference = Reference {
        dark,
        white,
        target,
    };
    FlatField::new(&reference, pixels).map_err(|reason| {
        miette!(
            "{} and {} make no flat field: {reason}",
            arguments.dark.display(),
            arguments.white.display()
        )
    })?;
    let brightest = reference.white.iter().copied().fold(0.0, f32::max);
    if brightest > WELL_EXPOSED {
        eprintln!(
            "warning: the brightest pixel of {} has the level {brightest:.0}, above {WELL_EXPOSED} \
             (80 % of the range): what is over-exposed cannot be corrected; record it with less \
             light or a shorter exposure",
            arguments.white.display()
        );
    }
    let text = serde_json::to_vec(&reference).into_diagnostic()?;
    durable::replace_file(&arguments.out, &text)
        .into_diagnostic()
        .wrap_err_with(|| format!("cannot write {}", arguments.out.display()))?;
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
            "out": arguments.out,
            "pixels": pixels,
            "target": target,
            "brightest": brightest,
            "dsnu": dsnu,
            "prnu": prnu,
        }))?;
    } else {
        output::line(format_args!(
            "{}: {pixels} pixels, white brought to {target:.1}; \
             DSNU {dsnu:.2} levels, PRNU {:.2} %",
            arguments.out.display(),
            prnu * 100.0
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The mean level of each pixel over all lines of a strip.
fn mean_line(path: &Path, camera: &Camera) -> miette::Result<Vec<f32>> {
    let mut source = station::open_replay(path, camera).into_diagnostic()?;
    let width = source.pixels_per_line();
    let mut sums = vec![0u64; width];
    let mut lines = 0u64;
    loop {
        match source.next_event().into_diagnostic()? {
            Event::Lines(block) => {
                for line in block.pixels.chunks_exact(width) {
                    for (sum, &level) in sums.iter_mut().zip(line) {
                        *sum += u64::from(level);
                    }
                    lines += 1;
                }
            }
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
    if lines == 0 {
        return Err(miette!("{} holds no lines", path.display()));
    }
    let mean = |sum: u64| (sum as f64 / lines as f64) as f32;
    Ok(sums.into_iter().map(mean).collect())
}

fn mean(values: &[f32]) -> f32 {
    values.iter().sum::<f32>() / values.len() as f32
}

fn deviation(values: &[f32]) -> f32 {
    let mean = mean(values);
    let squares: f32 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (squares / values.len() as f32).sqrt()
}
