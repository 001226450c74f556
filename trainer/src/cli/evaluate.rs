//! `evaluate`.

use std::path::{Path, PathBuf};

use clap::Args;
use miette::{IntoDiagnostic, Result, WrapErr};
use millsight_export::engine::{EngineChoice, EngineRequest};
use millsight_export::output;
use millsight_trainer::data::table::{Split, Table};
use millsight_trainer::evaluate::cascade::{CascadeReport, Cost};
use millsight_trainer::evaluate::judge::{Judge, is_model_file};
use millsight_trainer::evaluate::operating_point::{self, OperatingReport};
use millsight_trainer::evaluate::{Evaluation, Source, evaluate, misclassified};
use millsight_trainer::run::config::Method;
use millsight_trainer::run::folder::RunFolder;
use millsight_trainer::trained::Trained;

use super::machine::MachineArgs;
use super::progress;

/// Say how good a trained network or a model file is.
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
  millsight-train evaluate --weights best.safetensors --table other/split.csv
  millsight-train evaluate --model model.onnx --cascade screen.onnx --table other/split.csv")]
pub struct EvaluateArgs {
    #[command(flatten)]
    evaluated: EvaluatedFile,
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
    /// Also put a screen before the network: the run of `train --arch screen`, or
    /// its model file (.onnx). What the two come to stands beside the network alone.
    #[arg(long, value_name = "RUN|FILE")]
    cascade: Option<PathBuf>,
    /// Share of the defects that the screen may clear, above 0 and below 1. Its
    /// threshold is chosen for it by the validation part [default: the threshold of
    /// the screen's card, or else a share of 0.001].
    #[arg(long, value_name = "RISK", value_parser = miss_rate, requires = "cascade")]
    risk: Option<f64>,
    /// Engine for model files.
    #[arg(long, default_value = "auto")]
    engine: EngineChoice,
    /// ONNX Runtime's library [default: searched for].
    #[arg(long, value_name = "FILE")]
    library: Option<PathBuf>,
    /// Print one line of JSON instead of a table.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    machine: MachineArgs,
}

/// Share of the defects that a screen may clear, where none is asked for.
const DEFAULT_RISK: f64 = 0.001;

/// What is evaluated.
#[derive(Debug, Clone, Args)]
#[group(required = true, multiple = false)]
struct EvaluatedFile {
    /// Folder of a run; its best weights are taken.
    #[arg(long)]
    run: Option<PathBuf>,
    /// The best.safetensors of a run, or a copy of it.
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// A model file, with the thresholds of its card, as the line runs it.
    #[arg(long, value_name = "ONNX", requires = "table")]
    model: Option<PathBuf>,
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

impl EvaluatedFile {
    /// What is evaluated, and the run where one was named.
    fn open(self, args: &EvaluateArgs) -> Result<(Judge, Option<RunFolder>)> {
        if let Some(model) = self.model {
            return Ok((args.model_file(&model)?, None));
        }
        let file = NetworkFile {
            run: self.run,
            weights: self.weights,
        };
        let (trained, run) = file.load()?;
        Ok((Judge::Trained(Box::new(trained)), run))
    }
}

impl EvaluateArgs {
    pub fn run(&self) -> Result<()> {
        let (mut judge, run) = self.evaluated.clone().open(self)?;
        // Figures on another table are not the run's own.
        let run = run.filter(|_| self.table.is_none());
        let tiles = self.tiles(&judge)?;
        let classes = judge.classes().to_vec();
        self.check(&judge, &tiles)?;
        let evaluation = self.part(&mut judge, &tiles, self.split)?;
        if let Some(path) = &self.predictions {
            evaluation
                .write_predictions(path, &classes)
                .into_diagnostic()?;
        }
        if let Some(folder) = &self.misclassified {
            std::fs::create_dir_all(folder)
                .into_diagnostic()
                .wrap_err_with(|| format!("cannot make the folder {}", folder.display()))?;
            let root = &tiles.data_root;
            misclassified::write(folder, &evaluation, &classes, root).into_diagnostic()?;
        }
        if let Some(run) = &run {
            let path = run.evaluation(self.split.name());
            evaluation.report.save(&path).into_diagnostic()?;
        }
        let operating = self.operating(&mut judge, &tiles, &evaluation)?;
        if let (Some(run), Some(operating)) = (&run, &operating) {
            operating.save(&run.operating_point()).into_diagnostic()?;
        }
        let cascade = self.cascade(&judge, &tiles, &evaluation)?;
        if self.json {
            let mut json = serde_json::to_value(&evaluation.report).into_diagnostic()?;
            if let Some(cascade) = &cascade {
                json["cascade"] = serde_json::to_value(cascade).into_diagnostic()?;
            }
            if let Judge::Model(running) = &judge {
                json["engine"] = serde_json::to_value(running.engine()).into_diagnostic()?;
            }
            if let Some(operating) = &operating {
                json["operating"] = serde_json::to_value(operating).into_diagnostic()?;
            }
            output::line(json)?;
            return Ok(());
        }
        let mut table = evaluation.report.table();
        if let Judge::Model(running) = &judge {
            table = format!(
                "{} on {}\n{table}",
                running.model.card.name,
                running.engine()
            );
        }
        if let Some(operating) = &operating {
            table = format!("{table}\n{}", operating.table());
        }
        if let Some(cascade) = &cascade {
            table = format!("{table}\n{}", cascade.table());
        }
        output::write(|out| out.write_all(table.as_bytes()))?;
        Ok(())
    }

