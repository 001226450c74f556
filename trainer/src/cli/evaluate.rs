//! `evaluate`.

use std::path::{Path, PathBuf};

use clap::Args;
use miette::{IntoDiagnostic, Result, WrapErr};
use millsight_export::output;
use millsight_trainer::data::table::{Split, Table};
use millsight_trainer::evaluate::cascade::{CascadeReport, Cost};
use millsight_trainer::evaluate::operating_point::{self, OperatingReport};
use millsight_trainer::evaluate::{Evaluation, Source, evaluate, misclassified};
use millsight_trainer::model::network::Network;
use millsight_trainer::model_export;
use millsight_trainer::run::config::Method;
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
///
/// --operating-point chooses, by the validation part, from which probability
/// on each defect class is flagged, so that at most that share of its tiles is
/// missed: the largest threshold that leaves out so few of them that the exact
/// (Clopper-Pearson, 95 %) upper bound of the miss rate keeps the share. A
/// class with too few tiles to prove it gets the threshold that misses none of
/// them, or none where that lies above one half, and the number that would be
/// needed is said. Probabilities are first made true by a temperature (Guo et
/// al., 2017). Miss rates and false alarms are then counted on the validation
/// and the test part. All this is kept in operating-point.json, with --run and
/// without --table, and goes into the model card.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  millsight-train evaluate --run runs/first
  millsight-train evaluate --run runs/first --split val --predictions val.csv
  millsight-train evaluate --run runs/first --operating-point 0.01
  millsight-train evaluate --run runs/first --misclassified look/
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
    /// Also write the tiles that are taken for another class, as
    /// misclassified.csv and, to look at, misclassified.png.
    #[arg(long, value_name = "FOLDER")]
    misclassified: Option<PathBuf>,
    /// Also choose thresholds for at most this share of missed defects, above
    /// 0 and below 1.
    #[arg(long, value_name = "MISS_RATE", value_parser = miss_rate)]
    operating_point: Option<f64>,
    /// Also put a screen before the network: the run of `train --arch screen`.
    /// Its threshold is chosen by the validation part, and what the two come to
    /// stands beside the network alone.
    #[arg(long, value_name = "RUN")]
    cascade: Option<PathBuf>,
    /// Share of the defects that the screen may clear, above 0 and below 1.
    #[arg(long, value_name = "RISK", value_parser = miss_rate, default_value_t = 0.001,
          requires = "cascade")]
    risk: f64,
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

fn miss_rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if rate > 0.0 && rate < 1.0 => Ok(rate),
        _ => Err("a share above 0 and below 1 is expected, for example 0.01".to_owned()),
    }
}

impl NetworkFile {
    /// The network, and the run where one was named.
    pub fn load(&self) -> Result<(Trained, Option<RunFolder>)> {
        match (&self.run, &self.weights) {
            (Some(run), _) => {
                let (run, config) = RunFolder::open(run).into_diagnostic()?;
                classifies(&config.method, run.path())?;
                if !run.best().exists() {
                    miette::bail!(
                        "the run {} has no best weights yet: its first epoch is not complete; \
                         go on with `millsight-train train --resume {0}`",
                        run.path().display()
                    );
                }
                let trained = Trained::load(&run.best()).into_diagnostic()?;
                Ok((trained, Some(run)))
            }
            (None, Some(weights)) => {
                let trained = Trained::load(weights).into_diagnostic()?;
                classifies(&trained.config.method, weights)?;
                Ok((trained, None))
            }
            // clap does not let this through.
            (None, None) => miette::bail!("--run or --weights is needed"),
        }
    }
}

/// Refuses what was pretrained and knows no classes yet.
fn classifies(method: &Method, path: &Path) -> Result<()> {
    match method {
        Method::Finetune(_) | Method::Probe(_) => Ok(()),
        Method::Mae(_) | Method::Dino(_) => miette::bail!(
            "{} was pretrained and tells no classes apart; `millsight-train train --init` begins \
             with its backbone.safetensors",
            path.display()
        ),
    }
}

