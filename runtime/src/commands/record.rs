//! `millsight record`: what was recorded, for other programs.

use std::io::{self, BufWriter};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;
use miette::{IntoDiagnostic, WrapErr};
use millsight_export::{durable, output};
use serde_json::json;

use crate::record::export::{self, ExportError};

/// Examples of `millsight record`.
pub const EXAMPLES: &str = "\
Examples:
  millsight record export record/strip > strip.jsonl
  millsight record export record/strip | grep '\"record\":\"tile\"'";

const EXPORT_EXAMPLES: &str = "\
Examples:
  millsight record export record/strip --out strip.jsonl
  millsight record export record/strip | grep '\"class\":\"cracks\"'

Each line is an object; its key `record` says what it is: `model` (name, card), \
`run` (station, engine, summary, status), `piece`, `gap` (lines that are missing), \
`statistics` (what all tiles of a minute were like) or `tile` (state, class, \
probabilities, metres along, millimetres across, path of the image in the folder). \
Positions are also given as line and column.";

/// Commands of `millsight record`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write a record as JSON lines: models, runs, pieces, gaps, statistics, tiles.
    ///
    /// Tiles are those that an operator should look at: flagged or unjudged.
    /// A record that is being written, or that a crash left behind, can be
    /// exported too: what is committed is exported.
    #[command(after_help = EXPORT_EXAMPLES)]
    Export {
        /// Folder of the record.
        folder: PathBuf,

        /// File to write; without it standard output.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

/// Runs a command of `millsight record`.
pub fn execute(command: &Command, as_json: bool) -> miette::Result<ExitCode> {
    let Command::Export { folder, out } = command;
    match out {
        None => match export::json_lines(folder, &mut BufWriter::new(io::stdout().lock())) {
            Err(ExportError::Write(error)) => output::outcome(Err(error))?,
            exported => exported.into_diagnostic()?,
        },
        Some(path) => {
            let unwritable = || format!("cannot write {}", path.display());
            let partial = durable::partial_beside(path)
                .into_diagnostic()
                .wrap_err_with(unwritable)?;
            let mut buffered = BufWriter::new(partial);
            export::json_lines(folder, &mut buffered).into_diagnostic()?;
            buffered
                .into_inner()
                .map_err(|error| error.into_error())
                .and_then(|partial| durable::persist(partial, path))
                .into_diagnostic()
                .wrap_err_with(unwritable)?;
            if as_json {
                output::line(json!({"record": folder, "out": path}))?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
