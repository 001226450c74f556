//! Harmless things that resemble defects; all of them are labelled `no_defect`.

use std::f32::consts::TAU;

use super::dice::Dice;
use super::piece::Piece;
use super::settings::Material;
use super::stamp::{Canvas, Stamp};
use super::texture::{BLOTCHES, COARSE_GRAIN, ROLLING, SPOTS, add_row};

/// What resembles a defect but is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Confounder {
    OxidePatch,
    WaterStain,
    Droplets,
    Scratches,
    OverExposure,
    EdgeShadow,
    CastShadow,
}

impl Confounder {
    /// Draws a kind that the material can show.
    pub(super) fn draw(dice: &mut Dice) -> Self {
        const ODDS: [(Confounder, f32); 7] = [
            (Confounder::OxidePatch, 0.30),
            (Confounder::WaterStain, 0.12),
            (Confounder::Droplets, 0.14),
            (Confounder::Scratches, 0.18),
            (Confounder::OverExposure, 0.12),
            (Confounder::EdgeShadow, 0.08),
            (Confounder::CastShadow, 0.06),
        ];
        let mut left = dice.unit();
        for (kind, odds) in ODDS {
            left -= odds;
            if left < 0.0 {
                return kind;
            }
        }
        Self::OxidePatch
    }

    /// Anchor column for this kind: anywhere, or at an edge.
    pub(super) fn column(self, dice: &mut Dice, piece: &Piece) -> i32 {
        let width = piece.width;
        let across = match self {
            Self::EdgeShadow => {
                let edge = if dice.chance(0.5) { 0.02 } else { 0.98 };
                width * edge
            }
            Self::OverExposure if piece.material != Material::Strip => {
                width * (0.5 + 0.12 * dice.normal()).clamp(0.15, 0.85)
            }
            _ => width * dice.between(0.03, 0.97),
        };
        across as i32
    }
}

/// Draws one confounder of a given kind.
pub(super) fn draw(kind: Confounder, dice: &mut Dice, piece: &Piece) -> Stamp {
    match kind {
        Confounder::OxidePatch => oxide_patch(dice),
        Confounder::WaterStain => water_stain(dice),
        Confounder::Droplets => droplets(dice),
        Confounder::Scratches => scratches(dice),
        Confounder::OverExposure => over_exposure(dice, piece),
        Confounder::EdgeShadow => edge_shadow(dice, piece),
        Confounder::CastShadow => cast_shadow(dice),
    }
}

/// Shades every pixel of a board by a function of its position.
fn shade(canvas: &mut Canvas, mut delta: impl FnMut(f32, f32) -> f32) {
    for index in 0..canvas.pixels() {
        let (x, y) = canvas.position(index);
        let change = delta(x, y);
        if change != 0.0 {
            canvas.scale(index, change);
        }
    }
}

/// Draws a stamp of `length` lines that reaches `reach` pixels to either side
/// of its anchor, row by row.
fn by_rows(reach: f32, length: f32, mut draw: impl FnMut(f32, &mut [f32])) -> Stamp {
    let width = 2 * reach as usize + 1;
    let mut delta = vec![0.0; width * length as usize];
    for (y, row) in delta.chunks_exact_mut(width).enumerate() {
        draw(y as f32, row);
    }
    Stamp::cropped(width, -(reach as i32), delta)
}

/// 0 below 0, 1 above 1, and a smooth step between.
fn smooth(at: f32) -> f32 {
    let at = at.clamp(0.0, 1.0);
    at * at * (3.0 - 2.0 * at)
}

fn oxide_patch(dice: &mut Dice) -> Stamp {
    let half = (
        dice.ratio_between(14.0, 110.0),
        dice.ratio_between(22.0, 190.0),
    );
    let depth = dice.ratio_between(0.10, 0.55) * if dice.chance(0.85) { 1.0 } else { -0.6 };
    let sharp = dice.ratio_between(1.2, 7.0);
    let zoom = dice.ratio_between(0.5, 1.6);
    let (u, v) = (dice.between(0.0, 1_200.0), dice.between(0.0, 1_200.0));
    let dotted = dice.chance(0.5);
    let mut canvas = Canvas::new((-1.5 * half.0, 1.5 * half.0), (-1.5 * half.1, 1.5 * half.1));
    shade(&mut canvas, |x, y| {
        let away = ((x / half.0).powi(2) + (y / half.1).powi(2)).sqrt();
        if away > 1.5 {
            return 0.0;
        }
        let field = BLOTCHES.sample(u + zoom * x, v + 0.7 * zoom * y);
        let inside = ((1.0 - away + 0.33 * field) * sharp).clamp(0.0, 1.0);
        let mottle = 1.0 + 0.22 * SPOTS.sample(v + 0.6 * x, u + 0.4 * y);
        let dots = if dotted {
            (SPOTS.sample(u + x, v + y) - 1.5).clamp(0.0, 1.0)
        } else {
            0.0
        };
        -depth * inside * (mottle + 0.5 * dots)
    });
    canvas.finish()
}

