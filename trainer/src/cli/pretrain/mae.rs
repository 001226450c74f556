//! `pretrain mae`.

use clap::Args;
use miette::{IntoDiagnostic, Result};
use millsight_trainer::data::augment::Change;
use millsight_trainer::model::mae::{DecoderSpec, is_of_decoder};
use millsight_trainer::optimise::schedule::Course;
use millsight_trainer::pretext::mae;
use millsight_trainer::pretext::mae::rate::LearningRate;
use millsight_trainer::pretext::masking::Masking;
use millsight_trainer::run::config::{MaeConfig, Method};

use super::{Recipe, RunArgs, recipe};
use crate::cli::configuration::elements;

/// Pretrain a masked autoencoder: it fills in patches that it does not see.
///
/// Most patches of a tile are removed; a Vision Transformer looks at the
/// others, and a smaller decoder predicts the pixels of those removed (He et
/// al., 2022). The decoder is left out of backbone.safetensors.
///
/// Positions are sines and cosines, or those of the file of --init; they are
/// not learnt.
///
/// Pictures show some tiles of the validation part, what the network sees of
/// them, and what it fills in (pictures/epoch-NNNN.png).
///
/// The recipes are the configurations that the thesis behind this program ended
/// with. Both take 50 epochs of batches of 32 at a constant learning rate of
/// 1.5e-4 with weight decay 0.05 and without random changes; mae-pretrained
/// removes 90 % of the patches at random and continues from weights that are
/// pretrained elsewhere (--init), mae-scratch removes 75 % in a grid. Options
/// that are given override the recipe.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  millsight-train pretrain mae steel/split.csv --out runs/mae
  millsight-train pretrain mae steel/split.csv --out runs/mae-90 \\
    --recipe mae-pretrained --init mae_pretrain_vit_base.safetensors \\
    --preset base
  millsight-train pretrain mae steel/split.csv --out runs/official \\
    --epochs 400 --batch-size 64 --masking random --normalise-patches \\
    --learning-rate 3.75e-5 --schedule cosine --warmup-epochs 40 \\
    --augment random-crop:0.2-1,flip-horizontal")]
pub struct MaeArgs {
    #[command(flatten)]
    run: RunArgs,
    #[command(flatten)]
    method: MethodArgs,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Masked autoencoder")]
struct MethodArgs {
    /// What is done where no option says otherwise [default: mae-pretrained
    /// with --init, else mae-scratch].
    #[arg(long)]
    recipe: Option<MaeRecipe>,
    /// Share of the patches that is removed, above 0 and below 1 [default: that
    /// of the recipe].
    #[arg(long, value_name = "SHARE")]
    mask_ratio: Option<f64>,
    /// Pattern of the removed patches [default: that of the recipe].
    #[arg(long)]
    masking: Option<Masking>,
    /// Compare with the pixels of each patch less their mean and divided by
    /// their deviation, instead of with the pixels (`norm_pix_loss`).
    #[arg(long)]
    normalise_patches: bool,
    /// Learning rate of AdamW, after the warm-up. The official code's 1.5e-4 is
    /// for a batch of 256 and scaled with it; it is not scaled here.
    #[arg(long, default_value_t = 1.5e-4)]
    learning_rate: f64,
    /// What the learning rate does after the warm-up.
    #[arg(long, default_value = "constant")]
    schedule: Course,
    /// Epochs in which the learning rate rises linearly from 0; fractions
    /// allowed.
    #[arg(long, default_value_t = 0.0)]
    warmup_epochs: f64,
    /// Learning rate at the end of the cosine [default: 0].
    #[arg(long)]
    final_learning_rate: Option<f64>,
    /// Decoupled weight decay; biases and norms are exempt.
    #[arg(long, default_value_t = 0.05)]
    weight_decay: f64,
    /// Length of a token of the decoder; a multiple of 4 and of its heads
    /// [default: two thirds of the width, in whole heads of 32].
    #[arg(long, value_name = "WIDTH")]
    decoder_width: Option<usize>,
    /// Blocks of the decoder. One block makes a step twice as fast and is as
    /// good for fine-tuning, but worse for probing (table 1 of the paper)
    /// [default: two thirds of the depth].
    #[arg(long, value_name = "DEPTH")]
    decoder_depth: Option<usize>,
    /// Attention heads of the decoder [default: its width in heads of 32 or
    /// slightly more].
    #[arg(long, value_name = "HEADS")]
    decoder_heads: Option<usize>,
    /// Epochs after which pictures are written, and after the last one; 0 for
    /// none.
    #[arg(long, value_name = "EPOCHS", default_value_t = 5)]
    picture_interval: usize,
}

/// A configuration that the thesis ended with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum MaeRecipe {
    /// From weights that are pretrained elsewhere: 90 % removed at random.
    MaePretrained,
    /// From nothing: 75 % removed in a grid.
    MaeScratch,
}

