//! Tiles of many pieces, written into class folders with their truth.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use image::ImageEncoder;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::TILE;
use super::camera::{CameraScratch, Placed, expose_line};
use super::confounder::Confounder;
use super::dice::{Dice, mix};
use super::feature::{
    Feature, Kind, anchor_columns, draw_severity, material_columns, sight, visible_pixels,
};
use super::piece::Piece;
use super::settings::{
    ClassShares, Material, SettingsError, SimulatorSettings, check_pixels_per_line,
};
use super::stamp::Stamp;
use super::truth::{
    CLASS_NAMES, Defect, DefectClass, MINIMUM_MATERIAL, TileCounts, TileLabel, enough_visible,
};
use super::window::Evidence;

/// Tiles that are taken from one piece.
pub const TILES_PER_PIECE: usize = 8;

/// Smallest side of the images: below it no defect shows enough of itself.
const SMALLEST_SIDE: usize = 64;

/// Part of the tiles that show a confounder.
const WITH_CONFOUNDER: f32 = 0.45;

/// Places that are tried for a defect in its tile.
const ATTEMPTS: usize = 160;

/// What a set of tiles is made of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TileSetSettings {
    /// Everything drawn depends on this number and on the other settings alone.
    pub seed: u64,
    /// The part of the tiles that each class gets.
    pub class_shares: ClassShares,
    /// The only material; all three in turn of chance where absent.
    pub material: Option<Material>,
    /// Camera line width that the tiles are cut from; a multiple of 512.
    pub pixels_per_line: usize,
    /// Side of the images, 64 to 512. Below 512 each is a part of a tile, at
    /// the same scale, that shows enough of the defect to carry its class.
    pub side: usize,
}

impl Default for TileSetSettings {
    fn default() -> Self {
        Self {
            seed: 1,
            class_shares: ClassShares::PLANT,
            material: None,
            pixels_per_line: 4_096,
            side: TILE,
        }
    }
}

impl TileSetSettings {
    /// Checks every value.
    ///
    /// # Errors
    /// [`SettingsError`] naming the first field out of range.
    pub fn validate(&self) -> Result<(), SettingsError> {
        check_pixels_per_line(self.pixels_per_line)?;
        if !(SMALLEST_SIDE..=TILE).contains(&self.side) {
            return Err(SettingsError::OutOfRange {
                field: "side".to_owned(),
                value: self.side.to_string(),
                allowed: format!("a number from {SMALLEST_SIDE} to {TILE}"),
            });
        }
        self.class_shares.validate()
    }
}

/// The truth about one tile of a set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TileTruth {
    /// Path below the set's folder: `<class>/<piece>_<row>_<column>.png`.
    pub file: String,
    /// One of [`CLASS_NAMES`].
    pub class: String,
    /// The piece it was cut from; tiles of one piece share surface and light.
    pub piece: String,
    /// The material of the piece.
    pub material: Material,
    /// Row of tiles on the piece.
    pub row: u64,
    /// Column of tiles on the piece.
    pub column: usize,
    /// First line and pixel of the image in its tile.
    pub offset: (usize, usize),
    /// The defect, if it carries one; lines and pixels are those of the piece.
    pub defect: Option<Defect>,
    /// Whether something harmless that resembles a defect was drawn near it.
    pub confounder: bool,
}

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
/// called with the number of tiles done, from several threads.
///
/// # Errors
/// [`TileSetError`] naming the setting, or the file that could not be written.
pub fn write_tiles(
    folder: &Path,
    count: usize,
    settings: &TileSetSettings,
    progress: &(dyn Fn(usize) + Sync),
) -> Result<TileSetSummary, TileSetError> {
    settings.validate()?;
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
    save_truth(&folder.join("truth.json"), settings, &tiles)?;
    Ok(TileSetSummary {
        tiles: tiles.len(),
        pieces,
        classes,
    })
}

fn save(path: &Path, side: usize, pixels: &[u8]) -> Result<(), TileSetError> {
    let file = File::create(path).map_err(|source| TileSetError::Write {
        path: path.to_owned(),
        source,
    })?;
    let side = side as u32;
    PngEncoder::new_with_quality(
        BufWriter::new(file),
        CompressionType::Fast,
        FilterType::Adaptive,
    )
    .write_image(pixels, side, side, image::ExtendedColorType::L8)
    .map_err(|source| TileSetError::Image {
        path: path.to_owned(),
        source,
    })
}

