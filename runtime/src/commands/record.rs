//! `millsight record`: what was recorded, for other programs.

use std::io::{self, BufWriter};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;
use miette::{IntoDiagnostic, WrapErr};
use millsight_export::durable;

use crate::record::export;

/// Commands of `millsight record`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write a record as JSON lines: run, pieces, gaps, flagged and unjudged tiles.
    Export {
        /// Folder of the record.
        folder: PathBuf,

        /// File to write; without it standard output.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

/// Runs a command of `millsight record`.
pub fn execute(command: &Command) -> miette::Result<ExitCode> {
    let Command::Export { folder, out } = command;
    match out {
        None => export::json_lines(folder, &mut BufWriter::new(io::stdout().lock()))
            .into_diagnostic()?,
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
        }
    }
    Ok(ExitCode::SUCCESS)
}
