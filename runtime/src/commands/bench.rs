//! `bench`.

mod line_rate;

use std::process::ExitCode;

use clap::Subcommand;

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    LineRate(line_rate::Arguments),
}

/// Examples below the help.
pub const EXAMPLES: &str = "\
Examples:
  millsight bench line-rate
  millsight bench line-rate --seconds 600 --defect-share 0.01 --json";

/// Runs a subcommand.
///
/// # Errors
/// What stopped it, with its remedy.
pub fn execute(command: &Command, json: bool) -> miette::Result<ExitCode> {
    match command {
        Command::LineRate(arguments) => line_rate::line_rate(arguments, json),
    }
}
