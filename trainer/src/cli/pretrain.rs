//! `pretrain`.

mod dino;
mod mae;

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use miette::{IntoDiagnostic, Result, WrapErr};
use millsight_export::graph::{Pooling, VitSpec};
use millsight_export::output;
use millsight_trainer::data::augment::Change;
use millsight_trainer::data::augment::words::{self, Word};
use millsight_trainer::machine::Machine;
use millsight_trainer::model::network::Network;
use millsight_trainer::model::precision::Precision;
use millsight_trainer::optimise::adamw::AdamWConfig;
use millsight_trainer::pretext;
use millsight_trainer::run::config::{Method, RunConfig};
use millsight_trainer::run::folder::RunFolder;
use millsight_trainer::training::Event;
use serde_json::json;

use super::configuration::{Asked, Initial};
use super::listed::Listed;
use super::machine::{SHARD_SIZE, TrainingMachineArgs};
use super::network::{Architecture, NetworkArgs};
use super::progress::TrainingProgress;

/// Pretrain a Vision Transformer on tiles, without their labels.
///
/// The run becomes a folder like that of `train`. What it is for is
/// backbone.safetensors, the network without a head and with timm's names,
/// with which `train --init` begins.
///
/// Tiles that nobody has labelled can take part: `index` wants them in a
/// sub-folder `unlabelled` beside those of the classes, or alone. Such a table
/// is for pretraining only.
#[derive(Debug, Args)]
#[command(
    subcommand_negates_reqs = true,
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  millsight-train pretrain mae steel/split.csv --out runs/mae
  millsight-train pretrain dino steel/split.csv --out runs/dino
  millsight-train pretrain --resume runs/mae
  millsight-train train steel/split.csv --out runs/tuned \\
    --init runs/mae/backbone.safetensors"
)]
pub struct PretrainArgs {
    #[command(subcommand)]
    method: Option<PretrainMethod>,
    /// Go on with an interrupted run, with the options that it began with; only
    /// those of the machine may be given anew.
    #[arg(long, value_name = "RUN", required = true)]
    resume: Option<PathBuf>,
    /// Print one line of JSON with the result.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    machine: TrainingMachineArgs,
}

#[derive(Debug, Subcommand)]
enum PretrainMethod {
    Mae(Box<mae::MaeArgs>),
    Dino(Box<dino::DinoArgs>),
}

impl PretrainArgs {
    pub fn run(&self) -> Result<()> {
        match (&self.method, &self.resume) {
            (Some(PretrainMethod::Mae(args)), _) => args.run(),
            (Some(PretrainMethod::Dino(args)), _) => args.run(),
            (None, Some(resume)) => {
                let machine = self.machine.machine();
                let (run, config) = RunFolder::open(resume).into_diagnostic()?;
                let devices = machine.device.open_all(config.precision);
                devices.into_diagnostic()?;
                go(&run, &config, machine, self.json)
            }
            // clap does not let this through.
            (None, None) => miette::bail!("a method or --resume is needed"),
        }
    }
}

/// Options of every method.
#[derive(Debug, Args)]
struct RunArgs {
    /// Table with the columns path, label and split; nothing is learnt from the
    /// labels.
    table: PathBuf,
    /// Folder to which the table's paths are relative [default: that of TABLE].
    #[arg(long, value_name = "FOLDER")]
    data_root: Option<PathBuf>,
    /// Folder of the new run.
    #[arg(short, long, value_name = "RUN")]
    out: PathBuf,
    /// Print one line of JSON with the result.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    network: NetworkArgs,
    #[command(flatten)]
    training: TrainingArgs,
    #[command(flatten)]
    machine: TrainingMachineArgs,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Recipe")]
struct TrainingArgs {
    /// Begin with the weights of this file, as `train --init` does.
    #[arg(long, value_name = "FILE")]
    init: Option<PathBuf>,
    /// Passes over the training part [default: that of the recipe].
    #[arg(long)]
    epochs: Option<usize>,
    /// Tiles in a step of the optimiser [default: that of the recipe].
    #[arg(long)]
    batch_size: Option<usize>,
    /// Random changes of each tile, separated by commas and made in this order;
    /// a number after a colon replaces the one that is told here.
    #[arg(long, value_name = "CHANGES", value_delimiter = ',',
          value_parser = Listed::<Word>::new(&words::WORDS))]
    augment: Vec<Word>,
    /// Seed of everything random.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Tiles that are computed at a time; the gradients of a batch accumulate
    /// over its shards [default: 4, on GPUs the batch divided among them].
    #[arg(long, value_name = "TILES")]
    shard_size: Option<usize>,
    /// Number format in which the network learns, `f32` or on a GPU `bf16`. Weights
    /// and their moments are kept in `f32`, and validation is computed in it.
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = "f32",
        hide_possible_values = true
    )]
    precision: Precision,
}