fn water_stain(dice: &mut Dice) -> Stamp {
    let half = (
        dice.ratio_between(25.0, 100.0),
        dice.ratio_between(30.0, 150.0),
    );
    let ring = dice.between(0.06, 0.26) * if dice.chance(0.7) { -1.0 } else { 1.0 };
    let inner = dice.between(-0.09, 0.09);
    let (u, v) = (dice.between(0.0, 1_200.0), dice.between(0.0, 1_200.0));
    let thickness = dice.between(0.03, 0.09);
    let mut canvas = Canvas::new((-1.6 * half.0, 1.6 * half.0), (-1.6 * half.1, 1.6 * half.1));
    shade(&mut canvas, |x, y| {
        let away = ((x / half.0).powi(2) + (y / half.1).powi(2)).sqrt();
        let from = away - 1.0 + 0.16 * BLOTCHES.sample(u + 0.6 * x, v + 0.6 * y);
        let outline = (-(from / thickness).powi(2)).exp();
        let fill = (0.5 - from * 12.0).clamp(0.0, 1.0);
        let broken = (0.6 + 0.5 * BLOTCHES.sample(v + 0.3 * x, u + 0.3 * y)).clamp(0.0, 1.2);
        (1.0 + ring * outline * broken) * (1.0 + inner * fill) - 1.0
    });
    canvas.finish()
}

fn droplets(dice: &mut Dice) -> Stamp {
    let spread = (
        dice.ratio_between(20.0, 130.0),
        dice.ratio_between(40.0, 220.0),
    );
    let depth = dice.ratio_between(0.10, 0.5);
    let radius = dice.ratio_between(2.5, 9.0);
    let count = 4 + dice.index(26);
    let halo = dice.chance(0.4);
    let mut canvas = Canvas::new(
        (-2.6 * spread.0, 2.6 * spread.0),
        (-2.6 * spread.1, 2.6 * spread.1),
    );
    for _ in 0..count {
        let x = spread.0 * dice.normal().clamp(-2.3, 2.3);
        let y = spread.1 * dice.normal().clamp(-2.3, 2.3);
        let size = radius * dice.ratio_between(0.4, 1.7);
        let depth = depth * dice.between(0.5, 1.0);
        if halo {
            canvas.brighten((x, y), size + 1.5, 0.35 * depth);
        }
        for ring in 0..4 {
            let part = 1.0 - 0.22 * ring as f32;
            canvas.darken((x, y), size * part, depth * (0.55 + 0.15 * ring as f32));
        }
    }
    canvas.finish()
}

fn scratches(dice: &mut Dice) -> Stamp {
    let count = 1 + dice.index(5);
    let spread = dice.ratio_between(6.0, 90.0);
    let slope = 0.012 * dice.normal();
    let length = dice.ratio_between(300.0, 2_200.0);
    let strength = dice.ratio_between(0.05, 0.2);
    let half = spread + (slope * length).abs() + 4.0;
    let mut canvas = Canvas::new((-half, half), (0.0, length * 1.3));
    for _ in 0..count {
        let x0 = dice.between(-spread, spread);
        let y0 = dice.between(0.0, 0.3 * length);
        let own = length * dice.between(0.5, 1.0);
        let bright = dice.chance(0.55);
        let strength = strength * dice.between(0.5, 1.1);
        let radius = dice.between(0.35, 1.1);
        let table = (dice.index(1 << 14) as f32, dice.index(1 << 14) as f32);
        for step in 0..own as usize {
            let y = y0 + step as f32;
            let x = x0 + slope * y + 0.4 * ROLLING.sample(table.0, table.1 + y / 90.0);
            let contact = 0.75 + 0.35 * COARSE_GRAIN.at(table.0 as i64, (table.1 + y) as i64);
            let fade = (step as f32).min(own - step as f32) / (0.15 * own);
            let amount = strength * contact.clamp(0.0, 1.2) * fade.min(1.0);
            if bright {
                canvas.brighten((x, y), radius, 1.3 * amount);
            } else {
                canvas.darken((x, y), radius, amount);
            }
        }
    }
    canvas.finish()
}

