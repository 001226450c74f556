//! Tiles with labels, and what a model file makes of them.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::card::{ElementType, ModelCard, NO_DEFECT};
use crate::engine::{Engine, EngineError};
use crate::model_file::ModelFile;
use crate::preprocess::{LoadImageError, PreprocessError, Preprocessor, load_image};
use crate::verify::ReferenceInput;

/// The class of every defect, to a screen.
pub const DEFECT: &str = "defect";

/// The label of tiles that nobody has labelled. They say nothing of a model.
pub const UNLABELLED: &str = "unlabelled";

/// Tiles that are prepared at a time.
const BATCH: usize = 32;

/// A tile with its label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelledTile {
    /// The image.
    pub file: PathBuf,
    /// Index of its class in the card.
    pub class: usize,
    /// Its label in the table; to a screen, which knows one class of defects, another
    /// than that of its class.
    pub kind: String,
}

/// The columns of a table that are needed here; the trainer writes it.
#[derive(Debug, Deserialize)]
struct Row {
    path: String,
    label: String,
    #[serde(default)]
    split: Option<String>,
}

/// Why labelled tiles are of no use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LabelledError {
    /// The table cannot be read.
    #[error("cannot read the table {}: {reason}; it needs the columns path, label and split", path.display())]
    Table {
        /// The table.
        path: PathBuf,
        /// What is wrong.
        reason: csv::Error,
    },
    /// There are no tiles.
    #[error("the table {} has no tiles in its {split} part", path.display())]
    NoTiles {
        /// The table.
        path: PathBuf,
        /// The part.
        split: String,
    },
    /// A label that is none of the model's classes.
    #[error("the table {} has the label {label:?}, but the model knows only {}", path.display(), known.join(", "))]
    UnknownLabel {
        /// The table.
        path: PathBuf,
        /// The label.
        label: String,
        /// The model's classes.
        known: Vec<String>,
    },
    /// A tile cannot be read.
    #[error(transparent)]
    Image(#[from] LoadImageError),
    /// A tile does not fit the model.
    #[error(transparent)]
    Prepare(#[from] PreprocessError),
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// The tiles with a label of one part of a table, whose paths are relative to `root`. To a
/// screen every defect is a [`DEFECT`].
///
/// # Errors
/// When the table cannot be read, has no such tiles or a label that the model
/// does not know.
pub fn read(
    table: &Path,
    root: &Path,
    split: &str,
    card: &ModelCard,
) -> Result<Vec<LabelledTile>, LabelledError> {
    let failed = |reason| LabelledError::Table {
        path: table.to_owned(),
        reason,
    };
    let mut reader = csv::Reader::from_path(table).map_err(failed)?;
    let is_screen = card.classes.iter().any(|class| class == DEFECT);
    let mut tiles = Vec::new();
    for row in reader.deserialize() {
        let row: Row = row.map_err(failed)?;
        if row.split.as_deref() != Some(split) || row.label == UNLABELLED {
            continue;
        }
        let class = match is_screen && row.label != NO_DEFECT {
            true => DEFECT,
            false => &row.label,
        };
        let class = card.classes.iter().position(|known| known == class);
        let class = class.ok_or_else(|| LabelledError::UnknownLabel {
            path: table.to_owned(),
            label: row.label.clone(),
            known: card.classes.clone(),
        })?;
        tiles.push(LabelledTile {
            file: root.join(&row.path),
            class,
            kind: row.label,
        });
    }
    if tiles.is_empty() {
        return Err(LabelledError::NoTiles {
            path: table.to_owned(),
            split: split.to_owned(),
        });
    }
    Ok(tiles)
}

/// Tiles as the runtime will prepare them, by what the card says.
///
/// # Errors
/// When a tile cannot be read or does not fit the model.
pub fn prepared<'a>(
    card: &ModelCard,
    files: impl ExactSizeIterator<Item = &'a Path>,
) -> Result<ReferenceInput, LabelledError> {
    let mut preprocessor = Preprocessor::new(&card.input, &card.preprocessing);
    let size = preprocessor.output_len();
    let count = files.len();
    match card.input.element {
        ElementType::U8 => {
            let mut levels = vec![0; count * size];
            for (file, levels) in files.zip(levels.chunks_exact_mut(size)) {
                preprocessor.prepare_u8(load_image(file)?.view(), levels)?;
            }
            Ok(ReferenceInput::U8(levels))
        }
        ElementType::F32 => {
            let mut values = vec![0.0; count * size];
            for (file, values) in files.zip(values.chunks_exact_mut(size)) {
                preprocessor.prepare_f32(load_image(file)?.view(), values)?;
            }
            Ok(ReferenceInput::F32(values))
        }
    }
}

/// What an engine that holds `model` says of image files, `[files, classes]`,
/// row-major.
///
/// # Errors
/// When a tile cannot be read or the engine fails.
pub fn scores(
    engine: &mut dyn Engine,
    model: &ModelFile,
    files: &[&Path],
) -> Result<Vec<f32>, LabelledError> {
    let (mut all, mut scores) = (Vec::new(), Vec::new());
    for files in files.chunks(BATCH) {
        let tiles = files.len();
        let input = prepared(&model.card, files.iter().copied())?;
        engine.run(input.batch(tiles, 0, tiles), tiles, &mut scores)?;
        all.extend_from_slice(&scores);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::engine::Embedded;
    use crate::graph::testing::{model_file, reproducible};
    use crate::graph::{InputForm, ScreenSpec, screen_classifier};

    fn screen() -> ModelFile {
        let spec = ScreenSpec {
            image_height: 16,
            image_width: 16,
            stem: 4,
            widths: vec![4, 4],
            classes: 2,
        };
        let form = InputForm::FoldedGrey {
            mean: [0.5; 3],
            std: [0.25; 3],
        };
        let graph = screen_classifier(&spec, &reproducible(&spec.parameters()), form).unwrap();
        model_file(graph, [16; 2], &[NO_DEFECT, DEFECT], form)
    }

    #[test]
    fn a_part_of_a_table_is_judged() {
        let folder = tempfile::tempdir().unwrap();
        for (name, level) in [("a.png", 10), ("b.png", 200), ("c.png", 90)] {
            let image = image::GrayImage::from_pixel(20, 20, image::Luma([level]));
            image.save(folder.path().join(name)).unwrap();
        }
        let table = folder.path().join("split.csv");
        let rows = "path,label,split\na.png,no_defect,val\nb.png,cracks,val\nc.png,pits,train\n\
                    c.png,unlabelled,val\n";
        std::fs::write(&table, rows).unwrap();
        let model = screen();
        let part = |split| read(&table, folder.path(), split, &model.card);
        let tiles = part("val").unwrap();
        let classes: Vec<usize> = tiles.iter().map(|tile| tile.class).collect();
        assert_eq!(classes, [0, 1]);
        let mut engine = Embedded::load(&model).unwrap();
        let kinds: Vec<&str> = tiles.iter().map(|tile| tile.kind.as_str()).collect();
        assert_eq!(kinds, ["no_defect", "cracks"]);
        let files: Vec<&Path> = tiles.iter().map(|tile| tile.file.as_path()).collect();
        let both = scores(&mut engine, &model, &files).unwrap();
        let second = scores(&mut engine, &model, &files[1..]).unwrap();
        assert_eq!(both.len(), 2 * 2);
        assert_eq!(both[2..], second);
        assert!(part("test").unwrap_err().to_string().contains("test part"));
        let mut other = model.card.clone();
        other.classes[1] = "overfill".into();
        let error = read(&table, folder.path(), "val", &other).unwrap_err();
        assert!(error.to_string().contains("\"cracks\""), "{error}");
    }
}
