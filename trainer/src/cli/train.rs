//! `train`.

use std::path::{Path, PathBuf};

use clap::Args;
use miette::{IntoDiagnostic, Result, WrapErr};
use millsight_export::card::NO_DEFECT;
use millsight_export::output;
use millsight_trainer::TrainError;
use millsight_trainer::data::table::{Table, UNLABELLED};
use millsight_trainer::downstream;
use millsight_trainer::model::network::Network;
use millsight_trainer::run::config::RunConfig;
use millsight_trainer::run::folder::RunFolder;
use serde_json::json;

use super::configuration::{Asked, Initial, elements};
use super::machine::TrainingMachineArgs;
use super::network::{Architecture, NetworkArgs};
use super::progress::TrainingProgress;
use super::recipe::RecipeArgs;

/// Train a classifier on labelled tiles.
///
/// TABLE is what `millsight-train split` wrote. The run becomes a folder: its
/// complete configuration (config.json), one line for each epoch (log.jsonl),
/// the checkpoint from which an interrupted run goes on (last.safetensors) and
/// the weights of the epoch with the best balanced accuracy on the validation
/// part (best.safetensors, with timm's names, or Ultralytics' of yolo-cls-n).
/// At the end it says what these make of each validation tile
/// (predictions.csv), and which they take for another class
/// (misclassified.csv, and misclassified.png to look at).
///
/// Fine-tuning changes all weights. Probing keeps them and learns only a
/// linear layer, from features that are computed once: it shows what the
/// weights of --init are worth, and its result is a whole network as well.
///
/// The same table, options and seed give the same bytes, with any number of
/// workers. A run that was killed goes on with `--resume RUN` as if nothing
/// had happened.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  millsight-train train steel/split.csv --out runs/first
  millsight-train train steel/split.csv --out runs/small \\
    --width 128 --depth 4 --heads 4 --learning-rate 1e-3 --schedule cosine \\
    --warmup-epochs 2 --clip-gradient-norm 1 --augment flips,brightness
  millsight-train train steel/split.csv --out runs/probed --protocol probe \\
    --init backbone.safetensors --label-fraction 0.1
  millsight-train train steel/split.csv --out runs/tuned \\
    --init runs/first/best.safetensors --learning-rate 5e-5
  millsight-train train steel/split.csv --out runs/dinov2 \\
    --init dinov2_vits14.safetensors
  millsight-train train steel/split.csv --out runs/convolutional \\
    --arch yolo-cls-n --learning-rate 1e-3 --augment flips
  millsight-train train --resume runs/first")]
pub struct TrainArgs {
    /// Table with the columns path, label and split.
    #[arg(required_unless_present = "resume", conflicts_with = "resume")]
    table: Option<PathBuf>,
    /// Folder to which the table's paths are relative [default: that of TABLE].
    #[arg(long, value_name = "FOLDER")]
    data_root: Option<PathBuf>,
    /// Folder of the new run.
    #[arg(
        short,
        long,
        value_name = "RUN",
        required_unless_present = "resume",
        conflicts_with = "resume"
    )]
    out: Option<PathBuf>,
    /// Go on with an interrupted run, with the options that it began with; only
    /// those of the machine may be given anew.
    #[arg(
        long,
        value_name = "RUN",
        conflicts_with_all = ["NetworkArgs", "RecipeArgs", "data_root"]
    )]
    resume: Option<PathBuf>,
    /// Print one line of JSON with the result.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    network: NetworkArgs,
    #[command(flatten)]
    recipe: RecipeArgs,
    #[command(flatten)]
    machine: TrainingMachineArgs,
}

