//! Which network, and what its tiles look like: options of several commands.

use std::path::Path;

use clap::Args;
use miette::{IntoDiagnostic, Result};
use millsight_export::card::{InputSpec, Preprocessing};
use millsight_export::graph::yolo_cls::STRIDE;
use millsight_export::graph::{Pooling, ScreenSpec, VitSpec, YoloClsSpec};
use millsight_trainer::data::statistics;
use millsight_trainer::data::table::{Split, Table};
use millsight_trainer::data::tiles::{Colour, TileForm, Tiles};
use millsight_trainer::model::presets::Preset;
use millsight_trainer::weights::backbone::Backbone;
use millsight_trainer::weights::screen::ScreenWeights;

use super::configuration::Initial;

/// Which kind of network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Architecture {
    /// A Vision Transformer.
    Vit,
    /// A convolutional network in the manner of YOLOv8-cls, size n, with 1.4
    /// million parameters: to compare with. It begins with random weights, and
    /// its image size is a multiple of 32.
    YoloClsN,
    /// A small convolutional network that tells only whether there is a defect,
    /// on the tile as the camera gives it: to look at every tile, so that a
    /// classifier need only look at the suspicious ones.
    Screen,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Network")]
pub struct NetworkArgs {
    /// Sizes to start from; the options below change them one by one [default:
    /// those of the file of --init, else tiny].
    #[arg(long)]
    preset: Option<Preset>,
    /// Side of the square input in pixels, to which tiles are resized.
    #[arg(long, value_name = "PIXELS")]
    image_size: Option<usize>,
    /// Side of a patch in pixels; divides the image size.
    #[arg(long, value_name = "PIXELS")]
    patch: Option<usize>,
    /// Length of a token; a multiple of the heads.
    #[arg(long)]
    width: Option<usize>,
    /// Number of blocks.
    #[arg(long)]
    depth: Option<usize>,
    /// Attention heads in each block.
    #[arg(long)]
    heads: Option<usize>,
    /// Hidden width of the MLP as a multiple of the width [default: 4].
    #[arg(long, value_name = "RATIO")]
    mlp_ratio: Option<f64>,
    /// Whether queries, keys and values have a bias [default: as in the file of
    /// --init, else true].
    #[arg(long)]
    qkv_bias: Option<bool>,
    /// Side of the first filters of a screen in pixels, and their stride
    /// [default: that of the file of --init, else 8].
    #[arg(long, value_name = "PIXELS")]
    stem: Option<usize>,
    /// Channels of a screen after its first filters and after each convolution
    /// that halves the image [default: those of the file of --init, else
    /// 16,32,48,64].
    #[arg(long, value_name = "CHANNELS", value_delimiter = ',')]
    widths: Vec<usize>,
    /// Scale what each block adds, beginning with this factor.
    #[arg(long, value_name = "FACTOR")]
    layer_scale: Option<f32>,
    /// Channels of the tiles [default: grey when the table's column `mode`
    /// says so of all tiles].
    #[arg(long)]
    colour: Option<Colour>,
    /// Mean and deviation with which levels are normalised [default: those that
    /// the file of --init learnt with, ImageNet's where it does not say; without
    /// --init those of the training part].
    #[arg(long)]
    normalisation: Option<Normalisation>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Normalisation {
    /// Of the training part: a network that starts from nothing learns sooner
    /// from faint contrasts.
    Data,
    /// Of ImageNet, with which the published weights of MAE, DINO and DINOv2
    /// have learnt.
    Imagenet,
    /// 0.5 of all levels, with which timm's weights named augreg have learnt.
    Inception,
}

/// Side of a tile of the line in pixels.
const TILE: usize = 512;

/// Difference of mean or deviation, in units of 0..1, that a network notices:
/// resizing alone changes them by less.
const NOTICEABLE: f32 = 0.01;

impl NetworkArgs {
    /// The convolutional network that is asked for.
    pub fn yolo_cls(&self, classes: usize) -> Result<YoloClsSpec> {
        let side = self.image_size.unwrap_or(224);
        if side == 0 || !side.is_multiple_of(STRIDE) {
            miette::bail!(
                "--image-size {side} is no multiple of {STRIDE}, as yolo-cls-n needs it: it \
                 halves the image five times"
            );
        }
        largest(side)?;
        Ok(YoloClsSpec {
            image_height: side,
            image_width: side,
            classes,
        })
    }

    /// The screen that is asked for; with `init` one that can begin with it.
    pub fn screen(&self, init: Option<&ScreenWeights>) -> Result<ScreenSpec> {
        let side = self.image_size.unwrap_or(TILE);
        largest(side)?;
        let (stem, widths) = match init {
            Some(init) => (init.network.stem, init.network.widths.clone()),
            None => (8, vec![16, 32, 48, 64]),
        };
        let spec = ScreenSpec {
            image_height: side,
            image_width: side,
            stem: self.stem.unwrap_or(stem),
            widths: match self.widths[..] {
                [] => widths,
                _ => self.widths.clone(),
            },
            classes: 2,
        };
        spec.check().into_diagnostic()?;
        if let Some(init) = init {
            init.check(&spec).into_diagnostic()?;
        }
        Ok(spec)
    }

    /// The first option that is given and means something to a screen alone.
    pub fn of_screen_alone(&self) -> Option<&'static str> {
        let options = [
            ("--stem", self.stem.is_some()),
            ("--widths", !self.widths.is_empty()),
        ];
        let given = options.into_iter().find(|(_, given)| *given);
        given.map(|(option, _)| option)
    }