impl EvaluateArgs {
    pub fn run(&self) -> Result<()> {
        let (trained, run) = self.network.load()?;
        // Figures on another table are not the run's own.
        let run = run.filter(|_| self.table.is_none());
        let classes = &trained.config.classes;
        self.check(&trained)?;
        let evaluation = self.part(&trained, self.split)?;
        if let Some(path) = &self.predictions {
            evaluation
                .write_predictions(path, classes)
                .into_diagnostic()?;
        }
        if let Some(folder) = &self.misclassified {
            std::fs::create_dir_all(folder)
                .into_diagnostic()
                .wrap_err_with(|| format!("cannot make the folder {}", folder.display()))?;
            let root = source(&trained, &self.table, &self.data_root, self.split).data_root;
            misclassified::write(folder, &evaluation, classes, &root).into_diagnostic()?;
        }
        if let Some(run) = &run {
            let path = run.evaluation(self.split.name());
            evaluation.report.save(&path).into_diagnostic()?;
        }
        let operating = self.operating(&trained, &evaluation)?;
        if let (Some(run), Some(operating)) = (&run, &operating) {
            operating.save(&run.operating_point()).into_diagnostic()?;
        }
        let cascade = self.cascade(&trained, &evaluation)?;
        if self.json {
            let mut json = serde_json::to_value(&evaluation.report).into_diagnostic()?;
            if let Some(cascade) = &cascade {
                json["cascade"] = serde_json::to_value(cascade).into_diagnostic()?;
            }
            if let Some(operating) = &operating {
                json["operating"] = serde_json::to_value(operating).into_diagnostic()?;
            }
            output::line(json)?;
            return Ok(());
        }
        let mut table = evaluation.report.table();
        if let Some(operating) = &operating {
            table = format!("{table}\n{}", operating.table());
        }
        if let Some(cascade) = &cascade {
            table = format!("{table}\n{}", cascade.table());
        }
        output::write(|out| out.write_all(table.as_bytes()))?;
        Ok(())
    }

    /// Refuses what would fail, or be false, after all tiles were looked at.
    fn check(&self, trained: &Trained) -> Result<()> {
        let config = &trained.config;
        let table = source(trained, &self.table, &self.data_root, self.split).table;
        let table = Table::read(&table).into_diagnostic()?;
        if self.table.is_none() && table.sha256 != config.table_sha256 {
            miette::bail!(
                "{} is not the table with which the run began (SHA-256 {} instead of {}): tiles \
                 that it has learnt may be in another part now. Restore it, or give the new one \
                 with --table; its figures are then not kept as the run's",
                table.path.display(),
                table.sha256,
                config.table_sha256
            );
        }
        table.part(self.split).into_diagnostic()?;
        if self.operating_point.is_some() {
            operating_point::check(&config.classes).into_diagnostic()?;
            table.part(Split::Val).into_diagnostic()?;
        }
        Ok(())
    }

    /// The screen of `--cascade` before the network, on the tiles of
    /// `evaluation`.
    fn cascade(&self, trained: &Trained, evaluation: &Evaluation) -> Result<Option<CascadeReport>> {
        let Some(run) = &self.cascade else {
            return Ok(None);
        };
        let file = NetworkFile {
            run: Some(run.clone()),
            weights: None,
        };
        let (screen, _) = file.load()?;
        let Network::Screen(_) = &screen.config.network else {
            miette::bail!(
                "{} is no screen; --cascade takes a run of `train --arch screen`",
                run.display()
            );
        };
        // Both look at the tiles of the network's table.
        let part = |split| {
            let source = source(trained, &self.table, &self.data_root, split);
            self.shown(&screen, source)
        };
        let (classes, screen_classes) = (&trained.config.classes, &screen.config.classes);
        let point = OperatingReport::choose(&part(Split::Val)?, screen_classes, self.risk);
        let point = point.into_diagnostic()?;
        let screened = part(self.split)?;
        let cost = Cost {
            screen: model_export::multiply_adds(&screen).into_diagnostic()?,
            classifier: model_export::multiply_adds(trained).into_diagnostic()?,
        };
        CascadeReport::of(evaluation, classes, &screened, screen_classes, point, cost)
            .into_diagnostic()
            .map(Some)
    }

    fn part(&self, trained: &Trained, split: Split) -> Result<Evaluation> {
        self.shown(
            trained,
            source(trained, &self.table, &self.data_root, split),
        )
    }

    /// Evaluates with a bar.
    fn shown(&self, trained: &Trained, source: Source) -> Result<Evaluation> {
        let mut bar = indicatif::ProgressBar::hidden();
        let shown = std::cell::RefCell::new(&mut bar);
        let evaluation = evaluate(
            trained,
            &source,
            self.machine.machine(),
            |tiles| **shown.borrow_mut() = progress::bar("evaluating", tiles),
            |tiles| shown.borrow().inc(tiles as u64),
        );
        bar.finish_and_clear();
        evaluation.into_diagnostic()
    }

    /// Thresholds for the miss rate that was asked for, if one was; `known` is
    /// an evaluation that there is already.
    fn operating(&self, trained: &Trained, known: &Evaluation) -> Result<Option<OperatingReport>> {
        let Some(miss_rate) = self.operating_point else {
            return Ok(None);
        };
        let classes = &trained.config.classes;
        let part = |split: Split| {
            if split == self.split {
                Ok(known.clone())
            } else {
                self.part(trained, split)
            }
        };
        let val = part(Split::Val)?;
        let mut report = OperatingReport::choose(&val, classes, miss_rate).into_diagnostic()?;
        let table = source(trained, &self.table, &self.data_root, Split::Test).table;
        let table = Table::read(&table).into_diagnostic()?;
        if table.rows.iter().any(|row| row.split == Some(Split::Test)) {
            report.look_at(&part(Split::Test)?, classes);
        }
        Ok(Some(report))
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
