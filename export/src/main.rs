//! `millsight-export`: looks into model files and proves what they compute.

mod commands;

use std::fmt::{self, Display, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use commands::distance::DistanceArguments;
use commands::quantize::QuantizeArguments;
use commands::thresholds::ThresholdsArguments;
use miette::IntoDiagnostic;
use millsight_export::card::{ModelCard, OutputKind, Parity};
use millsight_export::command_line;
use millsight_export::engine::{Engine, EngineChoice, EngineRequest, Provider};
use millsight_export::model_file::{ModelFile, ModelFileError, Signature};
use millsight_export::output;
use millsight_export::verify::{self, Reference};
use serde_json::json;

const AFTER_HELP: &str = "\
Examples:
  millsight-export inspect models/vit.onnx
  millsight-export verify models/vit.onnx --reference reference.safetensors
  millsight-export card timm.onnx --sidecar timm.toml --out model.onnx \\
    --reference timm.safetensors

Exit codes: 0 all went well, 1 something failed, 2 wrong usage.";

/// Look into model files and prove what they compute.
///
/// A model file is an ONNX file with a card: which classes it knows, what its
/// input is and how a tile becomes that input. The card lies inside the file
/// (metadata key `millsight.card`) or, for a model from elsewhere, in a TOML
/// file beside it (NAME.toml or model.toml).
#[derive(Debug, Parser)]
#[command(name = "millsight-export", version, after_help = AFTER_HELP)]
struct Cli {
    /// Print the result as one line of JSON.
    #[arg(long, global = true)]
    json: bool,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show a model's card and what its graph is made of.
    ///
    /// A model without a card is shown too, so that one can be written for it.
    #[command(after_help = "\
Examples:
  millsight-export inspect model.onnx
  millsight-export inspect timm.onnx --sidecar timm.toml --json")]
    Inspect(ModelArguments),
    /// Run a model on an engine and compare its scores with a reference.
    ///
    /// The reference is a safetensors file with two arrays: `input` [samples,
    /// channels, height, width], prepared as the card says (`millsight
    /// preprocess` writes such arrays), and `logits` [samples, classes], what
    /// the network gave where it was trained.
    #[command(after_help = "\
Examples:
  millsight-export verify model.onnx --reference reference.safetensors
  millsight-export verify model.onnx --reference reference.safetensors \\
    --engine embedded --tolerance 1e-4")]
    Verify(VerifyArguments),
    /// Write a card into a model that has none, or another one
    ///
    /// The card is a TOML file. It needs no more than the names of the
    /// network's scores, in their order:
    ///
    ///   classes = ["no_defect", "cracks", "overfill"]
    ///
    /// What else it leaves out is taken from the graph; see the documentation
    /// of the card for preprocessing, thresholds and provenance.
    ///
    /// With --reference the model is first run and compared as by `verify`; the
    /// result goes into the card, and a model that differs is not written.
    /// Without it the card says nothing of parity.
    #[command(
        verbatim_doc_comment,
        after_help = "\
Examples:
  millsight-export card timm.onnx --sidecar timm.toml --out model.onnx
  millsight-export card model.onnx --sidecar new.toml --out model.onnx"
    )]
    Card(CardArguments),
    /// Put a model into 8 bits.
    ///
    /// Convolutions and linear layers are computed in whole numbers, with ranges
    /// from the train part of labelled tiles; norms, softmax and GELU stay as they
    /// are. Both models are then run on the val part, and what that costs goes into the card. A model that loses more
    /// than is tolerated is not written. Thresholds that were chosen for a miss
    /// rate are chosen anew, by what the new model says of the val part.
    #[command(after_help = "\
Examples:
  millsight-export quantize screen.onnx --tiles steel/split.csv \\
    --out screen-int8.onnx
  millsight-export quantize vit.onnx --tiles steel/split.csv \\
    --form dynamic --out vit-int8.onnx")]
    Quantize(Box<QuantizeArguments>),
    /// Choose the thresholds of a model file for another miss rate.
    ///
    /// The model is run on the val part of labelled tiles. Each defect class is
    /// flagged from the largest probability on that leaves out so few of its
    /// tiles that the exact 95 % bound of the share that is missed keeps the
    /// rate. Thresholds, temperature and what they come to go into the card; the
    /// graph stays as it is.
    #[command(after_help = "\
Examples:
  millsight-export thresholds screen.onnx --tiles steel/split.csv \\
    --miss-rate 0.01 --out screen.onnx")]
    Thresholds(ThresholdsArguments),
    /// Let a model tell how far a tile is from those that it was trained on.
    ///
    /// By it one sees that the material, the light or the camera is no longer what
    /// the model knows. The model gets an output besides its scores: how far the
    /// tile's embedding, of which the last layer makes the scores, is from those of the
    /// train part of labelled tiles (Mahalanobis distance, in units of its median there, so
    /// that 1 is usual). The scores do not change. `millsight-train export` does so by itself.
    #[command(after_help = "\