    /// The first option that is given and means something to a Vision
    /// Transformer alone.
    pub fn of_vit_alone(&self) -> Option<&'static str> {
        let options = [
            ("--preset", self.preset.is_some()),
            ("--patch", self.patch.is_some()),
            ("--width", self.width.is_some()),
            ("--depth", self.depth.is_some()),
            ("--heads", self.heads.is_some()),
            ("--mlp-ratio", self.mlp_ratio.is_some()),
            ("--qkv-bias", self.qkv_bias.is_some()),
            ("--layer-scale", self.layer_scale.is_some()),
        ];
        let given = options.into_iter().find(|(_, given)| *given);
        given.map(|(option, _)| option)
    }

    /// The Vision Transformer that is asked for; with `init` one that can begin
    /// with it.
    pub fn vit(
        &self,
        classes: usize,
        pooling: Option<Pooling>,
        init: Option<&Backbone>,
    ) -> Result<VitSpec> {
        let base = match (self.preset, init) {
            (None, Some(init)) => init.network(self.heads, classes).into_diagnostic()?,
            (preset, _) => VitSpec {
                qkv_bias: init.is_none_or(|init| init.sizes.qkv_bias),
                ..preset.unwrap_or(Preset::Tiny).spec(classes)
            },
        };
        let qkv_bias = self.qkv_bias.unwrap_or(base.qkv_bias);
        let width = self.width.unwrap_or(base.width);
        let mlp_width = match self.mlp_ratio {
            Some(ratio) => (width as f64 * ratio) as usize,
            None => width * base.mlp_width / base.width,
        };
        let spec = VitSpec {
            image_height: self.image_size.unwrap_or(base.image_height),
            image_width: self.image_size.unwrap_or(base.image_width),
            patch: self.patch.unwrap_or(base.patch),
            width,
            depth: self.depth.unwrap_or(base.depth),
            heads: self.heads.unwrap_or(base.heads),
            mlp_width,
            qkv_bias,
            layer_scale: self.layer_scale.is_some() || base.layer_scale,
            pooling: pooling.unwrap_or(base.pooling),
            ..base
        };
        if let Some(init) = init {
            init.check(&spec).into_diagnostic()?;
            if self.heads.is_none() && init.sizes.heads.is_none() {
                eprintln!(
                    "{} does not say how many attention heads it has; {} are assumed (--heads)",
                    init.path.display(),
                    spec.heads
                );
            }
        }
        spec.check().into_diagnostic()?;
        largest(spec.image_height)?;
        Ok(spec)
    }

    /// Initial value of LayerScale.
    pub fn layer_scale(&self) -> f32 {
        self.layer_scale.unwrap_or(1.0)
    }

    /// Channels of the tiles of a table.
    pub fn colour(&self, table: &Table) -> Colour {
        self.colour.unwrap_or_else(|| Colour::of(&table.rows))
    }

    /// Normalisation of the tiles of a table: what is asked for, else what the
    /// weights have learnt with.
    pub fn preprocessing(
        &self,
        table: &Table,
        root: &Path,
        form: TileForm,
        init: Option<&Initial>,
    ) -> Result<Preprocessing> {
        let learnt = init.and_then(Initial::preprocessing);
        let asked = match (self.normalisation, init, learnt) {
            (Some(asked), ..) => asked,
            (None, _, Some(learnt)) => return Ok(learnt.clone()),
            (None, Some(init), None) => {
                eprintln!(
                    "{} does not say how its images were normalised; ImageNet's mean and \
                     deviation are assumed (--normalisation)",
                    init.path().display()
                );
                Normalisation::Imagenet
            }
            (None, None, None) => Normalisation::Data,
        };
        let preprocessing = match asked {
            Normalisation::Data => normalised_by_data(table, root, form)?,
            Normalisation::Imagenet => Preprocessing::imagenet(),
            Normalisation::Inception => Preprocessing::inception(),
        };
        if let (Some(init), Some(learnt)) = (init, learnt)
            && differ(learnt, &preprocessing)
        {
            eprintln!(
                "warning: {} has learnt with {}, and now gets {}; without --normalisation it keeps \
                 its own",
                init.path().display(),
                figures(learnt),
                figures(&preprocessing)
            );
        }
        Ok(preprocessing)
    }
}

/// Mean and deviation of the training part of a table.
fn normalised_by_data(table: &Table, root: &Path, form: TileForm) -> Result<Preprocessing> {
    let rows = table.part(Split::Train).into_diagnostic()?;
    let classes = table.classes();
    let tiles = Tiles::new(&rows, &classes, root, form, 0, &table.path).into_diagnostic()?;
    let (mean, std) = statistics::of(&tiles).into_diagnostic()?;
    Ok(Preprocessing {
        mean,
        std,
        ..Preprocessing::imagenet()
    })
}

fn differ(one: &Preprocessing, other: &Preprocessing) -> bool {
    let one = one.mean.iter().chain(&one.std);
    let mut pairs = one.zip(other.mean.iter().chain(&other.std));
    pairs.any(|(one, other)| (one - other).abs() > NOTICEABLE)
}

fn figures(preprocessing: &Preprocessing) -> String {
    let listed = |values: [f32; 3]| values.map(|value| format!("{value:.3}")).join(", ");
    format!(
        "mean {} and deviation {}",
        listed(preprocessing.mean),
        listed(preprocessing.std)
    )
}

/// Refuses images that are larger than a model file may take.
pub fn largest(side: usize) -> Result<()> {
    if side > InputSpec::LARGEST_SIDE {
        miette::bail!(
            "--image-size {side} is more than a model file may take: {} at most",
            InputSpec::LARGEST_SIDE
        );
    }
    Ok(())
}
