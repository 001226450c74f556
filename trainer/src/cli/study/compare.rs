//! `study compare`.

use std::path::PathBuf;

use clap::Args;
use miette::{IntoDiagnostic, Result, WrapErr};
use millsight_export::output;
use millsight_trainer::data::table::{Split, Table};
use millsight_trainer::evaluate::comparison::{Comparison, write_disagreements};
use millsight_trainer::evaluate::evaluate;
use millsight_trainer::evaluate::judge::Judge;
use serde_json::json;

use crate::cli::evaluate::{NetworkFile, check_table, source};
use crate::cli::machine::MachineArgs;

/// Put runs side by side on the same tiles.
///
/// Of each: balanced accuracy with the bounds of the bootstrap, macro F1 and accuracy. Of
/// each pair: by how much they differ, and McNemar's exact test. The tiles on which they
/// disagree go into a table.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  millsight-train study compare runs/first runs/second
  millsight-train study compare runs/* --split val --disagreements differ.csv")]
pub struct CompareArgs {
    /// Folders of runs, two at least; their best weights are taken.
    #[arg(required = true, num_args = 2.., value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// The part of the table.
    #[arg(long, default_value = "test")]
    split: Split,
    /// Another table than that of each run.
    #[arg(long, value_name = "CSV")]
    table: Option<PathBuf>,
    /// Folder to which the table's paths are relative [default: that of the run,
    /// or of --table].
    #[arg(long, value_name = "FOLDER")]
    data_root: Option<PathBuf>,
    /// Also write path, label and what each run says of the tiles on which they
    /// disagree.
    #[arg(long, value_name = "CSV")]
    disagreements: Option<PathBuf>,
    /// Print one line of JSON instead of tables.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    machine: MachineArgs,
}

impl CompareArgs {
    pub fn run(&self) -> Result<()> {
        let mut named = Vec::new();
        for run in &self.runs {
            let file = NetworkFile {
                run: Some(run.clone()),
                weights: None,
            };
            let (trained, _) = file.load()?;
            let tiles = source(&trained, &self.table, &self.data_root, self.split);
            if self.table.is_none() {
                check_table(&trained, &Table::read(&tiles.table).into_diagnostic()?)?;
            }
            let mut judge = Judge::Trained(Box::new(trained));
            let evaluation = evaluate(&mut judge, &tiles, self.machine.machine(), |_| {}, |_| {})
                .into_diagnostic()
                .wrap_err_with(|| format!("the run {} cannot be judged", run.display()))?;
            named.push((run.display().to_string(), evaluation));
        }
        let comparison = Comparison::of(&named).into_diagnostic()?;
        let disagreements = (self.disagreements.as_ref())
            .map(|path| write_disagreements(path, &named).into_diagnostic())
            .transpose()?;
        if self.json {
            return output::line(json!({
                "comparison": comparison,
                "disagreements": disagreements,
            }))
            .into_diagnostic();
        }
        output::write(|text| write!(text, "{}", comparison.table()))?;
        if let (Some(path), Some(count)) = (&self.disagreements, disagreements) {
            output::line(format_args!(
                "{count} tiles on which they disagree: {}",
                path.display()
            ))?;
        }
        Ok(())
    }
}