fn save_truth(
    path: &Path,
    settings: &TileSetSettings,
    tiles: &[TileTruth],
) -> Result<(), TileSetError> {
    let cannot_write = |source| TileSetError::Write {
        path: path.to_owned(),
        source,
    };
    let mut file = BufWriter::new(File::create(path).map_err(cannot_write)?);
    let truth = SetTruth {
        settings,
        classes: CLASS_NAMES,
        tiles,
    };
    serde_json::to_writer(&mut file, &truth).map_err(|source| TileSetError::Truth {
        path: path.to_owned(),
        source,
    })?;
    file.flush().map_err(cannot_write)
}

/// A piece that tiles are cut from.
struct DrawnPiece {
    name: String,
    piece: Piece,
    lines_per_metre: f64,
    millimetres_per_pixel: f64,
}

impl DrawnPiece {
    fn new(settings: &TileSetSettings, index: usize) -> Self {
        let seed = mix(settings.seed, &[0x71E5, index as u64]);
        let mut dice = Dice::new(seed, &[0]);
        let drawn = Material::ALL[dice.index(Material::ALL.len())];
        let material = settings.material.unwrap_or(drawn);
        let typical = SimulatorSettings::for_material(material);
        Self {
            name: format!("{}{index:06}", material.name()),
            piece: Piece::new(
                seed,
                material,
                settings.pixels_per_line,
                typical.line_rate_hz,
            ),
            lines_per_metre: typical.lines_per_metre,
            millimetres_per_pixel: typical.millimetres_per_pixel,
        }
    }

    /// Draws tile number `index` of the set: its truth and its pixels.
    fn tile(
        &self,
        settings: &TileSetSettings,
        index: usize,
        scratch: &mut CameraScratch,
    ) -> (TileTruth, Vec<u8>) {
        let mut dice = Dice::new(self.piece.seed, &[0x711E, index as u64]);
        let wanted = draw_class(&mut dice, &settings.class_shares);
        // Rows far enough apart that no two tiles of a piece are neighbours.
        let row = (100 * (index % TILES_PER_PIECE) + 1 + dice.index(98)) as u64;
        let shown: Vec<usize> = material_columns(&self.piece, row)
            .iter()
            .enumerate()
            .filter_map(|(column, &shown)| shown.then_some(column))
            .collect();
        let mut column = shown[dice.index(shown.len())];
        let mut drawn: Vec<(Feature, Stamp)> = Vec::new();
        let mut found = None;
        if let Some(class) = wanted {
            for _ in 0..6 {
                column = self.column_of_a_defect(&mut dice, row, &shown);
                if let Some((feature, stamp, defect)) = self.defect(&mut dice, class, row, column) {
                    drawn.push((feature, stamp));
                    found = Some(defect);
                    break;
                }
            }
        }
        let mut confounder = false;
        if dice.chance(WITH_CONFOUNDER) {
            let kind = Confounder::draw(&mut dice);
            // Over-exposure would hide the defect that the label promises.
            if found.is_none() || kind != Confounder::OverExposure {
                drawn.insert(0, self.confounder(&mut dice, kind, row, column));
                confounder = true;
            }
        }
        let placed: Vec<Placed> = drawn
            .iter()
            .map(|(feature, stamp)| feature.placed(stamp))
            .collect();
        let side = settings.side;
        let defect = drawn.last().filter(|_| found.is_some());
        let offset = self.window(&mut dice, defect, row, column, side);
        let first_pixel = column * TILE + offset.1;
        let mut pixels = vec![0; side * side];
        for (index, out) in pixels.chunks_exact_mut(side).enumerate() {
            let line = row * TILE as u64 + (offset.0 + index) as u64;
            expose_line(&self.piece, &placed, line, first_pixel, scratch, out);
        }
        let label = found
            .as_ref()
            .map_or(TileLabel::NoDefect, |defect: &Defect| {
                TileLabel::Defect(defect.class)
            });
        let class = label.name().to_owned();
        let truth = TileTruth {
            file: format!("{class}/{}_{row:04}_{column}.png", self.name),
            class,
            piece: self.name.clone(),
            material: self.piece.material,
            row,
            column,
            offset,
            defect: found,
            confounder,
        };
        (truth, pixels)
    }

