//! Labelled tiles, and what a model file says of them.

use std::path::{Path, PathBuf};

use clap::Args;
use miette::{IntoDiagnostic, WrapErr};
use millsight_export::card::ModelCard;
use millsight_export::engine::{EngineChoice, EngineRequest};
use millsight_export::labelled::{self, LabelledTile};
use millsight_export::model_file::ModelFile;
use millsight_export::operating::{self, Judged};
use sha2::{Digest, Sha256};

/// Labelled tiles.
#[derive(Debug, Args)]
pub struct TableArguments {
    /// Table of labelled tiles with the columns path, label and split, as
    /// `millsight-train split` writes it.
    #[arg(long, value_name = "CSV")]
    tiles: PathBuf,

    /// Folder to which the table's paths are relative; without it that of the
    /// table.
    #[arg(long, value_name = "FOLDER")]
    data_root: Option<PathBuf>,
}

impl TableArguments {
    /// The tiles of a part of the table, for the classes of a card.
    pub fn part(&self, split: &str, card: &ModelCard) -> miette::Result<Vec<LabelledTile>> {
        let root = match &self.data_root {
            Some(root) => root.as_path(),
            None => self.tiles.parent().unwrap_or(&self.tiles),
        };
        labelled::read(&self.tiles, root, split, card).into_diagnostic()
    }

    /// SHA-256 of the table, in lower-case hexadecimal.
    pub fn sha256(&self) -> miette::Result<String> {
        let bytes = std::fs::read(&self.tiles)
            .into_diagnostic()
            .wrap_err_with(|| format!("cannot read the table {}", self.tiles.display()))?;
        Ok(hex::encode(Sha256::digest(bytes)))
    }
}

/// Labelled tiles, and the engine that looks at them.
#[derive(Debug, Args)]
pub struct TileArguments {
    #[command(flatten)]
    table: TableArguments,

    /// What runs the model.
    #[arg(long, value_enum, default_value_t = EngineChoice::Auto)]
    engine: EngineChoice,

    /// ONNX Runtime's shared library, where it is not found by itself.
    #[arg(long, value_name = "FILE")]
    library: Option<PathBuf>,
}

impl TileArguments {
    /// The tiles of a part of the table, for the classes of a card.
    pub fn part(&self, split: &str, card: &ModelCard) -> miette::Result<Vec<LabelledTile>> {
        self.table.part(split, card)
    }

    /// What a model says of tiles, `[tiles, classes]`, and the engine's name.
    pub fn scores(
        &self,
        model: &ModelFile,
        tiles: &[LabelledTile],
    ) -> miette::Result<(Vec<f32>, String)> {
        let request = EngineRequest {
            choice: self.engine,
            library: self.library.clone(),
            ..EngineRequest::default()
        };
        let mut engine = super::start_engine(model, &request)?;
        let files: Vec<&Path> = tiles.iter().map(|tile| tile.file.as_path()).collect();
        let scores = labelled::scores(engine.as_mut(), model, &files).into_diagnostic()?;
        let identity = engine.identity();
        Ok((scores, format!("{} {}", identity.name, identity.version)))
    }
}

/// Puts thresholds for a miss rate into a card, chosen by what its model says of the
/// tiles of the val part. Nothing is changed where no class means "no defect".
pub fn promise(card: &mut ModelCard, val: &[LabelledTile], logits: &[f32], miss_rate: f64) {
    let labels: Vec<usize> = val.iter().map(|tile| tile.class).collect();
    let kinds: Vec<String> = val.iter().map(|tile| tile.kind.clone()).collect();
    let judged = Judged {
        classes: &card.classes,
        labels: &labels,
        kinds: &kinds,
        logits,
        split: "val",
    };
    if let Some(chosen) = operating::choose(judged, miss_rate) {
        card.thresholds = chosen.thresholds;
        card.calibration = Some(chosen.calibration);
        card.provenance.operating_point = Some(chosen.point);
    }
}
