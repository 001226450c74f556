//! `millsight config`: station files.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;
use miette::{Diagnostic, IntoDiagnostic, Report};
use millsight_export::output;
use millsight_firmware_config::{READY_STATIONS, Station, StationError, station_schema};
use serde_json::{Value, json};

/// Examples of `millsight config`.
pub const EXAMPLES: &str = "\
Examples:
  millsight config show demo > line3.toml    begin with a ready station
  millsight config check line3.toml          what is wrong with it?
  millsight run --station line3.toml         and then";

const CHECK_EXAMPLES: &str = "\
Examples:
  millsight config check line3.toml
  millsight config check line3.toml --json

With --json: {\"valid\": …, \"problems\": [{\"key\", \"line\", \"message\", \"remedy\"}], \
\"warnings\": [likewise]}.

Whether files exist and whether thresholds name classes of the model is \
checked when the station runs; `millsight doctor --station FILE` tries it \
beforehand. Exit codes: 0 usable, 1 not usable.";

const SCHEMA_EXAMPLES: &str = "\
Examples:
  millsight config schema > station.schema.json

In an editor that knows TOML schemas (Even Better TOML, taplo) the first line \
of a station file then names it:
  #:schema ./station.schema.json";

const LIST_EXAMPLES: &str = "\
Examples:
  millsight config list
  millsight config list --json    an array of {name, description}";

const SHOW_EXAMPLES: &str = "\
Examples:
  millsight config show demo > line3.toml
  millsight config show replay";

/// Commands of `millsight config`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check a station file: its values and how they fit together.
    ///
    /// Every mistake is shown at once, with the line that it is in and what to
    /// do about it: unknown keys, wrong types, values out of range, and values
    /// that contradict each other, such as an exposure that is longer than the
    /// time from line to line. What is allowed but probably not meant is a
    /// warning.
    #[command(after_help = CHECK_EXAMPLES)]
    Check {
        /// The station file.
        file: PathBuf,
    },
    /// Print the JSON Schema of station files, for editors.
    ///
    /// With it an editor completes keys, shows what each means and marks
    /// mistakes while a station is written.
    #[command(after_help = SCHEMA_EXAMPLES)]
    Schema,
    /// List the ready stations.
    ///
    /// Each can be run by its name (`millsight run --station NAME`) and shown
    /// (`millsight config show NAME`).
    #[command(after_help = LIST_EXAMPLES)]
    List,
    /// Print a ready station, to begin your own with.
    ///
    /// It is TOML with a comment on every line that needs one; with --json it
    /// is one JSON object with every default written out.
    #[command(after_help = SHOW_EXAMPLES)]
    Show {
        /// Name of the ready station; `millsight config list` has them.
        name: String,
    },
}

/// Runs a command of `millsight config`.
pub fn execute(command: &Command, json: bool) -> miette::Result<ExitCode> {
    match command {
        Command::Check { file } => return check(file, json),
        Command::Schema => {
            let schema = station_schema();
            output::line(if json {
                schema.to_string()
            } else {
                serde_json::to_string_pretty(&schema).into_diagnostic()?
            })?;
        }
        Command::List => {
            let stations = READY_STATIONS
                .iter()
                .map(|(name, _)| Ok((*name, Station::ready(name)?.description)))
                .collect::<Result<Vec<_>, StationError>>()?;
            if json {
                let stations: Vec<Value> = stations
                    .iter()
                    .map(|(name, description)| json!({"name": name, "description": description}))
                    .collect();
                output::line(Value::from(stations))?;
            } else {
                output::write(|out| {
                    for (name, description) in &stations {
                        writeln!(out, "{name:<8} {description}")?;
                    }
                    Ok(())
                })?;
            }
        }
        Command::Show { name } => {
            let station = Station::ready(name)?;
            if json {
                output::line(serde_json::to_string(&station).into_diagnostic()?)?;
            } else {
                let text = READY_STATIONS.iter().find(|(known, _)| known == name);
                let text = text.map_or("", |(_, text)| text);
                output::write(|out| out.write_all(text.as_bytes()))?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn check(file: &Path, json: bool) -> miette::Result<ExitCode> {
    let (station, warnings) = match Station::load_with_warnings(file) {
        Ok(loaded) => loaded,
        Err(error) => {
            if json {
                output::line(json!({"valid": false, "problems": problems(&error)}))?;
            }
            return Err(error.into());
        }
    };
    if json {
        let warnings: Vec<Value> = warnings.iter().map(described).collect();
        output::line(json!({
            "valid": true,
            "station": station.name,
            "problems": [],
            "warnings": warnings,
        }))?;
        return Ok(ExitCode::SUCCESS);
    }
    for warning in warnings {
        eprintln!("{:?}", Report::new(warning));
    }
    output::line(format_args!(
        "{}: station `{}` is valid; {} columns of tiles over {:.0} mm, \
         at the highest speed {:.0} tiles/s, a row in {:.1} ms",
        file.display(),
        station.name,
        station.columns(),
        station.field_of_view_mm(),
        station.tiles_per_second(),
        station.row_duration().as_secs_f64() * 1000.0
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// Everything that is wrong with a station file, for programs. A file that
/// could not be read at all has one problem, of no key and no line.
fn problems(error: &StationError) -> Vec<Value> {
    if error.problems().is_empty() {
        let reason = error.source().map(|source| format!(": {source}"));
        let remedy = error.help().map(|help| help.to_string());
        return vec![json!({
            "key": "",
            "line": null,
            "message": format!("{error}{}", reason.unwrap_or_default()),
            "remedy": remedy.unwrap_or_default(),
        })];
    }
    error.problems().iter().map(described).collect()
}

fn described(problem: &millsight_firmware_config::Problem) -> Value {
    json!({
        "key": problem.key,
        "line": problem.line(),
        "message": problem.message,
        "remedy": problem.remedy,
    })
}