    /// Where in its tile an image of `side` pixels lies: where enough of the
    /// defect shows, or without one enough of the material.
    fn window(
        &self,
        dice: &mut Dice,
        defect: Option<&(Feature, Stamp)>,
        row: u64,
        column: usize,
        side: usize,
    ) -> (usize, usize) {
        if side == TILE {
            return (0, 0);
        }
        let (top, left) = (row * TILE as u64, column * TILE);
        let mut evidence = Evidence::none();
        let Some((feature, stamp)) = defect else {
            for line in 0..TILE {
                let from = self.piece.left(top + line as u64);
                let material = from.max(0.0) as usize..(from + self.piece.width).max(0.0) as usize;
                let shown = material.start.max(left)..material.end.min(left + TILE);
                evidence.mark(line, shown.map(|pixel| pixel - left));
            }
            let needed = MINIMUM_MATERIAL * (side * side) as f32;
            return evidence.window(side, needed as u32, dice);
        };
        let placed = feature.placed(stamp);
        let mut whole = 0;
        for stamp_row in 0..stamp.height {
            let seen: Vec<usize> = visible_pixels(&placed, &self.piece, stamp_row).collect();
            whole += seen.len() as u32;
            let line = placed.line + stamp_row as u64;
            if (top..top + TILE as u64).contains(&line) {
                let inside = seen.into_iter().filter_map(|pixel| pixel.checked_sub(left));
                evidence.mark((line - top) as usize, inside);
            }
        }
        evidence.window(side, enough_visible(whole), dice)
    }

    /// A tile column, as often as a defect anywhere on the material falls into it.
    fn column_of_a_defect(&self, dice: &mut Dice, row: u64, shown: &[usize]) -> usize {
        let (low, high) = anchor_columns(&self.piece);
        let pixel = self.piece.left(row * TILE as u64) + dice.between(low, high);
        let column = (pixel.max(0.0) as usize) / TILE;
        if shown.contains(&column) {
            column
        } else {
            shown[dice.index(shown.len())]
        }
    }

    /// Finds a place for a defect such that the tile carries its class.
    fn defect(
        &self,
        dice: &mut Dice,
        class: DefectClass,
        row: u64,
        column: usize,
    ) -> Option<(Feature, Stamp, Defect)> {
        let (low, high) = anchor_columns(&self.piece);
        for _ in 0..ATTEMPTS / 8 {
            let mut feature = Feature {
                kind: Kind::Defect(class),
                seed: dice.seed(),
                severity: draw_severity(dice),
                line: 0,
                column: 0,
            };
            let stamp = feature.draw(&self.piece);
            for _ in 0..8 {
                (feature.line, feature.column) = self.near_tile(dice, &stamp, row, column);
                if !(low..high).contains(&(feature.column as f32)) {
                    continue;
                }
                let sighting = sight(&feature.placed(&stamp), &self.piece, u64::MAX);
                let whole = sighting.counts.values().sum();
                let visible = sighting.counts.get(&(row, column)).copied().unwrap_or(0);
                let mut tile = TileCounts::default();
                tile.add(class, visible, whole);
                if tile.class() != Some(class) {
                    continue;
                }
                let defect = sighting.defect(
                    class,
                    feature.severity,
                    self.lines_per_metre,
                    self.millimetres_per_pixel,
                );
                if let Some(defect) = defect {
                    return Some((feature, stamp, defect));
                }
            }
        }
        None
    }

    fn confounder(
        &self,
        dice: &mut Dice,
        kind: Confounder,
        row: u64,
        column: usize,
    ) -> (Feature, Stamp) {
        let mut feature = Feature {
            kind: Kind::Confounder(kind),
            seed: dice.seed(),
            severity: 1.0,
            line: 0,
            column: 0,
        };
        let stamp = feature.draw(&self.piece);
        (feature.line, feature.column) = self.near_tile(dice, &stamp, row, column);
        if kind == Confounder::EdgeShadow {
            feature.column = i64::from(kind.column(dice, &self.piece));
        }
        (feature, stamp)
    }

    /// Line and anchor column at which a stamp touches a tile.
    fn near_tile(&self, dice: &mut Dice, stamp: &Stamp, row: u64, column: usize) -> (u64, i64) {
        let top = (row * TILE as u64) as i64;
        let margin = 32;
        let lines = (stamp.height + TILE - 2 * margin).max(1);
        let line = top + margin as i64 - stamp.height as i64 + dice.index(lines) as i64;
        let columns = (stamp.width + TILE - 2 * margin).max(1);
        let pixel =
            (column * TILE + margin) as i64 - stamp.width as i64 + dice.index(columns) as i64;
        let left = self.piece.left(row * TILE as u64).round() as i64;
        (line.max(0) as u64, pixel - left - i64::from(stamp.left))
    }
}

fn draw_class(dice: &mut Dice, shares: &ClassShares) -> Option<DefectClass> {
    let mut left = f64::from(dice.unit());
    let shares = shares.normalised();
    for class in DefectClass::ALL {
        left -= shares[class.index() + 1];
        if left < 0.0 {
            return Some(class);
        }
    }
    None
}
