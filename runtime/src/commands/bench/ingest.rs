//! `bench ingest`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use miette::IntoDiagnostic;
use millsight_export::output;
use millsight_firmware_config::Station;
use serde_json::json;

use super::{CAMERA_RATE, line, python, seconds};
use crate::bench::ingest::{Ingest, Passed};
use crate::bench::{median, optics};
use crate::commands::ModelArguments;
use crate::position::Geometry;
use crate::source::prerendered::Prerendered;
use crate::station;

/// Rows of tiles that are drawn.
const ROWS: usize = 16;

/// The same in Python.
const SCRIPT: &str = include_str!("../../../../tests/peers/inspection/ingest.py");

/// Measure what one core does before any network.
///
/// Lines of simulated steel, drawn beforehand, are copied into rows, corrected by
/// a flat field, searched for material and resized to the network's input, on one
/// thread. With a Python interpreter that has NumPy, OpenCV and Pillow
/// (tests/peers/inspection/requirements.txt) the same is measured in Python, in
/// turns.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Seconds of each run.
    #[arg(long, default_value_t = 5.0, value_parser = seconds)]
    seconds: f64,

    /// Runs of each; their median is shown.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,

    /// Interpreter to compare with.
    #[arg(long, value_name = "FILE")]
    python: Option<PathBuf>,

    #[command(flatten)]
    model: ModelArguments,
}

pub fn ingest(arguments: &Arguments, as_json: bool) -> miette::Result<ExitCode> {
    let station = Station::ready("strip")?;
    let model = station::load_model(
        arguments.model.model.as_deref(),
        arguments.model.sidecar.as_deref(),
    )
    .into_diagnostic()?;
    let geometry = Geometry::of(&station);
    let width = geometry.pixels_per_line;
    let reference = optics::reference(width);
    let detection = &station.material_detection;
    let drawn = line::draw(width, ROWS, 0.01, 1)?;
    let mut own =
        Ingest::new(geometry, &reference, detection.clone(), &model.card).into_diagnostic()?;

    let folder = tempfile::tempdir().into_diagnostic()?;
    let (lines, flat) = (folder.path().join("lines"), folder.path().join("flat.json"));
    if arguments.python.is_some() {
        fs::write(&lines, drawn.pixels()).into_diagnostic()?;
        let text = serde_json::to_vec(&reference).into_diagnostic()?;
        fs::write(&flat, text).into_diagnostic()?;
    }
    let in_python = |interpreter: &Path, library: &str| {
        python::lines_per_second(interpreter, SCRIPT, |command| {
            command.arg(&lines).arg(&flat);
            for (name, value) in [
                ("--with", library.to_owned()),
                ("--width", width.to_string()),
                ("--size", model.card.input.width.to_string()),
                ("--level", detection.minimum_level.to_string()),
                ("--share", detection.minimum_share.to_string()),
                ("--seconds", arguments.seconds.to_string()),
            ] {
                command.arg(name).arg(value);
            }
        })
    };

    let time = Duration::from_secs_f64(arguments.seconds);
    let (mut ours, mut opencv, mut pillow) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..arguments.rounds {
        ours.push(run_for(&mut own, &drawn, time)?.lines_per_second());
        if let Some(interpreter) = &arguments.python {
            opencv.push(in_python(interpreter, "opencv")?);
            pillow.push(in_python(interpreter, "pillow")?);
        }
    }
    let (ours, opencv, pillow) = (median(&mut ours), median(&mut opencv), median(&mut pillow));
    let ours = ours.unwrap_or_default();
    if as_json {
        output::line(json!({
            "lines_per_second_per_core": ours,
            "of_the_camera": ours / CAMERA_RATE,
            "opencv_lines_per_second": opencv,
            "pillow_lines_per_second": pillow,
        }))?;
        return Ok(ExitCode::SUCCESS);
    }
    output::write(|out| {
        writeln!(
            out,
            "one core  {ours:>9.0} lines/s, {:.1} times the camera's {CAMERA_RATE:.0}",
            ours / CAMERA_RATE
        )?;
        for (name, theirs) in [("OpenCV", opencv), ("Pillow", pillow)] {
            if let Some(theirs) = theirs {
                let ratio = ours / theirs;
                writeln!(
                    out,
                    "{name:<9} {theirs:>9.0} lines/s: ours {ratio:.1} times as fast"
                )?;
            }
        }
        Ok(())
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Takes the drawn lines again and again for some time.
fn run_for(ingest: &mut Ingest, drawn: &Prerendered, time: Duration) -> miette::Result<Passed> {
    let lines = drawn.lines();
    let mut sum = Passed {
        lines: 0,
        tiles: 0,
        took: Duration::ZERO,
    };
    while sum.took < time {
        let passed = ingest.run(&mut drawn.of_lines(lines)).into_diagnostic()?;
        sum.lines += passed.lines;
        sum.tiles += passed.tiles;
        sum.took += passed.took;
    }
    Ok(sum)
}
