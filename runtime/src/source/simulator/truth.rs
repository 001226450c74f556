//! Ground truth: what lies where on a simulated piece, and which tile carries
//! which label.
//!
//! # The label rule
//!
//! 1. A pixel of a defect is *visible* where the defect changes the brightness
//!    by at least 30 % of its own strongest change (21 % at most), so that a faint
//!    defect counts as well as a strong one, and by [`MINIMUM_CHANGE`] grey levels
//!    in mean light, so that what lies in the dark does not count.
//! 2. A tile carries a class where it holds at least [`MINIMUM_VISIBLE`] visible
//!    pixels of defects of this class, or half of the visible pixels of one
//!    whole defect that is smaller than twice that.
//! 3. Where a tile carries several classes, the one with the most visible pixels
//!    is its label; where two have equally many, the earlier of cracks,
//!    overfill, scrap_mark, scrap_mark_ii.
//! 4. A tile without a class is `no_defect`, whatever harmless thing it shows.
//! 5. A tile of which the material covers less than [`MINIMUM_MATERIAL`] is
//!    `background` and carries no class.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::TILE;

/// Visible pixels that a tile must hold to carry the class of a defect; for a
/// defect with fewer than twice as many in all, half of its own.
pub const MINIMUM_VISIBLE: u32 = 240;

/// Grey levels by which a defect must change a pixel to be visible there.
pub const MINIMUM_CHANGE: f32 = 3.0;

/// Part of a tile's pixels that must show material, or else it is background.
pub const MINIMUM_MATERIAL: f32 = 0.04;

/// The five classes of a tile, in the order of the classifier's outputs.
pub const CLASS_NAMES: [&str; 5] = [
    "no_defect",
    "cracks",
    "scrap_mark",
    "overfill",
    "scrap_mark_ii",
];

/// A class of defect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DefectClass {
    /// Branching dark lines along the rolling direction.
    Cracks,
    /// Single marks of a foreign piece that was rolled in.
    ScrapMark,
    /// A bright fin of metal squeezed out of the roll gap.
    Overfill,
    /// Marks that repeat at a fixed distance.
    ScrapMarkIi,
}

impl DefectClass {
    /// All classes of defect, in the order of [`CLASS_NAMES`] without its first.
    pub const ALL: [Self; 4] = [
        Self::Cracks,
        Self::ScrapMark,
        Self::Overfill,
        Self::ScrapMarkIi,
    ];

    /// The name in [`CLASS_NAMES`].
    pub const fn name(self) -> &'static str {
        CLASS_NAMES[self.index() + 1]
    }

    pub(super) const fn index(self) -> usize {
        match self {
            Self::Cracks => 0,
            Self::ScrapMark => 1,
            Self::Overfill => 2,
            Self::ScrapMarkIi => 3,
        }
    }

    const fn priority(self) -> u8 {
        match self {
            Self::Cracks => 3,
            Self::Overfill => 2,
            Self::ScrapMark => 1,
            Self::ScrapMarkIi => 0,
        }
    }
}

/// The true label of a tile; see the [label rule](self#the-label-rule).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TileLabel {
    /// Less material than [`MINIMUM_MATERIAL`].
    Background,
    /// Material without a visible defect.
    NoDefect,
    /// Material with a defect of this class.
    Defect(DefectClass),
}

impl TileLabel {
    /// `background`, or one of [`CLASS_NAMES`].
    pub const fn name(self) -> &'static str {
        match self {
            Self::Background => "background",
            Self::NoDefect => CLASS_NAMES[0],
            Self::Defect(class) => class.name(),
        }
    }
}

/// One defect of a piece.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Defect {
    /// Its class.
    pub class: DefectClass,
    /// How clearly it shows: 0 is hardly visible, 1 is strong.
    pub severity: f32,
    /// First line.
    pub first_line: u64,
    /// Last line, inclusive.
    pub last_line: u64,
    /// Leftmost camera pixel.
    pub first_pixel: usize,
    /// Rightmost camera pixel, inclusive.
    pub last_pixel: usize,
    /// Distance of the first line from the head of the piece.
    pub metres: f64,
    /// Distance of the leftmost pixel from the left end of the camera line.
    pub millimetres: f64,
    /// Polygon around the visible pixels: (line, pixel) corners, not closed.
    pub outline: Vec<(u64, usize)>,
}

