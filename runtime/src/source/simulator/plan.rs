//! Decides, row of tiles by row of tiles, which features lie where on a piece.
//!
//! Each class has an account. Every row pays in the class's share of its
//! tiles; a defect that is placed draws as many tiles as come to carry its
//! label. So the shares of labelled tiles hold in the long run, whatever the
//! size of the defects, while the distance between defects stays random.

use std::collections::{HashMap, HashSet, VecDeque};

use super::TILE;
use super::confounder::Confounder;
use super::dice::Dice;
use super::feature::{
    Feature, Kind, TALLEST, anchor_columns, draw_severity, material_columns, sight,
};
use super::piece::Piece;
use super::settings::SimulatorSettings;
use super::stamp::Stamp;
use super::truth::{Counts, Defect, DefectClass, Sighting, TileCounts, TileLabel, TilePlace};

/// Places that are tried for one defect before it waits for the next row.
const ATTEMPTS: usize = 10;

/// The most tiles that an account may owe, so that shares which cannot be met
/// do not pile up.
const MOST_OWED: f64 = 40.0;

/// A feature of the plan. Its picture is not kept: some fill megabytes.
pub(super) struct Laid {
    pub(super) feature: Feature,
    /// Lines that its picture covers.
    pub(super) height: u64,
}

impl Laid {
    fn new(feature: Feature, stamp: &Stamp) -> Self {
        Self {
            feature,
            height: stamp.height as u64,
        }
    }

    /// The line after its last.
    pub(super) fn end(&self) -> u64 {
        self.feature.line + self.height
    }
}

/// The features of one piece, as far as it has been planned.
pub(super) struct Plan {
    dice: Dice,
    shares: [f64; 5],
    confounders_per_tile: f64,
    lines_per_metre: f64,
    millimetres_per_pixel: f64,
    end: u64,
    next_row: u64,
    owed: [f64; 4],
    trigger: [f64; 4],
    mean_tiles: [f64; 4],
    laid: VecDeque<Laid>,
    defects: VecDeque<Defect>,
    tiles: HashMap<TilePlace, TileCounts>,
    /// Tiles that over-exposure would blind for a defect.
    blinded: HashSet<TilePlace>,
    material: HashMap<u64, Vec<bool>>,
}

impl Plan {
    pub(super) fn new(settings: &SimulatorSettings) -> Self {
        let mut dice = Dice::new(settings.seed, &[0x914A]);
        let trigger = std::array::from_fn(|_| f64::from(dice.exponential()) * 1.5);
        Self {
            dice,
            shares: settings.class_shares.normalised(),
            confounders_per_tile: settings.confounders_per_tile,
            lines_per_metre: settings.lines_per_metre,
            millimetres_per_pixel: settings.millimetres_per_pixel,
            end: settings.total_lines().unwrap_or(u64::MAX),
            next_row: 0,
            owed: [0.0; 4],
            trigger,
            mean_tiles: [1.5; 4],
            laid: VecDeque::new(),
            defects: VecDeque::new(),
            tiles: HashMap::new(),
            blinded: HashSet::new(),
            material: HashMap::new(),
        }
    }

    /// Plans every row of tiles that begins before `line`.
    pub(super) fn extend(&mut self, piece: &Piece, line: u64) {
        let line = line.min(self.end);
        while self.next_row * (TILE as u64) < line {
            self.plan_row(piece);
        }
    }

    /// What lies on lines `first..until`, which must have been planned.
    pub(super) fn between(&self, first: u64, until: u64) -> impl Iterator<Item = &Laid> {
        let begin = self
            .laid
            .partition_point(|laid| laid.feature.line + TALLEST < first);
        let end = self.laid.partition_point(|laid| laid.feature.line < until);
        self.laid
            .range(begin..end.max(begin))
            .filter(move |laid| laid.end() > first)
    }

    /// Defects whose first line is before `line`, in the order of first lines.
    pub(super) fn defects_until(&self, line: u64) -> Vec<Defect> {
        let mut found: Vec<Defect> = self
            .defects
            .iter()
            .filter(|defect| defect.first_line < line)
            .cloned()
            .collect();
        found.sort_by_key(|defect| (defect.first_line, defect.first_pixel));
        found
    }

    /// Label of a tile whose row has been planned and not forgotten.
    pub(super) fn label(&self, row: u64, column: usize) -> TileLabel {
        let material = self.material.get(&row).and_then(|row| row.get(column));
        if material != Some(&true) {
            return TileLabel::Background;
        }
        self.tiles
            .get(&(row, column))
            .and_then(TileCounts::class)
            .map_or(TileLabel::NoDefect, TileLabel::Defect)
    }

    /// Drops everything that ends before `line`.
    pub(super) fn forget_before(&mut self, line: u64) {
        let row = line / TILE as u64;
        self.laid.retain(|laid| laid.end() > line);
        self.defects.retain(|defect| defect.last_line >= line);
        self.tiles.retain(|tile, _| tile.0 >= row);
        self.blinded.retain(|tile| tile.0 >= row);
        self.material.retain(|&material, _| material >= row);
    }

