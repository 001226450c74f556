//! `bench peer`.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use miette::IntoDiagnostic;
use millsight_export::output;
use serde_json::json;

use super::line::{self, Line};
use super::{python, seconds};
use crate::bench::{median, optics, trial};
use crate::{networks, station};

/// Rows of tiles that are drawn.
const ROWS: usize = 16;

/// The line in Python.
const SCRIPT: &str = include_str!("../../../../tests/peers/inspection/pipeline.py");

/// Compare with the line as a user would write it in Python.
///
/// The same lines of simulated steel are corrected by a flat field and go through the
/// same networks on the same number of threads as fast as they can, here and in Python
/// with NumPy, OpenCV and ONNX Runtime (tests/peers/inspection), in turns. Nothing is
/// recorded.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Interpreter with tests/peers/inspection/requirements.txt.
    #[arg(long, value_name = "FILE")]
    python: PathBuf,

    /// Seconds of each run.
    #[arg(long, default_value_t = 10.0, value_parser = seconds)]
    seconds: f64,

    /// Runs of each; their median is shown.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,

    #[command(flatten)]
    line: Line,
}

pub fn peer(arguments: &Arguments, as_json: bool) -> miette::Result<ExitCode> {
    let (station, request) = arguments.line.station()?;
    let width = station.camera.pixels_per_line;
    let drawn = arguments.line.draw(width, ROWS)?;
    let folder = tempfile::tempdir().into_diagnostic()?;
    let lines = folder.path().join("lines");
    fs::write(&lines, drawn.pixels()).into_diagnostic()?;
    let flat = folder.path().join("flat.json");
    let text = serde_json::to_vec(&optics::reference(width)).into_diagnostic()?;
    fs::write(&flat, text).into_diagnostic()?;
    let flat_field = line::flat_field(width)?;
    let classifier = folder.path().join("classifier.onnx");
    let started = networks::start(&station, &request).into_diagnostic()?;
    fs::write(&classifier, &started.model.onnx).into_diagnostic()?;
    let screen = match &station.screen {
        Some(screen) => {
            let file = folder.path().join("screen.onnx");
            let model = station::load_screen(screen).into_diagnostic()?;
            fs::write(&file, &model.onnx).into_diagnostic()?;
            Some(file)
        }
        None => None,
    };
    let threads = started.classifiers.len();
    let in_python = || {
        python::lines_per_second(&arguments.python, SCRIPT, |command| {
            command
                .arg(&lines)
                .arg(&flat)
                .arg("--classifier")
                .arg(&classifier);
            if let Some(screen) = &screen {
                command.arg("--screen").arg(screen);
            }
            let detection = &station.material_detection;
            for (name, value) in [
                ("--width", width.to_string()),
                ("--level", detection.minimum_level.to_string()),
                ("--share", detection.minimum_share.to_string()),
                ("--batch", station.engine.batch.to_string()),
                ("--threads", threads.to_string()),
                ("--seconds", arguments.seconds.to_string()),
            ] {
                command.arg(name).arg(value);
            }
        })
    };
    let time = Duration::from_secs_f64(arguments.seconds);
    let (mut ours, mut theirs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..arguments.rounds {
        let networks = networks::start(&station, &request).into_diagnostic()?;
        let own = trial::fastest(&station, networks, &drawn, Some(flat_field.clone()), time);
        let other = in_python()?;
        ours.push(own);
        theirs.push(other);
        ratios.push(own / other);
    }
    let [ours, theirs, ratio] =
        [&mut ours, &mut theirs, &mut ratios].map(|values| median(values).unwrap_or_default());
    if as_json {
        output::line(json!({
            "lines_per_second": ours,
            "python_lines_per_second": theirs,
            "ratio": ratio,
        }))?;
        return Ok(ExitCode::SUCCESS);
    }
    output::write(|out| {
        writeln!(out, "ours      {ours:>9.0} lines/s on {threads} threads")?;
        writeln!(out, "Python    {theirs:>9.0} lines/s")?;
        writeln!(out, "ratio     {ratio:>9.2}")
    })?;
    Ok(ExitCode::SUCCESS)
}
