//! `millsight doctor`: what this machine offers, and whether a station runs
//! on it.

mod engines;
mod machine;
mod station;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use miette::IntoDiagnostic;
use millsight_export::engine::EngineRequest;
use millsight_export::output;
use serde::Serialize;

use super::ModelArguments;
use super::inspect::load_station;
use crate::source::connected::connected;
use crate::station::{engine_request, load_model};

/// Show what this machine offers: engines, devices, model, disk, kernel.
///
/// Every engine and execution provider is tried with the model, for real.
/// With --station everything that the station names is tried as a run would
/// use it: its engine, thresholds, flat field, source and record folder. Nothing
/// is recorded, and no setting is changed.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  millsight doctor
  millsight doctor --station line3.toml
  millsight doctor --json    an array of {topic, status, text}

Each finding is `ok`, a `note` (it works, but could be better) or a `problem`. \
Exit codes: 0 no problem, 1 a problem, 2 wrong usage.")]
pub struct Arguments {
    /// Look at this machine with the eyes of a station: a station file, or the
    /// name of a ready one.
    #[arg(long, value_name = "FILE")]
    station: Option<PathBuf>,

    #[command(flatten)]
    model: ModelArguments,
}

/// How something was found to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    Ok,
    /// It works, but could be better.
    Note,
    Problem,
}

impl Status {
    fn name(self) -> &'static str {
        match self {
            Status::Ok => "ok",
            Status::Note => "note",
            Status::Problem => "problem",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    topic: &'static str,
    status: Status,
    text: String,
}

/// All that was looked at, in order.
#[derive(Debug, Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn ok(&mut self, topic: &'static str, text: impl Into<String>) {
        self.add(topic, Status::Ok, text.into());
    }

    fn note(&mut self, topic: &'static str, text: impl Into<String>) {
        self.add(topic, Status::Note, text.into());
    }

    fn problem(&mut self, topic: &'static str, text: impl Into<String>) {
        self.add(topic, Status::Problem, text.into());
    }

    fn add(&mut self, topic: &'static str, status: Status, text: String) {
        // A finding is one line; engines answer in several.
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        self.0.push(Finding {
            topic,
            status,
            text,
        });
    }
}

/// Looks around and says what it found; fails when something needed is
/// missing.
pub fn doctor(arguments: &Arguments, json: bool) -> miette::Result<ExitCode> {
    let mut findings = Findings::default();
    let station = match arguments.station.as_deref().map(load_station) {
        Some(Ok((station, warnings))) => {
            findings.ok("station", format!("`{}` is valid", station.name));
            for warning in warnings {
                findings.note("station", warning);
            }
            Some(station)
        }
        Some(Err(report)) => {
            // The report shows the lines of the file.
            eprintln!("{report:?}");
            findings.problem("station", report.to_string());
            None
        }
        None => None,
    };
    let root = Path::new("/");
    machine::processor(&mut findings);
    machine::graphics(root, &mut findings);
    machine::cameras(&connected(), &mut findings);
    let named = station.as_ref().map(|station| &station.model);
    let file = arguments.model.model.as_ref();
    let (file, sidecar) = match (file, named) {
        (None, Some(named)) => (named.file.as_deref(), named.sidecar.as_deref()),
        _ => (
            file.map(PathBuf::as_path),
            arguments.model.sidecar.as_deref(),
        ),
    };
    let request = station
        .as_ref()
        .map_or_else(EngineRequest::default, |station| {
            engine_request(&station.engine)
        });
    let model = load_model(file, sidecar);
    match &model {
        Ok(model) => engines::look(model, &request, station.as_ref(), &mut findings),
        Err(error) => findings.problem("model", error.to_string()),
    }
    engines::libraries(&request, &mut findings);
    match &station {
        Some(station) => station::look(station, model.ok().as_ref(), &mut findings),
        None => {
            station::disk(Path::new("."), &mut findings);
        }
    }
    machine::kernel(root, &mut findings);
    let Findings(findings) = findings;
    if json {
        output::line(serde_json::to_string(&findings).into_diagnostic()?)?;
    } else {
        output::write(|out| {
            for Finding {
                topic,
                status,
                text,
            } in &findings
            {
                writeln!(out, "{:<8} {topic:<10} {text}", status.name())?;
            }
            Ok(())
        })?;
    }
    let failed = findings
        .iter()
        .any(|finding| finding.status == Status::Problem);
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}
