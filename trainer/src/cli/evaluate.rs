//! `evaluate`.

use std::path::PathBuf;

use clap::Args;
use miette::{IntoDiagnostic, Result};
use millsight_export::durable::replace_file;
use millsight_export::output;
use millsight_trainer::data::table::Split;
use millsight_trainer::evaluate::{Source, evaluate};
use millsight_trainer::run::folder::RunFolder;
use millsight_trainer::trained::Trained;

use super::machine::MachineArgs;
use super::progress;

/// Say how good a trained network is.
///
/// Prints accuracy, balanced accuracy (mean recall), macro F1, precision,
/// recall and F1 of each class, and the confusion matrix, all as scikit-learn
/// computes them. With --run, and without --table, the figures are kept in the
/// run's folder as evaluation-PART.json, where `export` takes them for the
/// model card.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  millsight-train evaluate --run runs/first
  millsight-train evaluate --run runs/first --split val --predictions val.csv
  millsight-train evaluate --weights best.safetensors --table other/split.csv")]
pub struct EvaluateArgs {
    #[command(flatten)]
    network: NetworkFile,
    /// The part of the table.
    #[arg(long, default_value = "test")]
    split: Split,
    /// Another table than that of the run.
    #[arg(long, value_name = "CSV")]
    table: Option<PathBuf>,
    /// Folder to which the table's paths are relative [default: that of the
    /// run, or of --table].
    #[arg(long, value_name = "FOLDER")]
    data_root: Option<PathBuf>,
    /// Also write path, label, predicted class and logits of each tile.
    #[arg(long, value_name = "CSV")]
    predictions: Option<PathBuf>,
    /// Print one line of JSON instead of a table.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    machine: MachineArgs,
}

/// Which trained network.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct NetworkFile {
    /// Folder of a run; its best weights are taken.
    #[arg(long)]
    pub run: Option<PathBuf>,
    /// The best.safetensors of a run, or a copy of it.
    #[arg(long, value_name = "FILE")]
    pub weights: Option<PathBuf>,
}

impl NetworkFile {
    /// The network, and the run where one was named.
    pub fn load(&self) -> Result<(Trained, Option<RunFolder>)> {
        match (&self.run, &self.weights) {
            (Some(run), _) => {
                let (run, _) = RunFolder::open(run).into_diagnostic()?;
                let trained = Trained::load(&run.best()).into_diagnostic()?;
                Ok((trained, Some(run)))
            }
            (None, Some(weights)) => Ok((Trained::load(weights).into_diagnostic()?, None)),
            // clap does not let this through.
            (None, None) => miette::bail!("--run or --weights is needed"),
        }
    }
}

impl EvaluateArgs {
    pub fn run(&self) -> Result<()> {
        let (trained, run) = self.network.load()?;
        let source = source(&trained, &self.table, &self.data_root, self.split);
        let mut bar = indicatif::ProgressBar::hidden();
        let shown = std::cell::RefCell::new(&mut bar);
        let evaluation = evaluate(
            &trained,
            &source,
            self.machine.machine(),
            |tiles| **shown.borrow_mut() = progress::bar("evaluating", tiles),
            |tiles| shown.borrow().inc(tiles as u64),
        )
        .into_diagnostic()?;
        bar.finish_and_clear();
        if let Some(path) = &self.predictions {
            evaluation
                .write_predictions(path, &trained.config.classes)
                .into_diagnostic()?;
        }
        // Figures on another table are not the run's own.
        if let Some(run) = run.filter(|_| self.table.is_none()) {
            let json = serde_json::to_vec_pretty(&evaluation.report).into_diagnostic()?;
            replace_file(&run.evaluation(self.split.name()), &json).into_diagnostic()?;
        }
        if self.json {
            let json = serde_json::to_string(&evaluation.report).into_diagnostic()?;
            output::line(json)?;
        } else {
            let table = evaluation.report.table();
            output::write(|out| out.write_all(table.as_bytes()))?;
        }
        Ok(())
    }
}

/// The tiles of the run, or of the table given instead.
pub fn source(
    trained: &Trained,
    table: &Option<PathBuf>,
    data_root: &Option<PathBuf>,
    split: Split,
) -> Source {
    match table {
        Some(table) => Source {
            data_root: super::data_root(data_root, table),
            table: table.clone(),
            split,
        },
        None => Source {
            table: trained.config.table.clone(),
            data_root: data_root
                .clone()
                .unwrap_or_else(|| trained.config.data_root.clone()),
            split,
        },
    }
}
