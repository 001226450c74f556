//! A defect or a confounder at its place on a piece.

use super::TILE;
use super::camera::Placed;
use super::confounder::{self, Confounder};
use super::crack;
use super::dice::Dice;
use super::mark;
use super::overfill;
use super::piece::Piece;
use super::settings::Material;
use super::stamp::Stamp;
use super::truth::{DefectClass, MINIMUM_CHANGE, MINIMUM_MATERIAL, Sighting};

/// What a feature is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Defect(DefectClass),
    Confounder(Confounder),
}

/// No stamp is taller than this many lines.
pub(super) const TALLEST: u64 = 4_096;

/// A feature at its place. Its picture follows from `kind`, `seed` and
/// `severity`, so it can be dropped and drawn again.
#[derive(Clone, Debug)]
pub(super) struct Feature {
    pub(super) kind: Kind,
    pub(super) seed: u64,
    pub(super) severity: f32,
    /// Camera line of its first row.
    pub(super) line: u64,
    /// Material column of its anchor.
    pub(super) column: i64,
}

impl Feature {
    /// Draws its picture.
    pub(super) fn draw(&self, piece: &Piece) -> Stamp {
        draw(self.kind, self.seed, self.severity, piece)
    }

    pub(super) fn placed<'a>(&self, stamp: &'a Stamp) -> Placed<'a> {
        Placed {
            line: self.line,
            column: self.column + i64::from(stamp.left),
            stamp,
        }
    }
}

/// Draws the picture of a feature.
pub(super) fn draw(kind: Kind, seed: u64, severity: f32, piece: &Piece) -> Stamp {
    let mut dice = Dice::new(seed, &[0xFEA7]);
    match kind {
        Kind::Defect(DefectClass::Cracks) => crack::draw(&mut dice, severity, piece),
        Kind::Defect(DefectClass::ScrapMark) => mark::single(&mut dice, severity, piece),
        Kind::Defect(DefectClass::ScrapMarkIi) => mark::chain(&mut dice, severity, piece),
        Kind::Defect(DefectClass::Overfill) => overfill::draw(&mut dice, severity, piece),
        Kind::Confounder(kind) => confounder::draw(kind, &mut dice, piece),
    }
}

/// Severity of a defect: mostly clear, one in eight faint.
pub(super) fn draw_severity(dice: &mut Dice) -> f32 {
    if dice.chance(0.125) {
        dice.between(0.04, 0.36)
    } else {
        dice.between(0.36, 1.0)
    }
}

/// Material columns in which the anchor of a defect may lie.
pub(super) fn anchor_columns(piece: &Piece) -> (f32, f32) {
    let margin = match piece.material {
        Material::Strip => 0.015,
        Material::Rod | Material::Wire => 0.09,
    };
    (piece.width * margin, piece.width * (1.0 - margin))
}

/// Finds what of a placed stamp the camera sees. Lines from `end` on and
/// columns beside the material or the camera line do not count.
pub(super) fn sight(placed: &Placed, piece: &Piece, end: u64) -> Sighting {
    let mut sighting = Sighting::new();
    for row in 0..placed.stamp.height {
        let line = placed.line + row as u64;
        if line >= end {
            break;
        }
        sighting.line(line, visible_pixels(placed, piece, row));
    }
    sighting
}

/// Camera pixels at which the camera sees a row of a placed stamp.
pub(super) fn visible_pixels(
    placed: &Placed,
    piece: &Piece,
    row: usize,
) -> impl Iterator<Item = usize> {
    let width = piece.profile.len() as i64;
    let left = piece.left(placed.line + row as u64).round() as i64;
    placed
        .stamp
        .row(row)
        .iter()
        .enumerate()
        .filter(|(_, delta)| delta.abs() >= placed.stamp.visible_from)
        .map(|(index, delta)| (placed.column + index as i64, delta.abs()))
        .filter(move |(column, _)| (0..width).contains(column))
        .filter(|&(column, delta)| {
            delta * piece.level * piece.profile[column as usize] >= MINIMUM_CHANGE
        })
        .map(move |(column, _)| column + left)
        .filter(|pixel| (0..piece.pixels as i64).contains(pixel))
        .map(|pixel| pixel as usize)
}

/// For each tile column of a row of tiles, whether it shows enough material.
pub(super) fn material_columns(piece: &Piece, row: u64) -> Vec<bool> {
    const SAMPLES: u64 = 16;
    let mut covered = vec![0.0f32; piece.pixels / TILE];
    for sample in 0..SAMPLES {
        let line = row * TILE as u64 + sample * TILE as u64 / SAMPLES;
        let left = piece.left(line);
        let right = left + piece.width;
        for (column, covered) in covered.iter_mut().enumerate() {
            let (from, until) = ((column * TILE) as f32, ((column + 1) * TILE) as f32);
            *covered += (right.min(until) - left.max(from)).max(0.0);
        }
    }
    let enough = MINIMUM_MATERIAL * TILE as f32 * SAMPLES as f32;
    covered.iter().map(|&pixels| pixels >= enough).collect()
}
