//! Neighbouring tiles of a class are one defect.

use std::collections::HashMap;

use millsight_export::card::NO_DEFECT;
use millsight_firmware_config::TILE_SIZE;
use serde::Serialize;

use super::Finding;

/// A defect, of one tile or of several that touch each other.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Defect {
    /// From 1 on, from the head of the piece.
    pub number: usize,
    /// Its class; `None`: tiles that nobody has judged.
    pub class: Option<String>,
    /// Where it begins along the piece, metres.
    pub from_m: f64,
    /// Where it ends along the piece, metres.
    pub to_m: f64,
    /// Where it begins across, millimetres.
    pub from_mm: f64,
    /// Where it ends across, millimetres.
    pub to_mm: f64,
    /// The highest probability of its class among its tiles, where the model gave it
    /// that class.
    pub probability: Option<f64>,
    /// Its tiles, as the record numbers them.
    pub tiles: Vec<i64>,
    /// Those of them that people have confirmed or named.
    pub reviewed: usize,
}

/// The defects that tiles show. `findings` are in the order of their lines; tiles that
/// reviewers found clean are left out. Tiles touch each other at their sides and
/// corners, but not across lost lines.
pub(super) fn grouped(findings: &[Finding], tile_m: f64, tile_mm: f64) -> Vec<Defect> {
    let shown: Vec<&Finding> = findings
        .iter()
        .filter(|finding| finding.taken_for() != Some(NO_DEFECT))
        .collect();
    let places: HashMap<(i64, i64), usize> = shown
        .iter()
        .enumerate()
        .map(|(place, finding)| ((finding.first_line, finding.column), place))
        .collect();
    let lines = TILE_SIZE as i64;
    let mut is_taken = vec![false; shown.len()];
    let mut defects = Vec::new();
    for first in 0..shown.len() {
        if is_taken[first] {
            continue;
        }
        is_taken[first] = true;
        let class = shown[first].taken_for();
        let mut members = vec![first];
        let mut next = 0;
        while let Some(&place) = members.get(next) {
            next += 1;
            let Finding {
                first_line, column, ..
            } = shown[place];
            for line in [first_line - lines, *first_line, first_line + lines] {
                for side in [column - 1, *column, column + 1] {
                    if let Some(&touched) = places.get(&(line, side))
                        && !is_taken[touched]
                        && shown[touched].taken_for() == class
                    {
                        is_taken[touched] = true;
                        members.push(touched);
                    }
                }
            }
        }
        members.sort_unstable();
        let tiles: Vec<&Finding> = members.iter().map(|&place| shown[place]).collect();
        defects.push(defect(defects.len() + 1, class, &tiles, tile_m, tile_mm));
    }
    defects
}

fn defect(
    number: usize,
    class: Option<&str>,
    tiles: &[&Finding],
    tile_m: f64,
    tile_mm: f64,
) -> Defect {
    let along = || tiles.iter().map(|tile| tile.metres);
    let across = || tiles.iter().map(|tile| tile.millimetres);
    let as_judged = tiles.iter().filter(|tile| tile.class.as_deref() == class);
    Defect {
        number,
        class: class.map(str::to_owned),
        from_m: along().fold(f64::INFINITY, f64::min),
        to_m: along().fold(f64::NEG_INFINITY, f64::max) + tile_m,
        from_mm: across().fold(f64::INFINITY, f64::min) - tile_mm / 2.0,
        to_mm: across().fold(f64::NEG_INFINITY, f64::max) + tile_mm / 2.0,
        probability: as_judged
            .filter_map(|tile| tile.probability)
            .reduce(f64::max),
        tiles: tiles.iter().map(|tile| tile.tile).collect(),
        reviewed: tiles.iter().filter(|tile| tile.reviewed.is_some()).count(),
    }
}
