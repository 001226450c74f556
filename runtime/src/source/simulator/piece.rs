//! The conditions that stay the same over one piece: its shape, its surface,
//! its light and the camera that looks at it.

use std::f32::consts::{PI, TAU};

use super::dice::Dice;
use super::settings::Material;

/// A sine: amplitude, radians per line, phase.
#[derive(Clone, Copy)]
struct Wave {
    amplitude: f32,
    rate: f64,
    phase: f64,
}

impl Wave {
    fn new(dice: &mut Dice, amplitude: f32, lines: f32) -> Self {
        Self {
            amplitude,
            rate: f64::from(TAU) / f64::from(lines),
            phase: f64::from(dice.angle()),
        }
    }

    fn at(&self, line: f64) -> f32 {
        self.amplitude * (self.rate * line + self.phase).sin() as f32
    }
}

/// Islands of a noise field that differ in brightness from the ground.
#[derive(Clone, Copy)]
pub(super) struct Islands {
    /// Part of the light that an island takes away; negative where it is brighter.
    pub(super) depth: f32,
    /// Level of the field, in standard deviations, above which an island begins.
    pub(super) threshold: f32,
    /// Steepness of the border, per standard deviation.
    pub(super) sharpness: f32,
}

/// How strongly each component of the texture shows, as a part of the mean brightness.
pub(super) struct Surface {
    pub(super) grain: f32,
    pub(super) coarse_grain: f32,
    pub(super) rolling: f32,
    pub(super) ripple: f32,
    pub(super) clouds: f32,
    pub(super) glints: f32,
    pub(super) flakes: Option<Islands>,
    pub(super) blotches: Option<Islands>,
    pub(super) spots: Option<Islands>,
    /// Where in the tables this piece begins: (column, row) of each table in turn.
    pub(super) offsets: [(i64, i64); 8],
}

/// What the camera adds: fixed pattern and noise.
pub(super) struct Sensor {
    /// Light on each pixel, mean about 1, with the pixel's own gain (PRNU).
    pub(super) gain: Vec<f32>,
    /// Offset of each pixel in grey levels (DSNU) with the dark level.
    pub(super) offset: Vec<f32>,
    /// Standard deviation of the read noise in grey levels.
    pub(super) read_noise: f32,
    /// Variance of the shot noise per grey level.
    pub(super) shot_noise: f32,
    /// Part of the light that the optics spread to either neighbour.
    pub(super) spread: f32,
}

/// One piece under the camera.
pub(super) struct Piece {
    pub(super) seed: u64,
    pub(super) material: Material,
    /// Camera pixels in a line.
    pub(super) pixels: usize,
    /// Width of the material in pixels.
    pub(super) width: f32,
    /// Grey level of a surface of mean brightness in mean light.
    pub(super) level: f32,
    /// Grey level that the hot surface itself adds.
    pub(super) glow: f32,
    /// Light that reaches the camera from beside the material, as a part of
    /// `level`: everywhere, and more close to the edge.
    pub(super) stray: (f32, f32),
    pub(super) surface: Surface,
    pub(super) sensor: Sensor,
    /// Brightness across the material: its shape, its edges, its standing bands.
    pub(super) profile: Vec<f32>,
    /// Direction from which the light grazes reliefs: (across, along), unit length.
    pub(super) light_from: (f32, f32),
    left: f32,
    wander: [Wave; 4],
    stretch: [Wave; 2],
    lamp: [Wave; 4],
}

