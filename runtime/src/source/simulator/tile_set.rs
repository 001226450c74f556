//! Tiles written into class folders with their truth.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use image::ImageEncoder;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use millsight_export::durable;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::camera::CameraScratch;
use super::settings::SettingsError;
use super::tiles::{DrawnPiece, TILES_PER_PIECE, TileSetSettings, TileTruth};
use super::truth::CLASS_NAMES;

/// Name of the file that holds the truth of a set.
const TRUTH: &str = "truth.json";

/// What [`write_tiles`] wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TileSetSummary {
    /// Tiles written.
    pub tiles: usize,
    /// Pieces that they were cut from.
    pub pieces: usize,
    /// Tiles of each class.
    pub classes: BTreeMap<String, usize>,
}

/// Why a set of tiles could not be written.
#[derive(Debug, thiserror::Error)]
pub enum TileSetError {
    /// A setting cannot be used.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// A folder or file could not be written.
    #[error("cannot write {}: {source}; check that the folder is writable and the disk not full", path.display())]
    Write {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// There is a set, or a part of one, in the folder already.
    #[error("{} holds tiles already ({}), and tiles of two sets are not mixed; remove it or choose another --out", folder.display(), found.display())]
    Occupied {
        /// The folder.
        folder: PathBuf,
        /// What was found in it.
        found: PathBuf,
    },
    /// Someone asked to stop.
    #[error("stopped: {} holds part of a set, without {TRUTH}; remove it", folder.display())]
    Stopped {
        /// The folder.
        folder: PathBuf,
    },
    /// A tile could not be stored as PNG.
    #[error("cannot write the image {}: {source}", path.display())]
    Image {
        /// The file.
        path: PathBuf,
        /// What the encoder said.
        source: image::ImageError,
    },
    /// The truth could not be written.
    #[error("cannot write the truth {}: {source}", path.display())]
    Truth {
        /// The file.
        path: PathBuf,
        /// What the encoder said.
        source: serde_json::Error,
    },
}

#[derive(Serialize)]
struct SetTruth<'a> {
    settings: &'a TileSetSettings,
    classes: [&'static str; 5],
    tiles: &'a [TileTruth],
}

/// Writes `count` tiles as 8-bit grey PNG, 512 × 512 pixels or parts of that, into
/// `folder/<class>/<piece>_<row>_<column>.png` and their truth into
/// `folder/truth.json`. All tiles of a piece have its name before the first
/// underscore, so that a split can keep them together.
///
/// Each tile's class is drawn by the shares; its place and its piece by chance.
/// Tile number i depends on the settings alone, not on `count`. `progress` is
/// called with the number of tiles done, from several threads. When `stop` is
/// set, tiles that are begun are finished and no more are drawn.
///
/// A tile appears under its name when it is complete. The truth comes last and
/// is synced: a folder without it holds no complete set. The tiles themselves
/// are not synced one by one, which would take longer than drawing them; after
/// a power cut draw the set again.
///
/// # Errors
/// [`TileSetError`] naming the setting, the file that could not be written, or
/// what the folder holds already.
pub fn write_tiles(
    folder: &Path,
    count: usize,
    settings: &TileSetSettings,
    stop: &AtomicBool,
    progress: &(dyn Fn(usize) + Sync),
) -> Result<TileSetSummary, TileSetError> {
    settings.validate()?;
    if let Some(found) = occupied_by(folder) {
        return Err(TileSetError::Occupied {
            folder: folder.to_owned(),
            found,
        });
    }
    for class in CLASS_NAMES {
        let path = folder.join(class);
        fs::create_dir_all(&path).map_err(|source| TileSetError::Write { path, source })?;
    }
    let done = AtomicUsize::new(0);
    let pieces = count.div_ceil(TILES_PER_PIECE);
    let written: Vec<Vec<TileTruth>> = (0..pieces)
        .into_par_iter()
        .map(|piece| {
            let first = piece * TILES_PER_PIECE;
            let drawn = DrawnPiece::new(settings, piece);
            let mut scratch = CameraScratch::default();
            (first..count.min(first + TILES_PER_PIECE))
                .map(|index| {
                    if stop.load(Ordering::Relaxed) {
                        return Err(TileSetError::Stopped {
                            folder: folder.to_owned(),
                        });
                    }
                    let (truth, pixels) = drawn.tile(settings, index, &mut scratch);
                    save(&folder.join(&truth.file), settings.side, &pixels)?;
                    progress(done.fetch_add(1, Ordering::Relaxed) + 1);
                    Ok(truth)
                })
                .collect()
        })
        .collect::<Result<_, TileSetError>>()?;
    let tiles: Vec<TileTruth> = written.into_iter().flatten().collect();
    let mut classes: BTreeMap<String, usize> = CLASS_NAMES
        .iter()
        .map(|&name| (name.to_owned(), 0))
        .collect();
    for tile in &tiles {
        *classes.entry(tile.class.clone()).or_default() += 1;
    }
    save_truth(&folder.join(TRUTH), settings, &tiles)?;
    Ok(TileSetSummary {
        tiles: tiles.len(),
        pieces,
        classes,
    })
}

/// Draws tiles as [`write_tiles`] does, into memory: their levels, row by row.
///
/// # Errors
/// [`SettingsError`] naming a setting that cannot be used.
pub fn draw_tiles(count: usize, settings: &TileSetSettings) -> Result<Vec<Vec<u8>>, SettingsError> {
    settings.validate()?;
    let draw = |piece: usize| {
        let first = piece * TILES_PER_PIECE;
        let drawn = DrawnPiece::new(settings, piece);
        let mut scratch = CameraScratch::default();
        (first..count.min(first + TILES_PER_PIECE))
            .map(|index| drawn.tile(settings, index, &mut scratch).1)
            .collect::<Vec<_>>()
    };
    let pieces = (0..count.div_ceil(TILES_PER_PIECE)).into_par_iter();
    Ok(pieces.flat_map_iter(draw).collect())
}

/// The truth of a set or an entry of a class folder, if there is one.
fn occupied_by(folder: &Path) -> Option<PathBuf> {
    let truth = folder.join(TRUTH);
    if truth.exists() {
        return Some(truth);
    }
    CLASS_NAMES.iter().find_map(|class| {
        // A folder that cannot be listed cannot be written either; that is
        // reported when it is tried.
        let mut entries = fs::read_dir(folder.join(class)).ok()?;
        entries.next()?.ok().map(|entry| entry.path())
    })
}

/// Writes a tile, which appears under its name when it is complete.
fn save(path: &Path, side: usize, pixels: &[u8]) -> Result<(), TileSetError> {
    let mut png = Vec::new();
    let size = side as u32;
    PngEncoder::new_with_quality(&mut png, CompressionType::Fast, FilterType::Adaptive)
        .write_image(pixels, size, size, image::ExtendedColorType::L8)
        .map_err(|source| TileSetError::Image {
            path: path.to_owned(),
            source,
        })?;
    let write = || {
        let mut partial = durable::partial_beside(path)?;
        partial.write_all(&png)?;
        partial.persist(path).map_err(|refused| refused.error)
    };
    write().map(|_| ()).map_err(|source| TileSetError::Write {
        path: path.to_owned(),
        source,
    })
}

fn save_truth(
    path: &Path,
    settings: &TileSetSettings,
    tiles: &[TileTruth],
) -> Result<(), TileSetError> {
    let truth = SetTruth {
        settings,
        classes: CLASS_NAMES,
        tiles,
    };
    let json = serde_json::to_vec(&truth).map_err(|source| TileSetError::Truth {
        path: path.to_owned(),
        source,
    })?;
    durable::replace_file(path, &json).map_err(|source| TileSetError::Write {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests;
