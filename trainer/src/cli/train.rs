//! `train`.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::{PossibleValue, TypedValueParser};
use miette::{IntoDiagnostic, Result, WrapErr};
use millsight_export::card::NO_DEFECT;
use millsight_export::graph::Pooling;
use millsight_export::output;
use millsight_trainer::data::augment::words::{self, Word};
use millsight_trainer::data::table::Table;
use millsight_trainer::data::tiles::TileForm;
use millsight_trainer::downstream::finetune;
use millsight_trainer::optimise::adamw::AdamWConfig;
use millsight_trainer::provenance;
use millsight_trainer::run::config::{
    ClassWeighting, FinetuneConfig, InitialWeights, Method, RunConfig,
};
use millsight_trainer::run::folder::RunFolder;
use millsight_trainer::weights::backbone::Backbone;
use serde_json::json;

use super::machine::MachineArgs;
use super::network::NetworkArgs;
use super::progress::TrainingProgress;

/// Train a Vision Transformer on labelled tiles.
///
/// TABLE is what `millsight-train split` wrote. The run becomes a folder: its
/// complete configuration (config.json), one line for each epoch (log.jsonl),
/// the checkpoint from which an interrupted run goes on (last.safetensors) and
/// the weights of the epoch with the best balanced accuracy on the validation
/// part (best.safetensors, with timm's names).
///
/// The same table, options and seed give the same bytes, with any number of
/// workers. A run that was killed goes on with `--resume RUN` as if nothing
/// had happened.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  millsight-train train steel/split.csv --out runs/first
  millsight-train train steel/split.csv --out runs/small \\
    --width 128 --depth 4 --heads 4 --epochs 16 --augment flips,brightness
  millsight-train train steel/split.csv --out runs/tuned \\
    --init runs/first/best.safetensors --learning-rate 5e-5
  millsight-train train steel/split.csv --out runs/dinov2 \\
    --init dinov2_vits14.safetensors --normalisation imagenet
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
    machine: MachineArgs,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Recipe")]
struct RecipeArgs {
    /// Pool the mean of the patch tokens instead of the class token.
    #[arg(long, help_heading = "Network")]
    mean_pooling: bool,
    /// Begin with the weights of this file: timm's (.safetensors or .pth), a
    /// checkpoint of MAE, DINO or DINOv2, DINOv2 with Hugging Face's names, or
    /// the best.safetensors or backbone.safetensors of another run. Positions
    /// are resampled to the image size as the file's own program does it; what
    /// is missing or unknown is listed.
    #[arg(long, value_name = "FILE")]
    init: Option<PathBuf>,
    /// Passes over the training part.
    #[arg(long, default_value_t = 50)]
    epochs: usize,
    /// Tiles in a step of the optimiser.
    #[arg(long, default_value_t = 32)]
    batch_size: usize,
    /// Highest learning rate of AdamW.
    #[arg(long, default_value_t = 5e-4)]
    learning_rate: f64,
    /// Learning rate at the end of the cosine.
    #[arg(long, default_value_t = 1e-6)]
    final_learning_rate: f64,
    /// Epochs in which the learning rate rises linearly; fractions allowed.
    #[arg(long, default_value_t = 2.0)]
    warmup_epochs: f64,
    /// Decoupled weight decay; biases, norms, class token and positions are
    /// exempt.
    #[arg(long, default_value_t = 0.05)]
    weight_decay: f64,
    /// Largest norm of the gradients of a step; 0 for no limit.
    #[arg(long, default_value_t = 1.0)]
    clip_gradient_norm: f64,
    /// Rate at which the last block is left out for a tile (stochastic depth),
    /// below 1; that of the blocks before it rises linearly from 0.
    #[arg(long, value_name = "RATE", default_value_t = 0.0)]
    drop_path: f64,
    /// Weights of the classes in the loss.
    #[arg(long, default_value = "inverse")]
    class_weights: ClassWeighting,
    /// Draw each class equally often; then `--class-weights none` fits.
    #[arg(long)]
    balanced_sampling: bool,
    /// Random changes of each tile, separated by commas and made in this order.
    /// A number after a colon replaces the one that is told here, as in
    /// `flips,noise:8,random-crop:0.6-1`.
    #[arg(long, value_name = "CHANGES", value_delimiter = ',', value_parser = ChangeParser)]
    augment: Vec<Word>,
    /// Seed of the initial weights, the order and the random changes.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Tiles that are computed at a time; the gradients of a batch accumulate
    /// over its shards. Small shards stay in the processor's cache, and shards
    /// bound the memory of a GPU [default: 4, on a GPU the whole batch].
    #[arg(long, value_name = "TILES")]
    shard_size: Option<usize>,
}

