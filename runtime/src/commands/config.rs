//! `millsight config`: station files.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;
use miette::{IntoDiagnostic, Report};
use millsight_firmware_config::{READY_STATIONS, Station, station_schema};
use serde_json::json;

/// Commands of `millsight config`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check a station file: its values and how they fit together.
    Check {
        /// The station file.
        file: PathBuf,
    },
    /// Print the JSON Schema of station files, for editors.
    Schema,
    /// List the ready stations.
    List,
    /// Print a ready station, to begin your own with.
    Show {
        /// Name of the ready station.
        name: String,
    },
}

/// Runs a command of `millsight config`.
pub fn execute(command: &Command, json: bool) -> miette::Result<ExitCode> {
    match command {
        Command::Check { file } => {
            let (station, warnings) = Station::load_with_warnings(file)?;
            if json {
                let warnings: Vec<String> = warnings.iter().map(ToString::to_string).collect();
                println!(
                    "{}",
                    json!({"station": station.name, "valid": true, "warnings": warnings})
                );
                return Ok(ExitCode::SUCCESS);
            }
            for warning in warnings {
                eprintln!("{:?}", Report::new(warning));
            }
            println!(
                "{}: station `{}` is valid; {} columns of tiles, {:.0} tiles/s, one row in {:.1} ms",
                file.display(),
                station.name,
                station.columns(),
                station.tiles_per_second(),
                station.row_duration().as_secs_f64() * 1000.0
            );
        }
        Command::Schema => {
            println!(
                "{}",
                serde_json::to_string_pretty(&station_schema()).into_diagnostic()?
            );
        }
        Command::List => {
            for (name, _) in READY_STATIONS {
                println!("{name:<8} {}", Station::ready(name)?.description);
            }
        }
        Command::Show { name } => {
            Station::ready(name)?;
            let text = READY_STATIONS.iter().find(|(known, _)| known == name);
            print!("{}", text.map_or("", |(_, text)| text));
        }
    }
    Ok(ExitCode::SUCCESS)
}