/// Visible pixels by which a defect of `whole` visible pixels gives its class
/// to an image that shows no other.
pub(super) fn enough_visible(whole: u32) -> u32 {
    whole.div_ceil(2).min(MINIMUM_VISIBLE)
}

/// Row and column of a tile on its piece.
pub(super) type TilePlace = (u64, usize);

/// Visible pixels of one defect, by tile.
pub(super) type Counts = HashMap<TilePlace, u32>;

/// Visible pixels of every class in one tile.
#[derive(Clone, Copy, Default)]
pub(super) struct TileCounts {
    visible: [u32; 4],
    carried: [bool; 4],
}

impl TileCounts {
    /// Adds `visible` pixels of a defect that has `whole` visible pixels in all.
    pub(super) fn add(&mut self, class: DefectClass, visible: u32, whole: u32) {
        let index = class.index();
        self.visible[index] += visible;
        self.carried[index] |= visible > 0
            && (self.visible[index] >= MINIMUM_VISIBLE || visible >= enough_visible(whole));
    }

    /// Whether a defect of another class shows at all.
    pub(super) fn shows_other_than(&self, class: DefectClass) -> bool {
        (0..4).any(|index| index != class.index() && self.visible[index] > 0)
    }

    /// The class that the tile carries by the rule.
    pub(super) fn class(&self) -> Option<DefectClass> {
        DefectClass::ALL
            .into_iter()
            .filter(|class| self.carried[class.index()])
            .max_by_key(|class| (self.visible[class.index()], class.priority()))
    }
}

/// Gathers the visible pixels of one defect: bounds, outline and tiles.
pub(super) struct Sighting {
    pub(super) counts: Counts,
    /// For each line with visible pixels: line, first and last pixel.
    spans: Vec<(u64, usize, usize)>,
}

impl Sighting {
    pub(super) fn new() -> Self {
        Self {
            counts: Counts::new(),
            spans: Vec::new(),
        }
    }

    /// Adds the visible pixels of the next line.
    pub(super) fn line(&mut self, line: u64, pixels: impl Iterator<Item = usize>) {
        let mut span: Option<(usize, usize)> = None;
        let mut tile = (usize::MAX, 0);
        let row = line / TILE as u64;
        for pixel in pixels {
            span = Some(span.map_or((pixel, pixel), |(first, _)| (first, pixel)));
            if pixel / TILE != tile.0 {
                self.count(row, tile);
                tile = (pixel / TILE, 0);
            }
            tile.1 += 1;
        }
        self.count(row, tile);
        if let Some((first, last)) = span {
            self.spans.push((line, first, last));
        }
    }

    fn count(&mut self, row: u64, (column, pixels): (usize, u32)) {
        if pixels > 0 {
            *self.counts.entry((row, column)).or_default() += pixels;
        }
    }

    /// The defect as the record of truth has it; `None` where nothing is visible.
    pub(super) fn defect(
        &self,
        class: DefectClass,
        severity: f32,
        lines_per_metre: f64,
        millimetres_per_pixel: f64,
    ) -> Option<Defect> {
        let (first_line, last_line) = (self.spans.first()?.0, self.spans.last()?.0);
        let first_pixel = self.spans.iter().map(|span| span.1).min()?;
        let last_pixel = self.spans.iter().map(|span| span.2).max()?;
        Some(Defect {
            class,
            severity,
            first_line,
            last_line,
            first_pixel,
            last_pixel,
            metres: first_line as f64 / lines_per_metre,
            millimetres: first_pixel as f64 * millimetres_per_pixel,
            outline: self.outline(),
        })
    }

    /// Left side downwards, then right side upwards, in at most 24 steps each.
    fn outline(&self) -> Vec<(u64, usize)> {
        let step = self.spans.len().div_ceil(24).max(1);
        let mut left = Vec::new();
        let mut right = Vec::new();
        for slab in self.spans.chunks(step) {
            let first = slab.iter().map(|span| span.1).min().unwrap_or_default();
            let last = slab.iter().map(|span| span.2).max().unwrap_or_default();
            let mut ends = vec![slab[0].0];
            if slab[slab.len() - 1].0 != slab[0].0 {
                ends.push(slab[slab.len() - 1].0);
            }
            for line in ends {
                left.push((line, first));
                right.push((line, last));
            }
        }
        right.reverse();
        left.extend(right);
        left
    }
}