    fn plan_row(&mut self, piece: &Piece) {
        let row = self.next_row;
        let already = self.laid.len();
        let material = material_columns(piece, row);
        let tiles = material.iter().filter(|&&shown| shown).count() as f64;
        self.material.insert(row, material);
        let first_class = self.dice.index(4);
        for turn in 0..4 {
            let class = DefectClass::ALL[(first_class + turn) % 4];
            let index = class.index();
            let owed = self.owed[index] + self.shares[index + 1] * tiles;
            self.owed[index] = owed.min(MOST_OWED);
            while self.shares[index + 1] > 0.0 && self.owed[index] >= self.trigger[index] {
                let carried = f64::from(self.lay_defect(piece, row, class));
                if carried == 0.0 {
                    break;
                }
                self.owed[index] -= carried;
                self.mean_tiles[index] += 0.1 * (carried - self.mean_tiles[index]);
                self.trigger[index] = f64::from(self.dice.exponential()) * self.mean_tiles[index];
            }
        }
        let mut expected = self.confounders_per_tile * tiles;
        while expected > 0.0 {
            if self.dice.chance(expected as f32) {
                self.lay_confounder(piece, row);
            }
            expected -= 1.0;
        }
        self.laid
            .make_contiguous()
            .get_mut(already..)
            .unwrap_or_default()
            .sort_by_key(|laid| (laid.feature.line, laid.feature.seed));
        self.next_row += 1;
    }

    fn first_line(&mut self, row: u64) -> u64 {
        row * TILE as u64 + self.dice.index(TILE) as u64
    }

    /// Lays a defect that begins in a row of tiles; the number of tiles that
    /// come to carry its label, 0 where no place was found.
    fn lay_defect(&mut self, piece: &Piece, row: u64, class: DefectClass) -> u32 {
        let mut feature = Feature {
            kind: Kind::Defect(class),
            seed: self.dice.seed(),
            severity: draw_severity(&mut self.dice),
            line: 0,
            column: 0,
        };
        let stamp = feature.draw(piece);
        let (low, high) = anchor_columns(piece);
        for _ in 0..ATTEMPTS {
            feature.line = self.first_line(row);
            feature.column = self.dice.between(low, high) as i64;
            let sighting = sight(&feature.placed(&stamp), piece, self.end);
            if !self.is_free(&sighting.counts, class) {
                continue;
            }
            let (tiles, carried) = self.book(piece, &sighting, class);
            if carried == 0 {
                continue;
            }
            let defect = sighting.defect(
                class,
                feature.severity,
                self.lines_per_metre,
                self.millimetres_per_pixel,
            );
            if let Some(defect) = defect {
                self.tiles.extend(tiles);
                self.defects.push_back(defect);
                self.laid.push_back(Laid::new(feature, &stamp));
                return carried;
            }
        }
        0
    }

    /// Whether no tile in `counts` shows a defect of another class or is blinded.
    fn is_free(&self, counts: &Counts, class: DefectClass) -> bool {
        counts.keys().all(|tile| {
            let other = self
                .tiles
                .get(tile)
                .is_some_and(|tile| tile.shows_other_than(class));
            !other && !self.blinded.contains(tile)
        })
    }

    /// The tiles as they are with a further defect, and how many more of them
    /// carry its class than before.
    fn book(
        &self,
        piece: &Piece,
        sighting: &Sighting,
        class: DefectClass,
    ) -> (Vec<(TilePlace, TileCounts)>, u32) {
        let whole = sighting.counts.values().sum();
        let mut carried = 0;
        let tiles = sighting
            .counts
            .iter()
            .map(|(&tile, &visible)| {
                let before = self.tiles.get(&tile).copied().unwrap_or_default();
                let mut after = before;
                after.add(class, visible, whole);
                let shown = material_columns(piece, tile.0).get(tile.1) == Some(&true);
                if shown && before.class().is_none() && after.class().is_some() {
                    carried += 1;
                }
                (tile, after)
            })
            .collect();
        (tiles, carried)
    }

    fn lay_confounder(&mut self, piece: &Piece, row: u64) {
        let kind = Confounder::draw(&mut self.dice);
        let feature = Feature {
            kind: Kind::Confounder(kind),
            seed: self.dice.seed(),
            severity: 1.0,
            line: self.first_line(row),
            column: i64::from(kind.column(&mut self.dice, piece)),
        };
        let stamp = feature.draw(piece);
        let touched = sight(&feature.placed(&stamp), piece, self.end).counts;
        let hides = kind == Confounder::OverExposure;
        if touched.keys().any(|tile| self.tiles.contains_key(tile)) && hides {
            return;
        }
        if hides {
            self.blinded.extend(touched.keys().copied());
        }
        self.laid.push_back(Laid::new(feature, &stamp));
    }
}