    /// A model file on the engine that is asked for.
    fn model_file(&self, path: &Path) -> Result<Judge> {
        let request = EngineRequest {
            choice: self.engine,
            library: self.library.clone(),
            ..EngineRequest::default()
        };
        let judge = Judge::model(path, &request, self.machine.machine()).into_diagnostic()?;
        if let Judge::Model(running) = &judge {
            for notice in &running.notices {
                eprintln!("note: {notice}");
            }
        }
        Ok(judge)
    }

    /// The tiles of the table that is given, or of the run.
    fn tiles(&self, judge: &Judge) -> Result<Source> {
        match (judge, &self.table) {
            (Judge::Trained(trained), _) => {
                Ok(source(trained, &self.table, &self.data_root, self.split))
            }
            (Judge::Model(_), Some(table)) => Ok(Source {
                data_root: super::data_root(&self.data_root, table),
                table: table.clone(),
                split: self.split,
            }),
            // clap does not let this through.
            (Judge::Model(_), None) => miette::bail!("--model needs --table"),
        }
    }

    /// Refuses what would fail, or be false, after all tiles were looked at.
    fn check(&self, judge: &Judge, tiles: &Source) -> Result<()> {
        let table = Table::read(&tiles.table).into_diagnostic()?;
        if let (Judge::Trained(trained), None) = (judge, &self.table) {
            check_table(trained, &table)?;
        }
        table.part(self.split).into_diagnostic()?;
        if self.operating_point.is_some() {
            operating_point::check(judge.classes()).into_diagnostic()?;
            table.part(Split::Val).into_diagnostic()?;
        }
        Ok(())
    }

    /// The screen of `--cascade` before what is evaluated, on the tiles of
    /// `evaluation`.
    fn cascade(
        &self,
        judge: &Judge,
        tiles: &Source,
        evaluation: &Evaluation,
    ) -> Result<Option<CascadeReport>> {
        let Some(path) = &self.cascade else {
            return Ok(None);
        };
        let mut screen = match is_model_file(path) {
            true => self.model_file(path)?,
            false => {
                let file = NetworkFile {
                    run: Some(path.clone()),
                    weights: None,
                };
                Judge::Trained(Box::new(file.load()?.0))
            }
        };
        if !screen.is_screen() {
            miette::bail!(
                "{} is no screen; --cascade takes a run of `train --arch screen`, or its model \
                 file",
                path.display()
            );
        }
        let promised = match (&screen, self.risk) {
            (Judge::Model(running), None) => OperatingReport::of_card(&running.model),
            _ => None,
        };
        let screen_classes = screen.classes().to_vec();
        let point = match promised {
            Some(point) => point,
            None => {
                let val = self.part(&mut screen, tiles, Split::Val)?;
                let risk = self.risk.unwrap_or(DEFAULT_RISK);
                OperatingReport::choose(&val, &screen_classes, risk).into_diagnostic()?
            }
        };
        let screened = self.part(&mut screen, tiles, self.split)?;
        let cost = Cost {
            screen: screen.multiply_adds().into_diagnostic()?,
            classifier: judge.multiply_adds().into_diagnostic()?,
        };
        let classes = judge.classes();
        CascadeReport::of(evaluation, classes, &screened, &screen_classes, point, cost)
            .into_diagnostic()
            .map(Some)
    }

    /// Judges one part of the tiles, with a bar.
    fn part(&self, judge: &mut Judge, tiles: &Source, split: Split) -> Result<Evaluation> {
        let source = Source {
            split,
            ..tiles.clone()
        };
        let mut bar = indicatif::ProgressBar::hidden();
        let shown = std::cell::RefCell::new(&mut bar);
        let evaluation = evaluate(
            judge,
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
    fn operating(
        &self,
        judge: &mut Judge,
        tiles: &Source,
        known: &Evaluation,
    ) -> Result<Option<OperatingReport>> {
        let Some(miss_rate) = self.operating_point else {
            return Ok(None);
        };
        let classes = judge.classes().to_vec();
        let mut part = |split: Split| {
            if split == self.split {
                Ok(known.clone())
            } else {
                self.part(judge, tiles, split)
            }
        };
        let val = part(Split::Val)?;
        let mut report = OperatingReport::choose(&val, &classes, miss_rate).into_diagnostic()?;
        let table = Table::read(&tiles.table).into_diagnostic()?;
        if table.rows.iter().any(|row| row.split == Some(Split::Test)) {
            report.look_at(&part(Split::Test)?, &classes);
        }
        Ok(Some(report))
    }
}

/// Refuses a table that has changed since a run began with it.
pub fn check_table(trained: &Trained, table: &Table) -> Result<()> {
    if table.sha256 == trained.config.table_sha256 {
        return Ok(());
    }
    miette::bail!(
        "{} is not the table with which the run began (SHA-256 {} instead of {}): tiles that it \
         has learnt may be in another part now. Restore it, or give the new one with --table; \
         its figures are then not kept as the run's",
        table.path.display(),
        table.sha256,
        trained.config.table_sha256
    )
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