/// Reads a change; the list of its words is for help and completions.
#[derive(Debug, Clone)]
struct ChangeParser;

impl TypedValueParser for ChangeParser {
    type Value = Word;

    fn parse_ref(
        &self,
        command: &clap::Command,
        argument: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<Word, clap::Error> {
        let read = |text: &str| text.parse::<Word>();
        read.parse_ref(command, argument, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let values = words::WORDS.map(|(name, help)| PossibleValue::new(name).help(help));
        Some(Box::new(values.into_iter()))
    }
}

impl TrainArgs {
    pub fn run(&self) -> Result<()> {
        // A missing GPU is reported before anything is read or written.
        self.machine.machine().device.open().into_diagnostic()?;
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
        let parameters: usize = config
            .network
            .parameters()
            .iter()
            .map(|(_, shape)| shape.iter().product::<usize>())
            .sum();
        eprintln!(
            "run {}: {parameters} parameters, classes {}",
            run.path().display(),
            config.classes.join(", ")
        );
        let mut progress = TrainingProgress::new(config.epochs);
        let position = finetune::train(&run, &config, self.machine.machine(), |event| {
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
        let table = Table::read(path).into_diagnostic()?;
        let classes = table.classes();
        let init = self.recipe.init.as_deref();
        let init = init.map(Backbone::open).transpose().into_diagnostic()?;
        let pooling = self.recipe.mean_pooling.then_some(Pooling::Mean);
        let network = self.network.spec(classes.len(), pooling, init.as_ref())?;
        if !classes.iter().any(|class| class == NO_DEFECT) {
            eprintln!(
                "there is no class {NO_DEFECT}: this network can be evaluated, \
                 but not exported for the line"
            );
        }
        let root = super::absolute_data_root(&self.data_root, path)?;
        let colour = self.network.colour(&table);
        let form = TileForm::of(&network, colour);
        let recipe = &self.recipe;
        let augmentations = words::together(&recipe.augment)
            .map_err(|reason| miette::miette!("--augment: {reason}"))?;
        Ok(RunConfig {
            network,
            layer_scale: self.network.layer_scale(),
            colour,
            classes,
            preprocessing: self.network.preprocessing(&table, &root, form)?,
            table: super::absolute(path)?,
            table_sha256: table.sha256,
            data_root: root,
            initial_weights: recipe
                .init
                .as_deref()
                .map(|file| InitialWeights::of(&super::absolute(file)?).into_diagnostic())
                .transpose()?,
            epochs: recipe.epochs,
            batch_size: recipe.batch_size,
            optimiser: AdamWConfig {
                weight_decay: recipe.weight_decay,
                ..AdamWConfig::default()
            },
            method: Method::Finetune(FinetuneConfig {
                learning_rate: recipe.learning_rate,
                final_learning_rate: recipe.final_learning_rate,
                warmup_epochs: recipe.warmup_epochs,
                clip_gradient_norm: (recipe.clip_gradient_norm != 0.0)
                    .then_some(recipe.clip_gradient_norm),
                drop_path: recipe.drop_path,
                class_weighting: recipe.class_weights,
                balanced_sampling: recipe.balanced_sampling,
                augmentations,
            }),
            seed: recipe.seed,
            shard_size: recipe
                .shard_size
                .unwrap_or(self.machine.shard_size(recipe.batch_size)),
            git_revision: provenance::git_revision(),
            command: provenance::command_line(std::env::args()),
        })
    }
}