fn over_exposure(dice: &mut Dice, piece: &Piece) -> Stamp {
    let half = dice.ratio_between(12.0, 90.0);
    let length = half * dice.ratio_between(14.0, 30.0) + dice.between(300.0, 1_200.0);
    // Enough light to saturate a surface of this piece's level.
    let gain = (dice.between(200.0, 420.0) / piece.level - 1.0).max(0.4);
    let fade = dice.between(0.3, 0.5) * length;
    let sway = (dice.between(0.0, 4.0), dice.between(0.5, 2.0), dice.angle());
    let bloom = dice.between(0.02, 0.08);
    let table = (dice.index(1 << 14) as i64, dice.index(1 << 14) as f32);
    let streaks = dice.between(0.05, 0.35);
    let reach = (3.0 * half + sway.0).ceil();
    let mut streak = vec![0.0; 2 * reach as usize + 1];
    by_rows(reach, length, |y, row| {
        let end = smooth(y.min(length - y) / fade);
        let centre = sway.0 * (TAU * sway.1 * y / length + sway.2).sin();
        let breath = 1.0 + 0.2 * ROLLING.sample(table.1, y / 60.0);
        let narrow = 1.0 / (half * breath.max(0.4));
        streak.fill(1.0);
        let (line, part) = ((y / 25.0).floor(), (y / 25.0).fract());
        let line = table.0 + line as i64;
        add_row(
            &mut streak,
            ROLLING.row(line),
            table.0,
            streaks * (1.0 - part),
        );
        add_row(&mut streak, ROLLING.row(line + 1), table.0, streaks * part);
        for (index, (value, streak)) in row.iter_mut().zip(&streak).enumerate() {
            let x = index as f32 - reach;
            let away = (x - centre) * narrow;
            let square = away * away;
            // Nearly exp(−away²), and 0 from away² = 8 on.
            let bell = (1.0 - square / 8.0).max(0.0).powi(8);
            let edge = (2.0 - 2.0 * x.abs() / reach).min(1.0);
            let beam = bell + bloom * edge / (1.0 + 0.3 * square);
            *value = gain * end * beam * streak.max(0.1);
        }
    })
}

fn edge_shadow(dice: &mut Dice, piece: &Piece) -> Stamp {
    let reach = (piece.width * 0.05).max(20.0) * dice.between(0.4, 1.3);
    let length = dice.ratio_between(900.0, 3_600.0);
    let depth = dice.between(0.2, 0.65);
    let sway = (
        dice.between(0.05, 0.35),
        dice.between(0.5, 2.5),
        dice.angle(),
    );
    let soft = dice.ratio_between(0.12, 0.9);
    let side = (1.2 * reach).ceil();
    by_rows(side, length, |y, row| {
        let end = (y.min(length - y) / (0.3 * length)).clamp(0.0, 1.0);
        let border = reach * (1.0 + sway.0 * (TAU * sway.1 * y / length + sway.2).sin());
        for (index, value) in row.iter_mut().enumerate() {
            let inside = (border - (index as f32 - side).abs()) / (soft * reach);
            *value = -depth * end * smooth(inside);
        }
    })
}

fn cast_shadow(dice: &mut Dice) -> Stamp {
    let half = dice.ratio_between(14.0, 90.0);
    let length = dice.ratio_between(250.0, 1_100.0);
    let lean = dice.between(-0.8, 0.8);
    let depth = dice.between(0.14, 0.5);
    let soft = half * dice.between(0.4, 1.6);
    let bend = dice.between(-40.0, 40.0);
    let reach = (lean * length).abs() * 0.5 + bend.abs() + half + 0.5 * soft + 3.0;
    let mut canvas = Canvas::new((-reach, reach), (0.0, length));
    shade(&mut canvas, |x, y| {
        let done = y / length;
        let centre = lean * (y - 0.5 * length) + bend * (done * (1.0 - done) * 4.0 - 0.5);
        let inside = (half - (x - centre).abs()) / soft + 0.5;
        let end = smooth(y.min(length - y) / (0.4 * length));
        -depth * end * smooth(inside)
    });
    canvas.finish()
}