impl TrainArgs {
    pub fn run(&self) -> Result<()> {
        let machine = self.machine.machine();
        // A missing GPU is reported before anything is read or written.
        let precision = self.recipe.precision;
        machine.device.open_all(precision).into_diagnostic()?;
        let (run, config) = match (&self.resume, &self.table, &self.out) {
            (Some(resume), _, _) => RunFolder::open(resume).into_diagnostic()?,
            (None, Some(table), Some(out)) => {
                let config = self.config(table)?;
                let run = RunFolder::create(out, &config).into_diagnostic()?;
                (run, config)
            }
            // clap does not let this through.
            _ => miette::bail!("a table and --out are needed, or --resume"),
        };
        let parameters = elements(config.network.learnt());
        eprintln!(
            "run {}: {parameters} parameters, classes {}",
            run.path().display(),
            config.classes.join(", ")
        );
        let mut progress = TrainingProgress::new(config.epochs);
        let position = downstream::train(&run, &config, machine, |event| {
            progress.observe(event);
        })
        .into_diagnostic()
        .wrap_err_with(|| format!("the run {} stopped", run.path().display()))?;
        let best = run.best();
        if self.json {
            output::line(json!({
                "run": run.path(),
                "epochs": position.epochs,
                "best": {
                    "epoch": position.best_epoch,
                    "balanced_accuracy": position.best_score,
                    "weights": best,
                },
                "parameters": parameters,
            }))?;
        } else {
            output::line(format_args!(
                "best balanced accuracy on the validation part: {:.4} in epoch {}, {}",
                position.best_score,
                position.best_epoch,
                best.display()
            ))?;
        }
        Ok(())
    }

    fn config(&self, path: &Path) -> Result<RunConfig> {
        let recipe = &self.recipe;
        if recipe.arch != Architecture::Vit {
            let options = [self.network.of_vit_alone(), recipe.of_vit_alone()];
            if let Some(option) = options.into_iter().flatten().next() {
                return Err(TrainError::NeedsVit { option }).into_diagnostic();
            }
        }
        if recipe.arch != Architecture::Screen
            && let Some(option) = self.network.of_screen_alone()
        {
            miette::bail!("{option} is for --arch screen");
        }
        if recipe.arch != Architecture::Screen && recipe.has_teacher() {
            miette::bail!("--teacher is for --arch screen");
        }
        let asked = Asked {
            table: path,
            data_root: &self.data_root,
            network: &self.network,
            architecture: recipe.arch,
            init: recipe.init.as_deref(),
            epochs: recipe.epochs,
            batch_size: recipe.batch_size,
            optimiser: recipe.optimiser(),
            seed: recipe.seed,
            shard_size: recipe.shard_size(&self.machine.computing),
            precision: recipe.precision,
        };
        let config = asked.config(|table, init| {
            let has = |table: &Table, name: &str| table.rows.iter().any(|row| row.label == name);
            if has(table, UNLABELLED) && !recipe.has_teacher() {
                miette::bail!(
                    "{} has tiles with the label {UNLABELLED}, which are for pretraining, or for a \
                     screen with a --teacher; train on a table without them",
                    table.path.display()
                );
            }
            table.rows.retain(|row| row.label != UNLABELLED);
            if !has(table, NO_DEFECT) {
                if recipe.arch == Architecture::Screen {
                    miette::bail!(
                        "{} has no class {NO_DEFECT}, from which a screen tells defects",
                        table.path.display()
                    );
                }
                eprintln!(
                    "there is no class {NO_DEFECT}: this network can be evaluated, \
                     but not exported for the line"
                );
            }
            let classes = table.classes().len();
            let network = match recipe.arch {
                Architecture::Vit => {
                    let init = init.and_then(Initial::vit);
                    Network::Vit(self.network.vit(classes, recipe.pooling(), init)?)
                }
                Architecture::YoloClsN => Network::YoloCls(self.network.yolo_cls(classes)?),
                Architecture::Screen => {
                    Network::Screen(self.network.screen(init.and_then(Initial::screen))?)
                }
            };
            network.relabel(table);
            Ok((network, recipe.method(table)?))
        })?;
        downstream::check(&config).into_diagnostic()?;
        Ok(config)
    }
}