Example:
  millsight-export distance vit.onnx --tiles steel/split.csv --out vit.onnx")]
    Distance(DistanceArguments),
    /// Print a completion script for a shell.
    ///
    /// With it the shell completes commands and options of `millsight-export`.
    #[command(after_help = "\
Example:
  millsight-export completions bash \\
    > ~/.local/share/bash-completion/completions/millsight-export")]
    Completions {
        /// The shell.
        shell: Shell,
    },
}

#[derive(Debug, Args)]
struct ModelArguments {
    /// The ONNX file.
    model: PathBuf,

    /// Card to use instead of the one inside the file or beside it.
    #[arg(long, value_name = "FILE")]
    sidecar: Option<PathBuf>,
}

impl ModelArguments {
    fn load(&self) -> miette::Result<ModelFile> {
        ModelFile::load(&self.model, self.sidecar.as_deref()).into_diagnostic()
    }
}

#[derive(Debug, Args)]
struct VerifyArguments {
    #[command(flatten)]
    model: ModelArguments,

    /// Safetensors file with `input` and `logits`.
    #[arg(long, value_name = "FILE")]
    reference: PathBuf,

    #[command(flatten)]
    comparison: ComparisonArguments,
}

/// How a model is compared with a reference.
#[derive(Debug, Args)]
struct ComparisonArguments {
    /// Largest absolute difference of a score that is allowed.
    #[arg(long, requires = "reference", value_name = "NUMBER", default_value_t = verify::DEFAULT_TOLERANCE, value_parser = command_line::tolerance)]
    tolerance: f32,

    /// What runs the model.
    #[arg(long, requires = "reference", value_enum, default_value_t = EngineChoice::Auto)]
    engine: EngineChoice,

    /// ONNX Runtime's shared library, where it is not found by itself.
    #[arg(long, requires = "reference", value_name = "FILE")]
    library: Option<PathBuf>,

    /// Execution provider of ONNX Runtime.
    #[arg(long, requires = "reference", value_enum, default_value_t = Provider::Cpu)]
    provider: Provider,
}

impl ComparisonArguments {
    /// Starts the engine that is asked for.
    fn start(&self, model: &ModelFile) -> miette::Result<Box<dyn Engine>> {
        let request = EngineRequest {
            choice: self.engine,
            library: self.library.clone(),
            providers: vec![self.provider],
            ..EngineRequest::default()
        };
        commands::start_engine(model, &request)
    }
}

#[derive(Debug, Args)]
struct CardArguments {
    /// The ONNX file.
    model: PathBuf,

    /// The card, a TOML file.
    #[arg(long, value_name = "FILE")]
    sidecar: PathBuf,

    /// The model file to write; may be the same file.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,

    /// Safetensors file with `input` and `logits` with which the model must
    /// agree; see `verify`.
    #[arg(long, value_name = "FILE")]
    reference: Option<PathBuf>,

