//! Decoded tiles, cached in memory.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

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

/// The levels of one tile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Levels<'a> {
    /// `[channels, height, width]`.
    pub levels: Cow<'a, [u8]>,
    /// Height and width in pixels.
    pub size: [usize; 2],
}

impl Levels<'_> {
    fn borrowed(&self) -> Levels<'_> {
        Levels {
            levels: Cow::Borrowed(&self.levels),
            size: self.size,
        }
    }
}

/// The tiles of one part of a table, read when they are asked for.
#[derive(Debug)]
pub struct Tiles {
    /// Paths as in the table.
    pub names: Vec<String>,
    /// Class index of each tile.
    pub labels: Vec<usize>,
    /// In what form they reach the network.
    pub form: TileForm,
    files: Vec<PathBuf>,
    /// Whether they are given as large as they are stored.
    stored: bool,
    cache: Vec<OnceLock<Levels<'static>>>,
    /// Bytes that the cache may still take.
    room: AtomicUsize,
}

impl Tiles {
    /// The tiles of `rows` below `root`, as large as the network takes them;
    /// nothing is read yet. At most `cache_bytes` of levels are kept in memory,
    /// other tiles are decoded each time.
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
        Ok(Self {
            names: rows.iter().map(|row| row.path.clone()).collect(),
            labels,
            form,
            files: rows.iter().map(|row| root.join(&row.path)).collect(),
            stored: false,
            cache: rows.iter().map(|_| OnceLock::new()).collect(),
            room: AtomicUsize::new(cache_bytes),
        })
    }

    /// The same tiles as large as they are stored, so that a part which is cut
    /// out has all its pixels.
    pub fn stored(self) -> Self {
        Self {
            stored: true,
            ..self
        }
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

    /// One tile, of the network's size unless they are [`Tiles::stored`].
    ///
    /// # Errors
    /// When the file is missing or cannot be decoded.
    pub fn tile(&self, number: usize) -> Result<Levels<'_>, DataError> {
        let slot = &self.cache[number];
        if let Some(kept) = slot.get() {
            return Ok(kept.borrowed());
        }
        let size = (!self.stored).then_some(self.form.size);
        let tile = read(&self.files[number], size, self.form.colour)?;
        let bytes = tile.levels.len();
        let take = |room: usize| room.checked_sub(bytes);
        let order = Ordering::Relaxed;
        if self.room.fetch_update(order, order, take).is_err() {
            return Ok(tile);
        }
        // Two threads may read the same tile; both get the same bytes.
        let mut unused = bytes;
        let kept = slot.get_or_init(|| {
            unused = 0;
            tile
        });
        self.room.fetch_add(unused, order);
        Ok(kept.borrowed())
    }
}

/// Reads an image and brings it to the network's channels and to `size`, by
/// the code that the runtime uses as well; without a size it keeps its own.
fn read(
    path: &Path,
    size: Option<[usize; 2]>,
    colour: Colour,
) -> Result<Levels<'static>, DataError> {
    let image = load_image(path)?;
    let view = image.view();
    let size = size.unwrap_or([view.height(), view.width()]);
    let input = InputSpec {
        name: String::new(),
        width: size[1],
        height: size[0],
        channels: colour.channels(),
        element: ElementType::U8,
    };
    // Levels do not depend on the normalisation.
    let mut preprocessor = Preprocessor::new(&input, &Preprocessing::imagenet());
    let mut levels = vec![0; preprocessor.output_len()];
    preprocessor
        .prepare_u8(view, &mut levels)
        .map_err(|error| DataError::Image {
            path: path.to_path_buf(),
            reason: error.to_string(),
        })?;
    Ok(Levels {
        levels: Cow::Owned(levels),
        size,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::data::index;

    /// One stripe of each level, 1 pixel wide.
    fn striped(root: &Path) -> Vec<Row> {
        std::fs::create_dir(root.join("a")).unwrap();
        for tile in 0..3u8 {
            let stripes = image::GrayImage::from_fn(80, 60, |x, _| {
                image::Luma([if x % 2 == 0 { tile } else { 255 - tile }])
            });
            stripes.save(root.join(format!("a/{tile}.png"))).unwrap();
        }
        index::folder(root).unwrap().rows
    }

    fn tiles(root: &Path, rows: &[Row], cache_bytes: usize) -> Tiles {
        let form = TileForm {
            size: [20, 20],
            colour: Colour::Grey,
        };
        Tiles::new(rows, &["a".to_owned()], root, form, cache_bytes, root).unwrap()
    }

    #[test]
    fn stored_tiles_keep_their_size_and_pixels() {
        let root = tempfile::tempdir().unwrap();
        let rows = striped(root.path());
        let stored = tiles(root.path(), &rows, 1 << 20).stored();
        let tile = stored.tile(1).unwrap();
        assert_eq!(tile.size, [60, 80]);
        assert_eq!(tile.levels[..4], [1, 254, 1, 254]);
        let prepared = tiles(root.path(), &rows, 1 << 20);
        let tile = prepared.tile(1).unwrap();
        assert_eq!((tile.size, tile.levels.len()), ([20, 20], 400));
        assert!(tile.levels.iter().all(|level| (100..156).contains(level)));
    }

    #[test]
    fn the_cache_keeps_its_bound_and_changes_no_byte() {
        let root = tempfile::tempdir().unwrap();
        let rows = striped(root.path());
        let expected = tiles(root.path(), &rows, 0);
        let some = tiles(root.path(), &rows, 2 * 400 + 399);
        for _ in 0..2 {
            for number in [2, 0, 1] {
                assert_eq!(some.tile(number).unwrap(), expected.tile(number).unwrap());
            }
        }
        let kept = |tiles: &Tiles| -> Vec<bool> {
            tiles
                .cache
                .iter()
                .map(|slot| slot.get().is_some())
                .collect()
        };
        assert_eq!(kept(&some), [true, false, true]);
        assert_eq!(kept(&expected), [false; 3]);
    }
}
