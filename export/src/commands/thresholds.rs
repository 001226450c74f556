//! `thresholds`.

use std::path::PathBuf;

use clap::Args;
use miette::{IntoDiagnostic, miette};
use millsight_export::card::{NO_DEFECT, OutputKind};
use millsight_export::model_file::ModelFile;
use millsight_export::output;
use serde_json::json;

use super::judged::{TileArguments, promise};

#[derive(Debug, Args)]
pub struct ThresholdsArguments {
    /// The ONNX file.
    model: PathBuf,

    #[command(flatten)]
    tiles: TileArguments,

    /// Share of the defects of each class that may be missed, above 0 and below
    /// 1.
    #[arg(long, value_name = "SHARE", value_parser = miss_rate)]
    miss_rate: f64,

    /// Model file to write; may be the same file.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

fn miss_rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if share > 0.0 && share < 1.0 => Ok(share),
        _ => Err("a share above 0 and below 1 is expected, for example 0.01".to_owned()),
    }
}

impl ThresholdsArguments {
    pub fn run(&self, as_json: bool) -> miette::Result<()> {
        let model = ModelFile::load(&self.model, None).into_diagnostic()?;
        let name = self.model.display();
        if model.card.output.kind != OutputKind::Logits {
            return Err(miette!(
                "{name} gives probabilities; thresholds are chosen for models that give logits"
            ));
        }
        if !model.card.classes.iter().any(|class| class == NO_DEFECT) {
            return Err(miette!(
                "{name} has no class `{NO_DEFECT}`, so that nothing of it is missed"
            ));
        }
        let val = self.tiles.part("val", &model.card)?;
        let (logits, engine) = self.tiles.scores(&model, &val)?;
        let mut card = model.card.clone();
        promise(&mut card, &val, &logits, self.miss_rate);
        let written = model.with_card(card).into_diagnostic()?;
        written.save(&self.out).into_diagnostic()?;
        let point = &written.card.provenance.operating_point;
        if as_json {
            return Ok(output::line(json!({
                "model": self.out,
                "sha256": written.sha256,
                "engine": engine,
                "thresholds": written.card.thresholds,
                "operating_point": point,
            }))?);
        }
        output::line(format_args!("written to {}", self.out.display()))?;
        if let Some(point) = point {
            let table = point.table(&written.card.thresholds);
            output::line(format_args!("\n{table}"))?;
        }
        Ok(())
    }
}