impl MaeRecipe {
    fn masking(self) -> (Masking, f64) {
        match self {
            Self::MaePretrained => (Masking::Random, 0.9),
            Self::MaeScratch => (Masking::Grid, 0.75),
        }
    }
}

impl MaeArgs {
    pub fn run(&self) -> Result<()> {
        // A missing GPU is reported before anything is read or written.
        self.run.open_devices()?;
        let recipe = recipe(
            self.method.recipe,
            self.run.training.init.is_some(),
            MaeRecipe::MaePretrained,
            MaeRecipe::MaeScratch,
        )?;
        let shared = Recipe {
            epochs: 50,
            batch_size: 32,
            optimiser: mae::optimiser(self.method.weight_decay),
        };
        if self.method.schedule == Course::Constant && self.method.final_learning_rate.is_some() {
            miette::bail!(
                "--final-learning-rate needs --schedule cosine: a constant rate has no end"
            );
        }
        let changes = self.run.augmentations()?;
        let config = self.run.config(shared, |network| {
            let decoder = DecoderSpec::proportional_to(network);
            Method::Mae(self.method.config(recipe, decoder, changes))
        })?;
        if let Method::Mae(recipe) = &config.method {
            let parameters = mae::spec(&config, recipe).into_diagnostic()?.parameters();
            let (decoder, encoder): (Vec<_>, Vec<_>) = parameters
                .into_iter()
                .partition(|(name, _)| is_of_decoder(name));
            eprintln!(
                "run {}: encoder of {} parameters, decoder of {}",
                self.run.out.display(),
                elements(encoder),
                elements(decoder)
            );
        }
        self.run.begin(&config)
    }
}

impl MethodArgs {
    fn config(
        &self,
        recipe: MaeRecipe,
        proportional: DecoderSpec,
        augmentations: Vec<Change>,
    ) -> MaeConfig {
        let (masking, mask_ratio) = recipe.masking();
        let width = self.decoder_width.unwrap_or(proportional.width);
        MaeConfig {
            decoder: DecoderSpec {
                width,
                depth: self.decoder_depth.unwrap_or(proportional.depth),
                heads: self.decoder_heads.unwrap_or_else(|| heads_of_32(width)),
            },
            masking: self.masking.unwrap_or(masking),
            mask_ratio: self.mask_ratio.unwrap_or(mask_ratio),
            normalise_patches: self.normalise_patches,
            learning_rate: LearningRate {
                base: self.learning_rate,
                course: self.schedule,
                last: self.final_learning_rate.unwrap_or_default(),
                warmup_epochs: self.warmup_epochs,
            },
            picture_interval: self.picture_interval,
            augmentations,
        }
    }
}

/// As many heads as a width divides into, of 32 channels or slightly more.
fn heads_of_32(width: usize) -> usize {
    let most = (width / 32).max(1);
    let divides = |heads: &usize| width.is_multiple_of(*heads);
    (1..=most).rev().find(divides).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_divide_the_width() {
        for (width, heads) in [(128, 4), (144, 4), (80, 2), (200, 5), (16, 1), (512, 16)] {
            assert_eq!(heads_of_32(width), heads, "{width}");
        }
    }
}