impl Piece {
    pub(super) fn new(seed: u64, material: Material, pixels: usize, line_rate_hz: f64) -> Self {
        let mut dice = Dice::new(seed, &[0x9EC3]);
        let line = pixels as f32;
        let (low, high) = match material {
            Material::Strip => (0.80, 0.97),
            Material::Rod => (0.34, 0.68),
            Material::Wire => (0.13, 0.29),
        };
        let width = (line * dice.between(low, high)).round();
        let slack = line - width;
        let left = slack * (0.5 + dice.between(-0.25, 0.25));
        let swing = slack.min(line * 0.1);
        let wander = [
            (0.04, 20_000.0, 60_000.0),
            (0.02, 5_000.0, 15_000.0),
            (0.008, 1_200.0, 4_000.0),
            (0.004, 300.0, 900.0),
        ]
        .map(|(part, low, high)| {
            let amplitude = swing * part * dice.between(0.1, 1.0);
            let lines = dice.ratio_between(low, high);
            Wave::new(&mut dice, amplitude, lines)
        });
        let stretch = [(0.05, 9_000.0, 30_000.0), (0.03, 2_500.0, 8_000.0)].map(
            |(most, low, high): (f32, f32, f32)| {
                let lines = dice.ratio_between(low, high);
                let amplitude = most * dice.unit() * lines / TAU;
                Wave::new(&mut dice, amplitude, lines)
            },
        );
        let mains = (line_rate_hz / 100.0) as f32;
        let flicker = if dice.chance(0.3) { 3.0 } else { 1.0 };
        let drift = dice.ratio_between(2_000.0, 12_000.0);
        let beat = dice.ratio_between(60.0, 400.0);
        let lamp = [
            (0.006 * flicker, mains),
            (0.003 * flicker, mains / 2.0),
            (0.02, drift),
            (0.002 * flicker, beat),
        ]
        .map(|(most, lines)| {
            let amplitude = most * dice.between(0.2, 1.0);
            Wave::new(&mut dice, amplitude, lines)
        });
        let level = match material {
            Material::Strip => dice.ratio_between(48.0, 135.0),
            Material::Rod | Material::Wire => dice.ratio_between(52.0, 125.0),
        };
        let azimuth = dice.between(-0.6, 0.6) + if dice.chance(0.5) { PI } else { 0.0 };
        Self {
            seed,
            material,
            pixels,
            width,
            level,
            glow: dice.between(0.0, 7.0),
            stray: (dice.ratio_between(0.004, 0.08), dice.between(0.0, 0.08)),
            surface: Surface::draw(&mut dice),
            sensor: Sensor::draw(&mut dice, pixels),
            profile: profile(&mut dice, material, width as usize),
            light_from: (azimuth.cos(), azimuth.sin()),
            left,
            wander,
            stretch,
            lamp,
        }
    }

    /// Camera column of the material's left edge at a line.
    pub(super) fn left(&self, line: u64) -> f32 {
        let line = line as f64;
        self.left + self.wander.iter().map(|wave| wave.at(line)).sum::<f32>()
    }

    /// Position along the piece, in lines at the nominal speed.
    pub(super) fn along(&self, line: u64) -> f64 {
        let line = line as f64;
        line + self
            .stretch
            .iter()
            .map(|wave| f64::from(wave.at(line)))
            .sum::<f64>()
    }

    /// Brightness of the lamps at a line; mean 1.
    pub(super) fn lamp(&self, line: u64) -> f32 {
        let line = line as f64;
        1.0 + self.lamp.iter().map(|wave| wave.at(line)).sum::<f32>()
    }
}

impl Surface {
    fn draw(dice: &mut Dice) -> Self {
        let mut islands = |odds: f32, depth: (f32, f32), threshold: (f32, f32)| {
            let present = dice.chance(odds);
            let darker = if dice.chance(0.8) { 1.0 } else { -0.55 };
            let drawn = Islands {
                depth: darker * dice.ratio_between(depth.0, depth.1),
                threshold: dice.between(threshold.0, threshold.1),
                sharpness: dice.ratio_between(1.2, 5.0),
            };
            present.then_some(drawn)
        };
        let flakes = islands(0.55, (0.05, 0.24), (0.9, 2.4));
        let blotches = islands(0.35, (0.04, 0.16), (0.7, 2.0));
        let spots = islands(0.3, (0.08, 0.3), (1.7, 3.0));
        let ripple = if dice.chance(0.27) {
            dice.ratio_between(0.008, 0.034)
        } else {
            0.004
        };
        Self {
            grain: dice.ratio_between(0.016, 0.06),
            coarse_grain: dice.ratio_between(0.012, 0.05),
            rolling: dice.ratio_between(0.008, 0.04),
            ripple,
            clouds: dice.ratio_between(0.025, 0.085),
            glints: if dice.chance(0.5) {
                dice.ratio_between(0.02, 0.35)
            } else {
                0.0
            },
            flakes,
            blotches,
            spots,
            offsets: std::array::from_fn(|_| {
                (dice.index(1 << 20) as i64, dice.index(1 << 20) as i64)
            }),
        }
    }
}

