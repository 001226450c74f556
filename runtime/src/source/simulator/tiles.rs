//! Tiles of many pieces, drawn with their truth.

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
use super::truth::{Defect, DefectClass, MINIMUM_MATERIAL, TileCounts, TileLabel, enough_visible};
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
    /// One of [`CLASS_NAMES`](super::CLASS_NAMES).
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

/// A piece that tiles are cut from.
pub(super) struct DrawnPiece {
    name: String,
    piece: Piece,
    lines_per_metre: f64,
    millimetres_per_pixel: f64,
}

impl DrawnPiece {
    /// Piece number `index` of a set.
    pub(super) fn new(settings: &TileSetSettings, index: usize) -> Self {
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
    pub(super) fn tile(
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