/// The recipe that is asked for, else the one that suits what the run begins
/// with.
fn recipe<R: ValueEnum>(given: Option<R>, init: bool, pretrained: R, scratch: R) -> Result<R> {
    let name = |recipe: &R| {
        let value = recipe.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    };
    match given {
        Some(given) if !init && name(&given) == name(&pretrained) => miette::bail!(
            "the recipe {} continues from pretrained weights; give them with --init FILE, or \
             take --recipe {}",
            name(&pretrained),
            name(&scratch)
        ),
        Some(given) => Ok(given),
        None if init => Ok(pretrained),
        None => Ok(scratch),
    }
}

/// What a recipe says of the options of every method.
struct Recipe {
    epochs: usize,
    batch_size: usize,
    optimiser: AdamWConfig,
}

impl RunArgs {
    /// Refuses devices that are not there, or lack what is asked of them.
    fn open_devices(&self) -> Result<()> {
        let device = self.machine.machine().device;
        let devices = device.open_all(self.training.precision);
        devices.map(|_| ()).into_diagnostic()
    }

    /// The random changes in their order.
    fn augmentations(&self) -> Result<Vec<Change>> {
        words::together(&self.training.augment)
            .map_err(|reason| miette::miette!("--augment: {reason}"))
    }

    /// The complete configuration, which has been checked; `method` is told the
    /// network's sizes.
    fn config(&self, recipe: Recipe, method: impl FnOnce(&VitSpec) -> Method) -> Result<RunConfig> {
        let training = &self.training;
        let batch_size = training.batch_size.unwrap_or(recipe.batch_size);
        let asked = Asked {
            table: &self.table,
            data_root: &self.data_root,
            network: &self.network,
            architecture: Architecture::Vit,
            init: training.init.as_deref(),
            epochs: training.epochs.unwrap_or(recipe.epochs),
            batch_size,
            optimiser: recipe.optimiser,
            seed: training.seed,
            shard_size: self.machine.computing.shard_size(
                training.shard_size,
                SHARD_SIZE,
                batch_size,
            ),
            precision: training.precision,
        };
        if let Some(option) = self.network.of_screen_alone() {
            miette::bail!("{option} is for `train --arch screen`");
        }
        let config = asked.config(|table, init| {
            let (classes, pooling) = (table.classes().len(), Some(Pooling::ClassToken));
            let network = self
                .network
                .vit(classes, pooling, init.and_then(Initial::vit))?;
            let method = method(&network);
            Ok((Network::Vit(network), method))
        })?;
        pretext::check(&config).into_diagnostic()?;
        Ok(config)
    }

    /// Makes the folder of a new run and trains.
    fn begin(&self, config: &RunConfig) -> Result<()> {
        let run = RunFolder::create(&self.out, config).into_diagnostic()?;
        go(&run, config, self.machine.machine(), self.json)
    }
}

/// Trains to the end of a run and says what came out.
fn go(run: &RunFolder, config: &RunConfig, machine: Machine, json: bool) -> Result<()> {
    let mut progress = TrainingProgress::new(config.epochs);
    let observe = |event: Event<'_>| progress.observe(event);
    pretext::train(run, config, machine, observe)
        .into_diagnostic()
        .wrap_err_with(|| format!("the run {} stopped", run.path().display()))?;
    let records = run.log().records().into_diagnostic()?;
    let backbone = run.backbone();
    let figures = records.last().map(|record| &record.figures);
    if json {
        output::line(json!({
            "run": run.path(),
            "epochs": records.len(),
            "backbone": backbone,
            "figures": figures,
        }))?;
    } else {
        let figure = |(name, spoken): (&str, &str)| {
            let value = figures.and_then(|figures| figures.get(name))?;
            Some(format!(", {spoken} {value:.4}"))
        };
        let shown = [
            ("val_loss", "validation loss"),
            ("knn_accuracy", "k-NN accuracy"),
        ];
        output::line(format_args!(
            "{} after {} epochs{}",
            backbone.display(),
            records.len(),
            shown.into_iter().filter_map(figure).collect::<String>()
        ))?;
    }
    Ok(())
}
