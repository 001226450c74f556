//! `pretrain dino`.

use clap::Args;
use miette::Result;
use millsight_export::graph::VitSpec;
use millsight_trainer::data::augment::Change;
use millsight_trainer::model::dino::HeadSpec;
use millsight_trainer::model::network::Network;
use millsight_trainer::pretext::dino;
use millsight_trainer::pretext::dino::config::DinoConfig;
use millsight_trainer::run::config::Method;

use super::{Recipe, RunArgs, recipe};
use crate::cli::configuration::elements;

/// Pretrain with DINO: a student predicts from parts of a tile what its
/// teacher sees in large parts of it.
///
/// The teacher is an average of the student's past, and it is what
/// backbone.safetensors holds (Caron et al., 2021).
///
/// Features are looked at between epochs: how well nearest neighbours in the
/// training part tell the classes of the validation part (knn_accuracy, the
/// only use of labels), and whether they collapse, which is said aloud. Tune by
/// the former: the loss says little.
///
/// The recipes are the configurations that the thesis behind this program ended
/// with: 15 epochs of batches of 32, learning rate 6.25e-5, weight decay 0.04
/// to 0.2, teacher temperature 0.04 to 0.05; dino-pretrained continues from
/// weights that are pretrained elsewhere (--init) with 4096 outputs and a
/// centre momentum of 0.9, dino-scratch has 8192 and 0.99. What the thesis does
/// not state is as in the official code, but for these: the teacher's
/// temperature rises, colour tiles are not turned grey at random, and without
/// --init the class token begins near 0, as timm's does, and the filters of
/// patches without a mean. Options that are given override the recipe.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  millsight-train pretrain dino steel/split.csv --out runs/dino
  millsight-train pretrain dino steel/split.csv --out runs/small \\
    --image-size 96 --local-crops 4 --epochs 30 --learning-rate 5e-4 \\
    --out-dim 1024 --head-hidden 512
  millsight-train pretrain dino steel/split.csv --out runs/continued \\
    --init dino_deitsmall16_pretrain.pth --preset small \\
    --normalisation imagenet")]
pub struct DinoArgs {
    #[command(flatten)]
    run: RunArgs,
    #[command(flatten)]
    method: MethodArgs,
    #[command(flatten)]
    crops: CropArgs,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "DINO")]
struct MethodArgs {
    /// What is done where no option says otherwise [default: dino-pretrained
    /// with --init, else dino-scratch].
    #[arg(long)]
    recipe: Option<DinoRecipe>,
    /// Outputs on which student and teacher are compared [default: that of the
    /// recipe].
    #[arg(long, value_name = "WIDTH")]
    out_dim: Option<usize>,
    /// Width of the hidden layers of the projection head.
    #[arg(long, value_name = "WIDTH", default_value_t = 2048)]
    head_hidden: usize,
    /// Width of the normalised layer of the projection head.
    #[arg(long, value_name = "WIDTH", default_value_t = 256)]
    head_bottleneck: usize,
    /// Let the lengths of the last layer's rows learn too: may do better, is
    /// less stable.
    #[arg(long)]
    no_norm_last_layer: bool,
    /// Epochs at the beginning in which the last layer does not learn.
    #[arg(long, value_name = "EPOCHS", default_value_t = 1)]
    frozen_last_layer_epochs: usize,
    /// Highest learning rate of AdamW. The official code's 5e-4 for a batch of
    /// 256, scaled to one of 32, is 6.25e-5; it is not scaled here.
    #[arg(long, default_value_t = 6.25e-5)]
    learning_rate: f64,
    /// Learning rate towards which the cosine runs.
    #[arg(long, default_value_t = 1e-6)]
    final_learning_rate: f64,
    /// Epochs in which the learning rate rises linearly from 0; fractions
    /// allowed [default: 10, at most two thirds of all].
    #[arg(long)]
    warmup_epochs: Option<f64>,
    /// Decoupled weight decay of the first step; biases and norms are exempt.
    #[arg(long, default_value_t = 0.04)]
    weight_decay: f64,
    /// Weight decay towards which the cosine runs.
    #[arg(long, default_value_t = 0.2)]
    final_weight_decay: f64,
    /// Largest norm of the gradient of each parameter; 0 for no limit.
    #[arg(long, default_value_t = 3.0)]
    clip_gradient_norm: f64,
    /// Rate at which the last block of the student is left out (stochastic
    /// depth), below 1; that of the blocks before it rises linearly from 0.
    #[arg(long, value_name = "RATE", default_value_t = 0.1)]
    drop_path: f64,
    /// Share of the teacher that the first step keeps; it rises to 1.
    #[arg(long, value_name = "SHARE", default_value_t = 0.996)]
    teacher_momentum: f64,
    /// Share of the centre of the teacher's outputs that a step keeps [default:
    /// that of the recipe].
    #[arg(long, value_name = "SHARE")]
    centre_momentum: Option<f64>,
    /// Temperature of the student's softmax.
    #[arg(long, default_value_t = 0.1)]
    student_temperature: f64,
    /// Temperature of the teacher's softmax in the first epoch.
    #[arg(long, default_value_t = 0.04)]
    first_teacher_temperature: f64,
    /// Temperature of the teacher's softmax after its warm-up. Lower it when
    /// features collapse.
    #[arg(long, default_value_t = 0.05)]
    teacher_temperature: f64,
    /// Epochs over which the teacher's temperature rises [default: 10, at most
    /// two thirds of all].
    #[arg(long, value_name = "EPOCHS")]
    temperature_warmup_epochs: Option<usize>,
    /// Epochs from one look at the features to the next. It takes as long as
    /// some thousand tiles take once through the network.
    #[arg(long, value_name = "EPOCHS", default_value_t = 1)]
    knn_every: usize,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Crops")]
struct CropArgs {
    /// Small crops of each tile, which only the student sees, besides the two
    /// large ones.
    #[arg(long, value_name = "N", default_value_t = 8)]
    local_crops: usize,
    /// Side of a small crop in pixels, a multiple of the patch [default: 3/7 of
    /// the image size].
    #[arg(long, value_name = "PIXELS")]
    local_size: Option<usize>,
    /// Least and largest share of the tile's area in a large crop.
    #[arg(long, value_name = "SHARES", value_parser = shares, default_value = "0.4,1")]
    global_scale: Shares,
    /// The same of a small crop.
    #[arg(long, value_name = "SHARES", value_parser = shares, default_value = "0.05,0.4")]
    local_scale: Shares,
}

/// Least and largest share.
type Shares = [f64; 2];

/// Two shares with a comma between them; one alone is both.
fn shares(text: &str) -> Result<Shares, String> {
    let numbers: Option<Vec<f64>> = text
        .split(',')
        .map(|share| share.trim().parse().ok())
        .collect();
    match numbers.as_deref() {
        Some(&[both]) => Ok([both, both]),
        Some(&[least, largest]) => Ok([least, largest]),
        _ => Err("the least and the largest share are expected, for example 0.4,1".to_owned()),
    }
}

/// A configuration that the thesis ended with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum DinoRecipe {
    /// From weights that are pretrained elsewhere.
    DinoPretrained,
    /// From nothing.
    DinoScratch,
}

