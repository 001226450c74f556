//! `bench`.

mod burst;
mod engine;
#[cfg(unix)]
mod feed;
mod ingest;
mod line;
mod line_rate;
mod page;
mod peer;
mod python;

use std::process::ExitCode;

use clap::Subcommand;

/// The line rate of the camera that the program is made for.
const CAMERA_RATE: f64 = 67_000.0;

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    Burst(burst::Arguments),
    Engine(engine::Arguments),
    #[cfg(unix)]
    Feed(feed::Arguments),
    Ingest(ingest::Arguments),
    LineRate(line_rate::Arguments),
    Page(page::Arguments),
    Peer(peer::Arguments),
}

/// Examples below the help.
pub const EXAMPLES: &str = "\
Examples:
  millsight bench engine
  millsight bench feed
  millsight bench ingest
  millsight bench ingest --python venv/bin/python
  millsight bench line-rate
  millsight bench page
  millsight bench peer --python venv/bin/python --screen screen.onnx
  millsight bench line-rate --seconds 600 --defect-share 0.01 --json
  millsight bench burst --screen screen.onnx";

/// Runs a subcommand.
///
/// # Errors
/// What stopped it, with its remedy.
pub fn execute(command: &Command, json: bool) -> miette::Result<ExitCode> {
    match command {
        Command::Burst(arguments) => burst::burst(arguments, json),
        Command::Engine(arguments) => engine::engine(arguments, json),
        #[cfg(unix)]
        Command::Feed(arguments) => feed::feed(arguments, json),
        Command::Ingest(arguments) => ingest::ingest(arguments, json),
        Command::Page(arguments) => page::page(arguments, json),
        Command::Peer(arguments) => peer::peer(arguments, json),
        Command::LineRate(arguments) => line_rate::line_rate(arguments, json),
    }
}

/// The seconds of a run.
fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (2.0..=86_400.0).contains(&seconds) => Ok(seconds),
        _ => Err("a number from 2 to 86400 is expected".to_owned()),
    }
}

/// Lines per second.
fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (10.0..=10_000_000.0).contains(&rate) => Ok(rate),
        _ => Err("a number from 10 to 10000000 is expected".to_owned()),
    }
}