impl Sensor {
    fn draw(dice: &mut Dice, pixels: usize) -> Self {
        let count = pixels as f32;
        let modules = dice.between(5.0, 11.0);
        let unevenness = dice.between(0.01, 0.06);
        let centre = count * dice.between(0.35, 0.65);
        let vignette = dice.between(0.08, 0.35);
        let tilt = dice.between(-0.12, 0.12);
        let phase = dice.angle();
        let pixel_gain = dice.between(0.002, 0.007);
        let mut gain: Vec<f32> = (0..pixels)
            .map(|x| {
                let x = x as f32;
                let away = (x - centre) / (0.5 * count);
                let led = 1.0 + unevenness * (TAU * modules * x / count + phase).cos();
                led * (1.0 + tilt * away) * (1.0 - vignette * away * away)
            })
            .collect();
        let mean = gain.iter().sum::<f32>() / count;
        for value in &mut gain {
            *value *= (1.0 + pixel_gain * dice.normal()) / mean;
        }
        let dark = dice.between(1.5, 7.0);
        let spread = dice.between(0.0, 0.5);
        let offset = (0..pixels).map(|_| dark + spread * dice.normal()).collect();
        // A few pixels are clearly less sensitive: dust on the sensor's window.
        for _ in 0..dice.index(4) {
            let at = dice.index(pixels);
            gain[at] *= dice.between(0.93, 0.98);
        }
        Self {
            gain,
            offset,
            read_noise: dice.between(0.5, 1.3),
            shot_noise: dice.ratio_between(0.008, 0.04),
            spread: dice.between(0.08, 0.2),
        }
    }
}

fn profile(dice: &mut Dice, material: Material, width: usize) -> Vec<f32> {
    let mut profile: Vec<f32> = match material {
        Material::Strip => strip_profile(dice, width),
        Material::Rod | Material::Wire => round_profile(dice, width),
    };
    // Standing bands: what differs across the piece stays so along it.
    for _ in 0..7 {
        let period = width as f32 * dice.ratio_between(0.06, 1.6);
        let phase = dice.angle();
        let amplitude = dice.between(0.003, 0.028);
        for (x, value) in profile.iter_mut().enumerate() {
            *value *= 1.0 + amplitude * (TAU * x as f32 / period + phase).sin();
        }
    }
    for _ in 0..2 + dice.index(10) {
        let centre = dice.between(0.0, width as f32);
        let half = dice.ratio_between(1.0, width as f32 * 0.04);
        let amplitude = dice.between(-0.05, 0.04);
        let steep = dice.ratio_between(0.15, 1.5);
        for (x, value) in profile.iter_mut().enumerate() {
            let inside = (half - (x as f32 - centre).abs()) * steep + 0.5;
            *value *= 1.0 + amplitude * inside.clamp(0.0, 1.0);
        }
    }
    profile
}

fn strip_profile(dice: &mut Dice, width: usize) -> Vec<f32> {
    let mut profile = vec![1.0; width];
    for side in 0..2 {
        let fall = dice.between(0.05, 0.4);
        let reach = dice.ratio_between(25.0, 260.0);
        let lip = dice.between(-0.35, 0.5);
        let lip_width = dice.ratio_between(3.0, 16.0);
        let line_at = dice.between(5.0, 30.0);
        let line_depth = dice.between(0.0, 0.35);
        for distance in 0..width.min(1_200) {
            let x = distance as f32;
            let mut factor = 1.0 - fall * (-x / reach).exp();
            factor *= 1.0 + lip * (-(x / lip_width).powi(2)).exp();
            factor *= 1.0 - line_depth * (-((x - line_at) / 2.2).powi(2)).exp();
            let index = if side == 0 {
                distance
            } else {
                width - 1 - distance
            };
            profile[index] *= factor;
        }
    }
    profile
}

fn round_profile(dice: &mut Dice, width: usize) -> Vec<f32> {
    let power = dice.between(0.6, 1.5);
    let ambient = dice.between(0.04, 0.14);
    let aim = dice.between(-0.25, 0.25);
    let gloss = dice.between(0.05, 0.75);
    let gloss_at = aim + dice.between(-0.15, 0.15);
    let gloss_width = dice.between(0.08, 0.32);
    let mut profile: Vec<f32> = (0..width)
        .map(|x| {
            let t = (2.0 * x as f32 + 1.0) / width as f32 - 1.0;
            // A cylinder: its normal leans by asin t, the light by asin aim.
            let facing = (t.asin() - aim.asin()).cos().max(0.0);
            let seen = (1.0 - t * t).max(0.0).sqrt();
            let shine = gloss * (-((t - gloss_at) / gloss_width).powi(2)).exp();
            ambient + (1.0 - ambient) * facing.powf(power) * seen.powf(0.35) + shine
        })
        .collect();
    let mean = profile.iter().sum::<f32>() / width as f32;
    for value in &mut profile {
        *value /= mean;
    }
    profile
}
