//! The commands of `millsight`.

mod bench;
mod capture;
mod classify;
mod config;
mod demo;
mod devices;
mod doctor;
mod engine;
mod flat_field;
mod inspect;
mod labels;
mod preprocess;
mod progress;
mod record;
mod review;
mod simulate;
mod summary;

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use miette::IntoDiagnostic;
use millsight_export::engine::{EngineChoice, Provider};
use millsight_export::{command_line, output};

const AFTER_HELP: &str = "\
Examples:
  millsight                                inspect simulated steel
  millsight run --station strip            run a ready station or a file
  millsight replay coil.png --out record   judge a strip, keep what is flagged
  millsight classify tiles/*.png           judge single images
  millsight simulate --tiles 99 --out data draw tiles to train on
  millsight doctor                         see what this machine offers

`millsight COMMAND --help` explains each command with examples of its own.

Exit codes: 0 all went well; 1 something failed or was left unjudged, and the \
summary says what; 2 wrong usage.";

const DEVICES_HELP: &str = "\
Examples:
  millsight devices
  millsight devices --json";

const COMPLETIONS_HELP: &str = "\
Examples:
  millsight completions bash \\
    > ~/.local/share/bash-completion/completions/millsight
  millsight completions fish > ~/.config/fish/completions/millsight.fish";

/// Surface inspection of hot steel.
///
/// A line camera sends lines of pixels; Millsight makes tiles of 512 × 512
/// pixels of them, a network judges each tile, and what it found is recorded
/// with its place on the material and its image. Without a camera the lines
/// come from the simulator, from recordings or from images.
///
/// No tile passes unseen: each ends as background, cleared, judged or unjudged
/// with its reason, and the summary of a run counts them all.
#[derive(Debug, Parser)]
#[command(name = "millsight", version, after_help = AFTER_HELP)]
pub struct Cli {
    /// Print results as JSON; the last line of standard output is the result.
    #[arg(long, global = true, display_order = 900)]
    json: bool,

    /// Say more of what is going on, on standard error (repeat for still more).
    #[arg(short, long, global = true, display_order = 900, action = clap::ArgAction::Count)]
    verbose: u8,

    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::DemoArguments),
    Run(inspect::RunArguments),
    Replay(inspect::ReplayArguments),
    Capture(capture::Arguments),
    /// List the cameras that are connected.
    ///
    /// For each: what a station writes to use it, its formats and sizes, and what
    /// can be set. A camera that is in use or that you may not use is listed with
    /// the reason.
    #[command(after_help = DEVICES_HELP)]
    Devices,
    Classify(classify::Arguments),
    Simulate(simulate::Arguments),
    Preprocess(preprocess::Arguments),
    FlatField(flat_field::Arguments),
    /// Check, show or describe station files.
    ///
    /// A station file (TOML) describes one inspection station: camera, optics,
    /// material, source of lines, model, engine and record. `list` and `show`
    /// give ready ones to begin with, `check` finds mistakes, `schema` lets
    /// editors help while one is written.
    #[command(subcommand, after_help = config::EXAMPLES)]
    Config(config::Command),
    /// Find or install the engine that runs the model.
    ///
    /// ONNX Runtime is used where its shared library is found: named with
    /// --library or `engine.library`, by ORT_DYLIB_PATH, beside the program,
    /// installed by `engine install`, in Python's site-packages, in the
    /// system's folders. Otherwise the engine inside the program runs the
    /// model; it is slower and knows the processor only.
    #[command(subcommand, after_help = engine::EXAMPLES)]
    Engine(engine::Command),
    /// Read what was recorded.
    ///
    /// A record is a folder: an SQLite database (record.sqlite) with runs,
    /// pieces, gaps and tiles, and the tiles' images in tiles/RUN/.
    #[command(subcommand, after_help = record::EXAMPLES)]
    Record(record::Command),
    Review(review::Arguments),
    /// Take what reviewers said back to the trainer.
    #[command(subcommand, after_help = labels::EXAMPLES)]
    Labels(labels::Command),
    /// Say who may review a record.
    ///
    /// A viewer looks, an operator reviews tiles, an engineer also changes the
    /// model.
    #[command(subcommand, after_help = review::ACCOUNTS_EXAMPLES)]
    Accounts(review::Command),
    Doctor(doctor::Arguments),
    /// Measure how fast this machine inspects.
    #[command(subcommand, after_help = bench::EXAMPLES)]
    Bench(bench::Command),
    /// Print a completion script for a shell.
    ///
    /// With it the shell completes commands and options of `millsight`.
    #[command(after_help = COMPLETIONS_HELP)]
    Completions {
        /// The shell.
        shell: Shell,
    },
}

/// The model to judge with.
#[derive(Debug, Clone, Args)]
struct ModelArguments {
    /// ONNX model; without it the one shipped inside the program.
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,

    /// Model card (TOML) of an ONNX file that has none inside; without it
    /// `NAME.toml` beside the model is tried.
    #[arg(long, value_name = "FILE", requires = "model")]
    sidecar: Option<PathBuf>,
}

/// The engine to run the model with.
#[derive(Debug, Clone, Args)]
struct EngineArguments {
    /// Engine: ONNX Runtime where it is found, else the embedded one.
    #[arg(long, value_name = "ENGINE")]
    engine: Option<EngineChoice>,

    /// ONNX Runtime's shared library (libonnxruntime.so…).
    #[arg(long, value_name = "FILE")]
    library: Option<PathBuf>,

    /// Execution providers in order of preference; the first must start.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    provider: Vec<Provider>,
}

impl EngineArguments {
    /// Puts what was said on the command line over a request.
    fn apply(&self, request: &mut millsight_export::engine::EngineRequest) {
        if let Some(engine) = self.engine {
            request.choice = engine;
        }
        if let Some(library) = &self.library {
            request.library = Some(library.clone());
        }
        if !self.provider.is_empty() {
            request.providers = self.provider.clone();
        }
    }
}

/// Runs a command line.
///
/// # Errors
/// What stopped the command, with its remedy.
pub fn execute(cli: Cli) -> miette::Result<ExitCode> {
    start_log(cli.verbose);
    let json = cli.json;
    match cli
        .command
        .unwrap_or_else(|| Command::Demo(demo::DemoArguments::default()))
    {
        Command::Demo(arguments) => demo::demo(&arguments, json),
        Command::Run(arguments) => inspect::run(&arguments, json),
        Command::Replay(arguments) => inspect::replay(&arguments, json),
        Command::Capture(arguments) => capture::capture(&arguments, json),
        Command::Devices => devices::devices(json),
        Command::Classify(arguments) => classify::classify(&arguments, json),
        Command::Simulate(arguments) => simulate::simulate(&arguments, json),
        Command::Preprocess(arguments) => preprocess::preprocess(&arguments, json),
        Command::Config(command) => config::execute(&command, json),
        Command::Engine(command) => engine::execute(&command, json),
        Command::FlatField(arguments) => flat_field::flat_field(&arguments, json),
        Command::Record(command) => record::execute(&command, json),
        Command::Review(arguments) => review::review(&arguments, json),
        Command::Labels(command) => labels::execute(&command, json),
        Command::Accounts(command) => review::accounts(&command, json),
        Command::Doctor(arguments) => doctor::doctor(&arguments, json),
        Command::Bench(command) => bench::execute(&command, json),
        Command::Completions { shell } => {
            let script = command_line::completions(shell, Cli::command());
            output::write(|out| out.write_all(script.as_bytes()))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Log lines go to standard error, in colour where that is a terminal, so that
/// a log that goes into a file holds no control codes. `RUST_LOG` overrides
/// the verbosity.
fn start_log(verbose: u8) {
    let level = match verbose {
        0 => "error",
        1 => "millsight_runtime=info,millsight_export=info,warn",
        2 => "millsight_runtime=debug,millsight_export=debug,info",
        _ => "trace",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
        .with_target(false)
        .init();
}

/// A share on the command line, 0 to 1.
fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("a share from 0 to 1 is expected".to_owned()),
    }
}

/// A flag that Ctrl-C or a termination signal sets.
fn stop_on_interrupt() -> miette::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    ctrlc::set_handler(move || {
        // The second signal ends the program at once. Files that are written
        // beside their name stay incomplete there; a record stays readable.
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(1);
        }
    })
    .into_diagnostic()?;
    Ok(stop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    /// The help of every command as a terminal of 80 columns shows it. What a
    /// newcomer reads is looked at before it is accepted.
    #[test]
    fn long_help() {
        let mut help = String::new();
        command_line::collect_help(Cli::command(), &mut help);
        insta::assert_snapshot!("help", help);
    }
}
