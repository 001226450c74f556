//! What can be chosen about a simulated piece, and the limits of each choice.

use serde::{Deserialize, Serialize};

use super::TILE;

/// The rolled product under the camera.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Material {
    /// Flat product, nearly as wide as the camera line.
    Strip,
    /// Round bar that fills a third to two thirds of the camera line.
    Rod,
    /// Thin round product with much dark background beside it.
    Wire,
}

impl Material {
    /// All materials, in the order in which tile sets draw them.
    pub const ALL: [Self; 3] = [Self::Strip, Self::Rod, Self::Wire];

    /// The name used in file names and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Strip => "strip",
            Self::Rod => "rod",
            Self::Wire => "wire",
        }
    }
}

/// The share of material-bearing tiles that carry each class.
///
/// The five numbers need not sum to 1: they are normalised by their sum.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassShares {
    /// Tiles without a defect.
    pub no_defect: f64,
    /// Tiles with cracks.
    pub cracks: f64,
    /// Tiles with single scrap marks.
    pub scrap_mark: f64,
    /// Tiles with overfill.
    pub overfill: f64,
    /// Tiles with repeating scrap marks.
    pub scrap_mark_ii: f64,
}

impl ClassShares {
    /// The shares of the plant whose data set the system was designed on.
    pub const PLANT: Self = Self::new(0.908, 0.008, 0.024, 0.033, 0.028);

    /// The same share for each of the five classes.
    pub const BALANCED: Self = Self::new(0.2, 0.2, 0.2, 0.2, 0.2);

    /// Shares in the order of [`super::CLASS_NAMES`].
    pub const fn new(
        no_defect: f64,
        cracks: f64,
        scrap_mark: f64,
        overfill: f64,
        scrap_mark_ii: f64,
    ) -> Self {
        Self {
            no_defect,
            cracks,
            scrap_mark,
            overfill,
            scrap_mark_ii,
        }
    }

    /// Shares in the order of [`super::CLASS_NAMES`], scaled to sum to 1.
    pub fn normalised(&self) -> [f64; 5] {
        let raw = self.raw();
        let sum: f64 = raw.iter().sum();
        raw.map(|share| share / sum)
    }

    const fn raw(&self) -> [f64; 5] {
        [
            self.no_defect,
            self.cracks,
            self.scrap_mark,
            self.overfill,
            self.scrap_mark_ii,
        ]
    }

    /// Checks that every share is a finite number ≥ 0 and that one is positive.
    ///
    /// # Errors
    /// [`SettingsError`] naming `class_shares` or the class in it.
    pub fn validate(&self) -> Result<(), SettingsError> {
        for (name, share) in super::CLASS_NAMES.iter().zip(self.raw()) {
            if !share.is_finite() || share < 0.0 {
                return Err(SettingsError::OutOfRange {
                    field: format!("class_shares.{name}"),
                    value: share.to_string(),
                    allowed: "a number of at least 0".to_owned(),
                });
            }
        }
        if self.raw().iter().sum::<f64>() <= 0.0 {
            return Err(SettingsError::OutOfRange {
                field: "class_shares".to_owned(),
                value: "all zero".to_owned(),
                allowed: "at least one share above 0".to_owned(),
            });
        }
        Ok(())
    }
}

impl Default for ClassShares {
    fn default() -> Self {
        Self::PLANT
    }
}

/// What a simulated piece is made of and how the camera sees it.
///
/// All sizes of the drawing are in pixels and lines, because that is what a
/// classifier sees; `lines_per_metre` and `millimetres_per_pixel` only turn
/// them into positions on the piece.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SimulatorSettings {
    /// Everything drawn depends on this number and on the other settings alone.
    pub seed: u64,
    /// Camera line width; a multiple of 512, at most 16384.
    pub pixels_per_line: usize,
    /// The product under the camera.
    pub material: Material,
    /// Lines in one metre of the piece, 10 to 1,000,000.
    pub lines_per_metre: f64,
    /// Width of one pixel on the piece in millimetres, 0.0001 to 10.
    pub millimetres_per_pixel: f64,
    /// Lines per second, 100 to 10,000,000; sets the period of lamp ripple in lines.
    pub line_rate_hz: f64,
    /// Shares of material-bearing tiles that carry each class; see [`ClassShares`].
    pub class_shares: ClassShares,
    /// Mean number of harmless look-alikes begun in each tile, 0 to 2.
    pub confounders_per_tile: f64,
    /// Length of the piece; endless where absent.
    pub metres: Option<f64>,
}