impl DinoRecipe {
    /// Outputs, and share of the centre that a step keeps.
    fn outputs_and_centre(self) -> (usize, f64) {
        match self {
            Self::DinoPretrained => (4096, 0.9),
            Self::DinoScratch => (8192, 0.99),
        }
    }
}

const EPOCHS: usize = 15;

impl DinoArgs {
    pub fn run(&self) -> Result<()> {
        // A missing GPU is reported before anything is read or written.
        self.run.open_devices()?;
        let recipe = recipe(
            self.method.recipe,
            self.run.training.init.is_some(),
            DinoRecipe::DinoPretrained,
            DinoRecipe::DinoScratch,
        )?;
        let shared = Recipe {
            epochs: EPOCHS,
            batch_size: 32,
            optimiser: dino::optimiser(self.method.weight_decay),
        };
        let changes = self.run.augmentations()?;
        let config = self.run.config(shared, |network| {
            Method::Dino(self.config(recipe, network, changes))
        })?;
        if let (Network::Vit(network), Method::Dino(recipe)) = (&config.network, &config.method) {
            let backbone = elements(network.backbone().parameters());
            let head = elements(recipe.head.parameters(network.width));
            eprintln!(
                "run {}: backbone of {backbone} parameters, head of {head}",
                self.run.out.display(),
            );
        }
        self.run.begin(&config)
    }

    fn config(&self, recipe: DinoRecipe, network: &VitSpec, changes: Vec<Change>) -> DinoConfig {
        let (outputs, centre_momentum) = recipe.outputs_and_centre();
        let (method, crops) = (&self.method, &self.crops);
        let official = DinoConfig::official(network.image_height, network.patch);
        let epochs = self.run.training.epochs.unwrap_or(EPOCHS);
        let warmup = (2 * epochs / 3).min(10);
        DinoConfig {
            local_crops: crops.local_crops,
            local_size: crops.local_size.unwrap_or(official.local_size),
            global_scale: crops.global_scale,
            local_scale: crops.local_scale,
            augmentations: changes,
            head: HeadSpec {
                hidden: method.head_hidden,
                bottleneck: method.head_bottleneck,
                outputs: method.out_dim.unwrap_or(outputs),
                norm_last_layer: !method.no_norm_last_layer,
            },
            drop_path: method.drop_path,
            learning_rate: method.learning_rate,
            final_learning_rate: method.final_learning_rate,
            warmup_epochs: method.warmup_epochs.unwrap_or(warmup as f64),
            final_weight_decay: method.final_weight_decay,
            clip_gradient_norm: (method.clip_gradient_norm != 0.0)
                .then_some(method.clip_gradient_norm),
            frozen_last_layer_epochs: method.frozen_last_layer_epochs,
            teacher_momentum: method.teacher_momentum,
            centre_momentum: method.centre_momentum.unwrap_or(centre_momentum),
            student_temperature: method.student_temperature,
            first_teacher_temperature: method.first_teacher_temperature,
            teacher_temperature: method.teacher_temperature,
            temperature_warmup_epochs: method.temperature_warmup_epochs.unwrap_or(warmup),
            knn_every: method.knn_every,
        }
    }
}
