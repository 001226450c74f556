//! The commands of `millsight`.

mod classify;
mod config;
mod doctor;
mod engine;
mod inspect;
mod preprocess;
mod progress;
mod record;
mod simulate;
mod summary;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use miette::IntoDiagnostic;
use millsight_export::engine::{EngineChoice, Provider};

const AFTER_HELP: &str = "\
Examples:
  millsight                                   inspect simulated steel with the shipped model
  millsight run --station strip               run a ready station (or a station file of your own)
  millsight replay strip.png --out record/    judge a recorded strip and keep what was flagged
  millsight classify tiles/*.png              judge single images
  millsight simulate --tiles 2000 --out data  make training tiles
  millsight doctor                            see what this machine offers

Exit codes: 0 all went well, 1 something failed or was left unjudged (the summary says what), \
2 wrong usage.";

/// Surface inspection of hot steel: camera lines become tiles, tiles become
/// recorded verdicts, and no tile passes unseen.
#[derive(Debug, Parser)]
#[command(name = "millsight", version, after_help = AFTER_HELP)]
pub struct Cli {
    /// Print results as JSON; the last line of standard output is the result.
    #[arg(long, global = true)]
    json: bool,

    /// Say more of what is going on, on standard error (repeat for still more).
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,

    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Inspect simulated steel with the shipped model (the default).
    Demo(inspect::DemoArguments),
    /// Run a station until its source ends or Ctrl-C.
    Run(inspect::RunArguments),
    /// Judge a recorded strip: a recording, a PNG or TIFF, or a folder of tiles.
    Replay(inspect::ReplayArguments),
    /// Judge single images.
    Classify(classify::Arguments),
    /// Draw simulated steel: a strip with its ground truth, or tiles to train on.
    Simulate(simulate::Arguments),
    /// Turn an image into a model's input, exactly as the line does.
    Preprocess(preprocess::Arguments),
    /// Check, show or describe station files.
    #[command(subcommand)]
    Config(config::Command),
    /// Find or install the engine that runs the model.
    #[command(subcommand)]
    Engine(engine::Command),
    /// Read what was recorded.
    #[command(subcommand)]
    Record(record::Command),
    /// Show what this machine offers: engines, devices, model, disk, kernel.
    Doctor(doctor::Arguments),
    /// Print a completion script for a shell.
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
    engine: Option<EngineName>,

    /// ONNX Runtime's shared library (libonnxruntime.so…).
    #[arg(long, value_name = "FILE")]
    library: Option<PathBuf>,

    /// Execution providers in order of preference; the first must start.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    provider: Vec<ProviderName>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum EngineName {
    /// ONNX Runtime where its library is found, else the embedded engine.
    Auto,
    /// ONNX Runtime; an error where it is not found.
    Onnxruntime,
    /// The engine inside the program.
    Embedded,
}

impl From<EngineName> for EngineChoice {
    fn from(name: EngineName) -> Self {
        match name {
            EngineName::Auto => EngineChoice::Auto,
            EngineName::Onnxruntime => EngineChoice::OnnxRuntime,
            EngineName::Embedded => EngineChoice::Embedded,
        }
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ProviderName {
    /// NVIDIA TensorRT.
    Tensorrt,
    /// NVIDIA CUDA.
    Cuda,
    /// The processor.
    Cpu,
}

impl From<ProviderName> for Provider {
    fn from(name: ProviderName) -> Self {
        match name {
            ProviderName::Tensorrt => Provider::Tensorrt,
            ProviderName::Cuda => Provider::Cuda,
            ProviderName::Cpu => Provider::Cpu,
        }
    }
}

impl EngineArguments {
    /// Puts what was said on the command line over a request.
    fn apply(&self, request: &mut millsight_export::engine::EngineRequest) {
        if let Some(engine) = self.engine {
            request.choice = engine.into();
        }
        if let Some(library) = &self.library {
            request.library = Some(library.clone());
        }
        if !self.provider.is_empty() {
            request.providers = self.provider.iter().map(|&name| name.into()).collect();
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
        .unwrap_or_else(|| Command::Demo(inspect::DemoArguments::default()))
    {
        Command::Demo(arguments) => inspect::demo(&arguments, json),
        Command::Run(arguments) => inspect::run(&arguments, json),
        Command::Replay(arguments) => inspect::replay(&arguments, json),
        Command::Classify(arguments) => classify::classify(&arguments, json),
        Command::Simulate(arguments) => simulate::simulate(&arguments, json),
        Command::Preprocess(arguments) => preprocess::preprocess(&arguments, json),
        Command::Config(command) => config::execute(&command, json),
        Command::Engine(command) => engine::execute(&command, json),
        Command::Record(command) => record::execute(&command),
        Command::Doctor(arguments) => doctor::doctor(&arguments, json),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "millsight", &mut io::stdout());
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Log lines go to standard error; `RUST_LOG` overrides the verbosity.
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
        .with_target(false)
        .init();
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
