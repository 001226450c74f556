//! The command line.

mod check;
mod configuration;
mod convert_weights;
mod evaluate;
mod export;
mod index;
mod listed;
mod machine;
mod network;
mod parts;
mod pretrain;
mod progress;
mod recipe;
mod split;
mod split_from_folders;
mod study;
mod train;

use std::path::{Path, PathBuf};

use clap::{CommandFactory, Parser, Subcommand};
use miette::{IntoDiagnostic, Result};
use millsight_export::{command_line, output};

/// Train a classifier for steel tiles, from labelled images to a model file.
///
/// The usual way, with images in DATA/CLASS/*.png:
///
///   millsight-train index DATA
///   millsight-train split DATA/index.csv
///   millsight-train check DATA/split.csv
///   millsight-train train DATA/split.csv --out RUN
///   millsight-train evaluate --run RUN
///   millsight-train export --run RUN --out model.onnx
///
/// The model file then runs on the line: `millsight run --station FILE` with
/// `model.file` in the station, or `millsight classify IMAGE --model model.onnx`.
#[derive(Debug, Parser)]
#[command(
    name = "millsight-train",
    version,
    verbatim_doc_comment,
    max_term_width = 100,
    // Of options that stand twice the last counts, so that a study can change some.
    args_override_self = true
)]
#[command(after_help = "\
Tiles to try it with, without a mill:
  millsight simulate --tiles 4000 --out steel --shares balanced

`millsight-train COMMAND --help` explains each command with examples.

Exit codes: 0 done, 1 failed, 2 wrong usage.")]
pub struct Cli {
    /// End when standard input does: whoever began this holds it.
    #[arg(long, global = true, hide = true)]
    ends_with_input: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Index(index::IndexArgs),
    Split(split::SplitArgs),
    SplitFromFolders(split_from_folders::SplitFromFoldersArgs),
    Check(check::CheckArgs),
    Pretrain(Box<pretrain::PretrainArgs>),
    #[command(visible_alias = "fine-tune")]
    Train(Box<train::TrainArgs>),
    Evaluate(evaluate::EvaluateArgs),
    Export(export::ExportArgs),
    Study(study::StudyArgs),
    ConvertWeights(convert_weights::ConvertWeightsArgs),
    /// Print a completion script for a shell.
    ///
    /// With it the shell completes commands and options of `millsight-train`.
    #[command(after_help = "\
Example:
  millsight-train completions bash \\
    > ~/.local/share/bash-completion/completions/millsight-train")]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// Runs a parsed command line.
pub fn run(cli: Cli) -> Result<()> {
    if cli.ends_with_input {
        std::thread::Builder::new()
            .name("millsight-input".into())
            .spawn(|| {
                let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
                std::process::exit(1);
            })
            .into_diagnostic()?;
    }
    match cli.command {
        Command::Index(args) => args.run(),
        Command::Split(args) => args.run(),
        Command::SplitFromFolders(args) => args.run(),
        Command::Check(args) => args.run(),
        Command::Pretrain(args) => args.run(),
        Command::Train(args) => args.run(),
        Command::Evaluate(args) => args.run(),
        Command::Export(args) => args.run(),
        Command::Study(args) => args.run(),
        Command::ConvertWeights(args) => args.run(),
        Command::Completions { shell } => {
            let script = command_line::completions(shell, Cli::command());
            output::write(|out| out.write_all(script.as_bytes()))?;
            Ok(())
        }
    }
}

/// The folder to which a table's paths are relative: the one given, else the
/// table's own.
fn data_root(given: &Option<PathBuf>, table: &Path) -> PathBuf {
    let own = table.parent().filter(|folder| *folder != Path::new(""));
    given
        .clone()
        .unwrap_or_else(|| own.unwrap_or(Path::new(".")).to_path_buf())
}

/// As [`data_root`], for a configuration that outlives the working folder.
fn absolute_data_root(given: &Option<PathBuf>, table: &Path) -> Result<PathBuf> {
    absolute(&data_root(given, table))
}

/// A path that does not depend on the working folder.
fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).into_diagnostic()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn bash_completes_the_options_of_every_command() {
        let missing = command_line::commands_without_completion(Cli::command());
        assert_eq!(missing, [""; 0]);
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
