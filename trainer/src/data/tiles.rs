//! Decoded and prepared tiles, cached in memory.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use millsight_export::card::{ElementType, InputSpec, Preprocessing};
use millsight_export::preprocess::{Preprocessor, load_image};
use serde::{Deserialize, Serialize};

use super::DataError;
use super::table::Row;
use crate::model::network::Network;

/// How many channels a prepared tile has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Colour {
    /// One, the luminance.
    Grey,
    /// Red, green and blue.
    Rgb,
}

impl Colour {
    /// 1 or 3.
    pub fn channels(self) -> usize {
        match self {
            Self::Grey => 1,
            Self::Rgb => 3,
        }
    }

    /// Grey when the table says of every tile that it is grey.
    pub fn of(rows: &[Row]) -> Self {
        let grey = |row: &Row| matches!(row.mode.as_deref(), Some("1" | "L" | "LA" | "I;16"));
        if rows.iter().all(grey) {
            Self::Grey
        } else {
            Self::Rgb
        }
    }
}

/// The form in which tiles reach the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TileForm {
    /// Height and width in pixels after resizing.
    pub size: [usize; 2],
    /// Channels.
    pub colour: Colour,
}

impl TileForm {
    /// The form that a network takes.
    pub fn of(network: &Network, colour: Colour) -> Self {
        Self {
            size: network.image_size(),
            colour,
        }
    }

    /// Bytes of one prepared tile.
    pub fn bytes(self) -> usize {
        self.size[0] * self.size[1] * self.colour.channels()
    }
}

/// The tiles of one part of a table, prepared when they are asked for.
#[derive(Debug)]
pub struct Tiles {
    /// Paths as in the table.
    pub names: Vec<String>,
    /// Class index of each tile.
    pub labels: Vec<usize>,
    /// How the tiles are prepared.
    pub form: TileForm,
    files: Vec<PathBuf>,
    /// The first tiles, as many as the memory bound allows.
    cache: Vec<OnceLock<Box<[u8]>>>,
}

impl Tiles {
    /// The tiles of `rows` below `root`; nothing is read yet. At most
    /// `cache_bytes` of prepared tiles are kept in memory, the others are
    /// decoded each time.
    ///
    /// # Errors
    /// When a label is not among `classes`; `table` names it.
    pub fn new(
        rows: &[Row],
        classes: &[String],
        root: &Path,
        form: TileForm,
        cache_bytes: usize,
        table: &Path,
    ) -> Result<Self, DataError> {
        let labels = rows
            .iter()
            .map(|row| {
                classes
                    .iter()
                    .position(|class| *class == row.label)
                    .ok_or_else(|| DataError::UnknownLabel {
                        path: table.to_path_buf(),
                        label: row.label.clone(),
                        known: classes.to_vec(),
                    })
            })
            .collect::<Result<_, _>>()?;
        let cached = rows.len().min(cache_bytes / form.bytes().max(1));
        Ok(Self {
            names: rows.iter().map(|row| row.path.clone()).collect(),
            labels,
            form,
            files: rows.iter().map(|row| root.join(&row.path)).collect(),
            cache: (0..cached).map(|_| OnceLock::new()).collect(),
        })
    }

    /// The image file of each tile.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// Number of tiles.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether there is no tile.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Levels of one tile, `[channels, height, width]`.
    ///
    /// # Errors
    /// When the file is missing or cannot be decoded.
    pub fn tile(&self, number: usize) -> Result<Cow<'_, [u8]>, DataError> {
        let Some(slot) = self.cache.get(number) else {
            return Ok(Cow::Owned(self.prepare(number)?));
        };
        if let Some(tile) = slot.get() {
            return Ok(Cow::Borrowed(tile));
        }
        // Two threads may prepare the same tile; both get the same bytes.
        let tile = self.prepare(number)?.into_boxed_slice();
        Ok(Cow::Borrowed(slot.get_or_init(|| tile)))
    }

    fn prepare(&self, number: usize) -> Result<Vec<u8>, DataError> {
        prepare(&self.files[number], self.form)
    }
}

/// Reads an image and brings it to the network's form, by the code that the
/// runtime uses as well.
fn prepare(path: &Path, form: TileForm) -> Result<Vec<u8>, DataError> {
    let image = load_image(path)?;
    let input = InputSpec {
        name: String::new(),
        width: form.size[1],
        height: form.size[0],
        channels: form.colour.channels(),
        element: ElementType::U8,
    };
    // Levels do not depend on the normalisation.
    let mut preprocessor = Preprocessor::new(&input, &Preprocessing::imagenet());
    let mut levels = vec![0; preprocessor.output_len()];
    preprocessor
        .prepare_u8(image.view(), &mut levels)
        .map_err(|error| DataError::Image {
            path: path.to_path_buf(),
            reason: error.to_string(),
        })?;
    Ok(levels)
}
