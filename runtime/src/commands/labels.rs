//! `millsight labels`: what reviewers said, for the trainer.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;
use miette::IntoDiagnostic;
use millsight_export::output;
use serde_json::json;

use crate::review::{Review, TABLE};

/// Examples of `millsight labels`.
pub const EXAMPLES: &str = "\
Examples:
  millsight labels export --record record/strip --out reviewed
  millsight-train index steel --reviews reviewed --out both.csv
  millsight-train split both.csv --out split.csv";

/// Commands of `millsight labels`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write the reviewed tiles as the trainer takes them.
    ///
    /// Images go into a folder for each class, and labels.csv says who decided
    /// what of which model. Tiles on which reviewers do not agree, or of which they
    /// could not tell, are left out and counted.
    Export {
        /// Folder of the record.
        #[arg(long, value_name = "DIR")]
        record: PathBuf,

        /// Folder to write; what lies there stays.
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
}

/// Runs a command of `millsight labels`.
pub fn execute(command: &Command, as_json: bool) -> miette::Result<ExitCode> {
    let Command::Export { record, out } = command;
    let review = Review::open(record).into_diagnostic()?;
    let exported = review.export_labels(out).into_diagnostic()?;
    if as_json {
        output::line(json!(exported))?;
        return Ok(ExitCode::SUCCESS);
    }
    output::write(|text| {
        writeln!(text, "{:>8}  labelled tiles", exported.tiles)?;
        for (count, what) in [
            (exported.disputed, "left out: reviewers do not agree"),
            (exported.cannot_tell, "left out: nobody could tell"),
            (exported.without_image, "left out: no image"),
        ] {
            if count > 0 {
                writeln!(text, "{count:>8}  {what}")?;
            }
        }
        writeln!(text, "written to {}", out.join(TABLE).display())
    })?;
    Ok(ExitCode::SUCCESS)
}
