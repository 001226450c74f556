//! `distance`.

use std::path::PathBuf;

use clap::Args;
use miette::IntoDiagnostic;
use millsight_export::distance::with_distance;
use millsight_export::model_file::ModelFile;
use millsight_export::output;
use serde_json::json;

use super::judged::TableArguments;

#[derive(Debug, Args)]
pub struct DistanceArguments {
    /// The ONNX file.
    model: PathBuf,

    #[command(flatten)]
    tiles: TableArguments,

    /// Tiles by which the spread of the training data is measured.
    #[arg(long, value_name = "TILES", default_value_t = 1024)]
    samples: usize,

    /// Model file to write; may be the same file.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

impl DistanceArguments {
    pub fn run(&self, as_json: bool) -> miette::Result<()> {
        let model = ModelFile::load(&self.model, None).into_diagnostic()?;
        let train = self.tiles.part("train", &model.card)?;
        let step = train.len().div_ceil(self.samples.max(1));
        let files = train.into_iter().step_by(step).map(|tile| tile.file);
        let files: Vec<PathBuf> = files.collect();
        let written = with_distance(&model, &files, &self.tiles.sha256()?).into_diagnostic()?;
        written.save(&self.out).into_diagnostic()?;
        let distance = &written.card.output.distance;
        if as_json {
            return Ok(output::line(json!({
                "model": self.out,
                "sha256": written.sha256,
                "distance": distance,
            }))?);
        }
        output::line(format_args!("written to {}", self.out.display()))?;
        if let Some(distance) = distance {
            output::line(format_args!("distance {distance}"))?;
        }
        Ok(())
    }
}
