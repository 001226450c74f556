//! `millsight preprocess`: an image as the network sees it.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use miette::{IntoDiagnostic, WrapErr};
use millsight_export::card::ElementType;
use millsight_export::output;
use millsight_export::preprocess::{self, Preprocessor};
use safetensors::tensor::{Dtype, TensorView};
use serde_json::json;

use super::ModelArguments;
use crate::station;

/// Turn an image into a model's input, exactly as the line does.
///
/// The image is made grey or three-channel, resized and normalised as the
/// model's card says, by the same code that prepares tiles beside the camera,
/// and written as a safetensors file. With it another program can feed the
/// network the very numbers that Millsight feeds it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  millsight preprocess tile.png --out tile.safetensors
  millsight preprocess tile.png --model timm.onnx --out tile.safetensors

In Python:
  from safetensors.numpy import load_file
  tile = load_file('tile.safetensors')['input']")]
pub struct Arguments {
    /// Image of any size (PNG, JPEG, TIFF, BMP).
    image: PathBuf,

    #[command(flatten)]
    model: ModelArguments,

    /// File to write: safetensors with the tensor `input`,
    /// [1, channels, height, width], u8 or f32 as the model takes it.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Writes the network input of an image.
pub fn preprocess(arguments: &Arguments, json: bool) -> miette::Result<ExitCode> {
    let model = station::load_model(
        arguments.model.model.as_deref(),
        arguments.model.sidecar.as_deref(),
    )
    .into_diagnostic()?;
    let image = preprocess::load_image(&arguments.image).into_diagnostic()?;
    let input = &model.card.input;
    let mut preprocessor = Preprocessor::new(input, &model.card.preprocessing);
    let elements = input.channels * input.height * input.width;
    let (dtype, bytes) = match input.element {
        ElementType::U8 => {
            let mut levels = vec![0; elements];
            preprocessor
                .prepare_u8(image.view(), &mut levels)
                .into_diagnostic()?;
            (Dtype::U8, levels)
        }
        ElementType::F32 => {
            let mut values = vec![0.0f32; elements];
            preprocessor
                .prepare_f32(image.view(), &mut values)
                .into_diagnostic()?;
            (
                Dtype::F32,
                values
                    .iter()
                    .flat_map(|value| value.to_le_bytes())
                    .collect(),
            )
        }
    };
    let shape = vec![1, input.channels, input.height, input.width];
    let tensor = TensorView::new(dtype, shape.clone(), &bytes).into_diagnostic()?;
    let file = safetensors::serialize([("input", tensor)], None).into_diagnostic()?;
    millsight_export::durable::replace_file(&arguments.out, &file)
        .into_diagnostic()
        .wrap_err_with(|| format!("cannot write {}", arguments.out.display()))?;
    let kind = if dtype == Dtype::U8 { "u8" } else { "f32" };
    if json {
        output::line(json!({"out": arguments.out, "shape": shape, "element": kind}))?;
    } else {
        output::line(format_args!(
            "{}: input {shape:?} {kind}",
            arguments.out.display()
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}