impl SimulatorSettings {
    /// Typical optics and speed at 67 kHz for a material: strip 0.25 mm pixels
    /// at 16.75 m/s (square pixels), rod 0.03 mm at 8 m/s, wire 0.012 mm at 30 m/s.
    pub fn for_material(material: Material) -> Self {
        let (lines_per_metre, millimetres_per_pixel) = match material {
            Material::Strip => (4_000.0, 0.25),
            Material::Rod => (8_375.0, 0.03),
            Material::Wire => (2_233.0, 0.012),
        };
        Self {
            seed: 1,
            pixels_per_line: 4_096,
            material,
            lines_per_metre,
            millimetres_per_pixel,
            line_rate_hz: 67_000.0,
            class_shares: ClassShares::PLANT,
            confounders_per_tile: 0.12,
            metres: None,
        }
    }

    /// Checks every value.
    ///
    /// # Errors
    /// [`SettingsError`] naming the first field out of range.
    pub fn validate(&self) -> Result<(), SettingsError> {
        check_pixels_per_line(self.pixels_per_line)?;
        check_range("lines_per_metre", self.lines_per_metre, 10.0, 1e6)?;
        check_range(
            "millimetres_per_pixel",
            self.millimetres_per_pixel,
            1e-4,
            10.0,
        )?;
        check_range("line_rate_hz", self.line_rate_hz, 100.0, 1e7)?;
        check_range("confounders_per_tile", self.confounders_per_tile, 0.0, 2.0)?;
        if let Some(metres) = self.metres {
            check_range("metres", metres, readable(1.0 / self.lines_per_metre), 1e7)?;
        }
        self.class_shares.validate()
    }

    /// Length of the piece in lines; `None` for an endless piece.
    pub fn total_lines(&self) -> Option<u64> {
        self.metres
            .map(|metres| ((metres * self.lines_per_metre).round() as u64).max(1))
    }
}

impl Default for SimulatorSettings {
    fn default() -> Self {
        Self::for_material(Material::Strip)
    }
}

pub(super) fn check_pixels_per_line(pixels: usize) -> Result<(), SettingsError> {
    if pixels == 0 || !pixels.is_multiple_of(TILE) || pixels > 16_384 {
        return Err(SettingsError::OutOfRange {
            field: "pixels_per_line".to_owned(),
            value: pixels.to_string(),
            allowed: format!("a multiple of {TILE} from {TILE} to 16384"),
        });
    }
    Ok(())
}

fn check_range(field: &str, value: f64, low: f64, high: f64) -> Result<(), SettingsError> {
    if value.is_finite() && (low..=high).contains(&value) {
        return Ok(());
    }
    Err(SettingsError::OutOfRange {
        field: field.to_owned(),
        value: value.to_string(),
        allowed: format!("a number from {low} to {high}"),
    })
}

/// A bound as one writes it: four significant figures, never below the bound.
fn readable(bound: f64) -> f64 {
    let scale = 10f64.powi(3 - bound.log10().floor() as i32);
    // What only rounding has put above a figure stays at that figure.
    (bound * scale * (1.0 - 1e-12)).ceil() / scale
}

/// A simulator setting that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// A value lies outside what the simulator can draw.
    #[error("simulator setting `{field}` is {value}; give {allowed}")]
    OutOfRange {
        /// Name of the field, with a dot before the key inside a structure.
        field: String,
        /// The value that was given.
        value: String,
        /// What may be given instead.
        allowed: String,
    },
}
