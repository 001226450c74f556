//! `convert-weights`.

use std::path::PathBuf;

use clap::Args;
use miette::{IntoDiagnostic, Result};
use millsight_export::output;
use millsight_trainer::weights::backbone::{Backbone, CLASSES, NETWORK, PREPROCESSING};
use millsight_trainer::weights::initialise;
use serde_json::json;

use super::network::largest;
use super::progress::report_adoption;

/// Write the network of a checkpoint as safetensors with timm's names.
///
/// FILE is whatever `train --init` takes: timm's weights (.safetensors or
/// .pth), checkpoints of MAE, DINO and DINOv2, DINOv2 with Hugging Face's
/// names, weights of a run, or a model file that was exported here. The result is what timm loads into its
/// VisionTransformer (`load_state_dict`, strict), half precision widened.
/// Whose names were recognised, what is missing, what was not needed and what
/// is unknown is said on standard error.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  millsight-train convert-weights mae_pretrain_vit_base.pth \\
    --out vit.safetensors
  millsight-train convert-weights dinov2.safetensors --out vit.safetensors \\
    --image-size 224")]
pub struct ConvertWeightsArgs {
    /// The file of weights.
    file: PathBuf,
    /// File to write.
    #[arg(short, long, value_name = "SAFETENSORS")]
    out: PathBuf,
    /// Resample the positions for square images of this side [default: they
    /// stay as they are].
    #[arg(long, value_name = "PIXELS")]
    image_size: Option<usize>,
    /// Print one line of JSON with the result.
    #[arg(long)]
    json: bool,
}

impl ConvertWeightsArgs {
    pub fn run(&self) -> Result<()> {
        let backbone = Backbone::open(&self.file).into_diagnostic()?;
        let sizes = &backbone.sizes;
        // Heads decide no shape: any number does where the file states none.
        let heads = sizes.heads.unwrap_or(1);
        let mut network = backbone
            .network(Some(heads), sizes.classes.unwrap_or(1))
            .into_diagnostic()?;
        let image = match (self.image_size, sizes.grid) {
            (Some(side), _) => [side, side],
            (None, Some(grid)) => grid.map(|patches| patches * sizes.patch),
            (None, None) => [network.image_height, network.image_width],
        };
        [network.image_height, network.image_width] = image;
        network.check().into_diagnostic()?;
        if let Some(side) = self.image_size {
            largest(side)?;
        }
        let (mut weights, adoption) =
            initialise::fit(&network, None, &backbone).into_diagnostic()?;
        if let Some(mut stated) = backbone.stated.clone() {
            [stated.image_height, stated.image_width] = image;
            let stated = serde_json::to_string(&stated).into_diagnostic()?;
            weights.metadata.insert(NETWORK.to_owned(), stated);
        }
        if let Some(preprocessing) = &backbone.preprocessing {
            let preprocessing = serde_json::to_string(preprocessing).into_diagnostic()?;
            let key = PREPROCESSING.to_owned();
            weights.metadata.insert(key, preprocessing);
        }
        if let Some(classes) = &backbone.classes {
            let classes = serde_json::to_string(classes).into_diagnostic()?;
            weights.metadata.insert(CLASSES.to_owned(), classes);
        }
        weights.save(&self.out).into_diagnostic()?;
        report_adoption("from", &self.file, &adoption);
        if self.json {
            output::line(json!({
                "weights": self.out,
                "arrays": weights.len(),
                "parameters": weights.parameters(),
                "adoption": adoption,
            }))?;
        } else {
            output::line(format_args!(
                "{}: {} arrays, {} parameters, patch {}, width {}, depth {}",
                self.out.display(),
                weights.len(),
                weights.parameters(),
                sizes.patch,
                sizes.width,
                sizes.depth
            ))?;
        }
        Ok(())
    }
}
