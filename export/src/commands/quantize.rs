//! `quantize`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use miette::{IntoDiagnostic, miette};
use millsight_export::card::Quantization;
use millsight_export::labelled;
use millsight_export::metrics::{self, Confusion, most_probable};
use millsight_export::model_file::ModelFile;
use millsight_export::output;
use millsight_export::quantize::{Clipping, Form, quantized};
use millsight_export::verify::ReferenceInput;
use serde_json::json;

use super::judged::{TileArguments, promise};

#[derive(Debug, Args)]
pub struct QuantizeArguments {
    /// The ONNX file.
    model: PathBuf,

    /// Card to use instead of the one inside the file or beside it.
    #[arg(long, value_name = "FILE")]
    sidecar: Option<PathBuf>,

    #[command(flatten)]
    tiles: TileArguments,

    /// Model file to write.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,

    /// What is computed in whole numbers.
    #[arg(long, value_enum, default_value_t = FormChoice::Static)]
    form: FormChoice,

    /// How much of the activations' range is kept.
    #[arg(long, value_enum, default_value_t = ClippingChoice::Percentile)]
    clipping: ClippingChoice,

    /// Share of the values that is kept with `--clipping percentile`, above 0.5
    /// and at most 1.
    #[arg(long, value_name = "SHARE", default_value_t = 0.9999, value_parser = percentile)]
    percentile: f64,

    /// Tiles from which ranges come.
    #[arg(long, value_name = "TILES", default_value_t = 256)]
    samples: usize,

    /// Balanced accuracy that may be lost, 0 to 1; if more is, nothing is
    /// written.
    #[arg(long, value_name = "SHARE", default_value_t = 0.005, value_parser = share)]
    tolerance: f64,
}

/// What is computed in whole numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FormChoice {
    /// Convolutions and linear layers, with ranges from tiles: for
    /// convolutional networks.
    Static,
    /// Linear layers, with ranges that are found in each run: for Vision
    /// Transformers on a CPU.
    Dynamic,
}

/// How much of the activations' range is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ClippingChoice {
    /// All of it.
    None,
    /// A share of the values.
    Percentile,
    /// As much as keeps the distribution most alike.
    Entropy,
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("a share from 0 to 1 is expected".to_owned()),
    }
}

fn percentile(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if share > 0.5 && share <= 1.0 => Ok(share),
        _ => Err("a share above 0.5 and at most 1 is expected, for example 0.9999".to_owned()),
    }
}

impl QuantizeArguments {
    pub fn run(&self, as_json: bool) -> miette::Result<()> {
        let model = ModelFile::load(&self.model, self.sidecar.as_deref()).into_diagnostic()?;
        let val = self.tiles.part("val", &model.card)?;
        let (form, clipping) = (self.form(), self.clipping());
        let (calibration, count) = match form {
            Form::Static => {
                let train = self.tiles.part("train", &model.card)?;
                let step = train.len().div_ceil(self.samples.max(1));
                let files: Vec<_> = train.iter().step_by(step).collect();
                let files = files.iter().map(|tile| tile.file.as_path());
                let count = files.len();
                let input = labelled::prepared(&model.card, files).into_diagnostic()?;
                (input, count)
            }
            Form::Dynamic => (ReferenceInput::U8(Vec::new()), 0),
        };
        let whole = quantized(&model, form, clipping, &calibration, count).into_diagnostic()?;
        let classes = &model.card.classes;
        let labels: Vec<usize> = val.iter().map(|tile| tile.class).collect();
        let confusion = |scores: &[f32]| {
            let predicted = most_probable(scores, classes.len());
            Confusion::of(classes.len(), &labels, &predicted)
        };
        let before = confusion(&self.tiles.scores(&model, &val)?.0).balanced_accuracy();
        let (whole_scores, engine) = self.tiles.scores(&whole, &val)?;
        let after_all = confusion(&whole_scores);
        let after = after_all.balanced_accuracy();
        if before - after > self.tolerance {
            return Err(miette!(
                help = "try --clipping entropy or none, more --samples, or --form dynamic",
                "balanced accuracy on {} tiles falls from {before:.4} to {after:.4}, by more than \
                 the tolerated {}; nothing was written",
                val.len(),
                self.tolerance
            ));
        }
        let mut card = whole.card.clone();
        card.provenance.parity = None;
        // What was true of the original need not be of this.
        card.provenance.metrics = metrics::named("val", classes, &after_all);
        if let Some(point) = &model.card.provenance.operating_point {
            promise(&mut card, &val, &whole_scores, point.miss_rate);
        }
        card.provenance.quantization = Some(Quantization {
            form: name_of(self.form),
            clipping: match form {
                Form::Static => name_of(self.clipping),
                Form::Dynamic => "none".into(),
            },
            calibration_tiles: count,
            original_sha256: model.sha256.clone(),
            engine,
            tiles: val.len(),
            balanced_accuracy_before: before,
            balanced_accuracy_after: after,
        });
        let written = whole.with_card(card).into_diagnostic()?;
        written.save(&self.out).into_diagnostic()?;
        if as_json {
            let quantization = &written.card.provenance.quantization;
            output::line(json!({
                "model": self.out,
                "sha256": written.sha256,
                "bytes": written.onnx.len(),
                "bytes_before": model.onnx.len(),
                "quantization": quantization,
            }))?;
        } else {
            output::line(format_args!(
                "{}: {} bytes instead of {}; balanced accuracy on {} tiles {after:.4} instead of \
                 {before:.4}",
                self.out.display(),
                written.onnx.len(),
                model.onnx.len(),
                val.len()
            ))?;
            if let Some(point) = &written.card.provenance.operating_point {
                let table = point.table(&written.card.thresholds);
                output::line(format_args!("\nthresholds, chosen anew:\n\n{table}"))?;
            }
        }
        Ok(())
    }

    fn form(&self) -> Form {
        match self.form {
            FormChoice::Static => Form::Static,
            FormChoice::Dynamic => Form::Dynamic,
        }
    }

    fn clipping(&self) -> Clipping {
        match self.clipping {
            ClippingChoice::None => Clipping::None,
            ClippingChoice::Percentile => Clipping::Percentile(self.percentile),
            ClippingChoice::Entropy => Clipping::Entropy,
        }
    }
}

/// The word of a choice on the command line.
fn name_of(choice: impl ValueEnum) -> String {
    let value = choice.to_possible_value();
    value.map_or_else(String::new, |value| value.get_name().to_owned())
}