    #[command(flatten)]
    comparison: ComparisonArguments,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match &cli.command {
        Command::Inspect(arguments) => inspect(arguments, cli.json),
        Command::Verify(arguments) => verify_model(arguments, cli.json),
        Command::Card(arguments) => write_card(arguments, cli.json),
        Command::Quantize(arguments) => arguments.run(cli.json),
        Command::Thresholds(arguments) => arguments.run(cli.json),
        Command::Distance(arguments) => arguments.run(cli.json),
        Command::Completions { shell } => {
            let script = command_line::completions(*shell, Cli::command());
            output::write(|out| out.write_all(script.as_bytes())).map_err(Into::into)
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(report) => {
            eprintln!("{report:?}");
            ExitCode::FAILURE
        }
    }
}

fn inspect(arguments: &ModelArguments, as_json: bool) -> miette::Result<()> {
    let (model, graph) = match ModelFile::load(&arguments.model, arguments.sidecar.as_deref()) {
        Ok(model) => {
            let graph = model.signature().into_diagnostic()?;
            (Ok(model), graph)
        }
        // Whoever wants to write a card must be able to see the graph.
        Err(missing @ ModelFileError::NoCard { .. }) => {
            let graph = Signature::load(&arguments.model).into_diagnostic()?;
            (Err(missing), graph)
        }
        Err(other) => return Err(other).into_diagnostic(),
    };
    let bytes = std::fs::metadata(&arguments.model).into_diagnostic()?.len();
    if as_json {
        let model = model.ok();
        let result = json!({
            "model": arguments.model,
            "bytes": bytes,
            "sha256": model.as_ref().map(|model| &model.sha256),
            "card": model.as_ref().map(|model| &model.card),
            "fixed_batch": model.as_ref().and_then(|model| model.fixed_batch),
            "graph": graph,
        });
        output::line(result)?;
        return Ok(());
    }
    let mut text = String::new();
    let described = match &model {
        Ok(model) => describe_card(&mut text, model),
        Err(missing) => writeln!(text, "{missing}\n"),
    };
    described
        .and_then(|()| describe_graph(&mut text, &graph))
        .into_diagnostic()?;
    let path = arguments.model.display();
    output::write(|out| write!(out, "{path}, {bytes} bytes:\n{text}"))?;
    Ok(())
}

/// One line of a description.
fn line(text: &mut String, name: &str, value: impl Display) -> fmt::Result {
    writeln!(text, "  {name:<14} {value}")
}

/// The card, for people.
fn describe_card(text: &mut String, model: &ModelFile) -> fmt::Result {
    let ModelCard {
        input,
        preprocessing,
        provenance,
        ..
    } = &model.card;
    line(text, "name", &model.card.name)?;
    line(text, "architecture", &model.card.architecture)?;
    line(text, "classes", model.card.classes.join(", "))?;
    line(
        text,
        "input",
        format_args!(
            "`{}` {}x{} pixels, {} channel(s), {:?}",
            input.name, input.width, input.height, input.channels, input.element
        ),
    )?;
    let kind = match model.card.output.kind {
        OutputKind::Logits => "logits",
        OutputKind::Probabilities => "probabilities",
    };
    line(
        text,
        "output",
        format_args!("`{}`, {kind}", model.card.output.name),
    )?;
    line(
        text,
        "normalised by",
        format_args!("mean {:?}, std {:?}", preprocessing.mean, preprocessing.std),
    )?;
    if let Some(distance) = &model.card.output.distance {
        line(text, "distance", distance)?;
    }
    for (class, threshold) in &model.card.thresholds {
        line(text, "threshold", format_args!("{class} {threshold}"))?;
    }
    if let Some(calibration) = &model.card.calibration {
        line(text, "temperature", calibration)?;
    }
    for (name, value) in &provenance.metrics {
        line(text, "metric", format_args!("{name} {value:.4}"))?;
    }
    if let Some(parity) = &provenance.parity {
        line(text, "parity", agreement(parity))?;
    }
    if let Some(quantization) = &provenance.quantization {
        line(text, "in 8 bits", quantization)?;
    }
    let facts = [
        ("trained by", &provenance.command),
        ("revision", &provenance.git_revision),
        ("data SHA-256", &provenance.data_sha256),
        ("created", &provenance.created),
        ("SHA-256", &model.sha256),
    ];
    for (name, value) in facts {
        if !value.is_empty() {
            line(text, name, value)?;
        }
    }
    if let Some(point) = &provenance.operating_point {
        write!(text, "\n{}\n", point.table(&model.card.thresholds))?;
    }
    Ok(())
}

/// What the graph is made of, for people.
fn describe_graph(text: &mut String, graph: &Signature) -> fmt::Result {
    if !graph.producer.is_empty() {
        line(text, "written by", &graph.producer)?;
    }
    for tensor in &graph.inputs {
        line(text, "graph takes", tensor)?;
    }
    for tensor in &graph.outputs {
        line(text, "graph gives", tensor)?;
    }
    let operators: Vec<String> = graph
        .operators
        .iter()
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    line(text, "opset", graph.opset)?;
    line(text, "parameters", graph.parameters)?;
    line(text, "operators", operators.join(", "))
}

/// The result of a comparison, for people.
fn agreement(parity: &Parity) -> String {
    format!(
        "{} samples on {}: off by at most {:.1e} of {:.1e} allowed",
        parity.samples, parity.engine, parity.max_abs, parity.tolerance
    )
}

fn verify_model(arguments: &VerifyArguments, as_json: bool) -> miette::Result<()> {
    let model = arguments.model.load()?;
    let reference = Reference::load(&arguments.reference, &model.card).into_diagnostic()?;
    let mut engine = arguments.comparison.start(&model)?;
    let tolerance = arguments.comparison.tolerance;
    let parity =
        verify::compare(engine.as_mut(), &model, &reference, tolerance).into_diagnostic()?;
    if as_json {
        output::line(json!(parity))?;
    } else {
        output::line(format_args!(
            "{} agrees with the reference. {}",
            arguments.model.model.display(),
            agreement(&parity)
        ))?;
    }
    Ok(())
}

fn write_card(arguments: &CardArguments, as_json: bool) -> miette::Result<()> {
    let model = ModelFile::load(&arguments.model, Some(&arguments.sidecar)).into_diagnostic()?;
    let carded = match &arguments.reference {
        Some(path) => {
            let reference = Reference::load(path, &model.card).into_diagnostic()?;
            let mut engine = arguments.comparison.start(&model)?;
            let tolerance = arguments.comparison.tolerance;
            verify::verified(engine.as_mut(), &model, &reference, tolerance).into_diagnostic()?
        }
        None => model.with_card(model.card.clone()).into_diagnostic()?,
    };
    carded.save(&arguments.out).into_diagnostic()?;
    if as_json {
        let result =
            json!({ "model": arguments.out, "sha256": carded.sha256, "card": carded.card });
        output::line(result)?;
    } else {
        output::line(format_args!(
            "{} now carries its card",
            arguments.out.display()
        ))?;
        if let Some(parity) = &carded.card.provenance.parity {
            output::line(format_args!(
                "It agrees with the reference. {}",
                agreement(parity)
            ))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bash_completes_the_options_of_every_command() {
        let missing = command_line::commands_without_completion(Cli::command());
        assert_eq!(missing, [""; 0]);
    }

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
