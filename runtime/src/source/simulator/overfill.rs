//! Overfill: metal that was squeezed out of the roll gap and lies along the
//! piece as a bright fin with a shadow on one side.

use super::dice::Dice;
use super::piece::Piece;
use super::stamp::Stamp;
use super::texture::{COARSE_GRAIN, GRAIN, ROLLING};

/// Draws one fin.
pub(super) fn draw(dice: &mut Dice, severity: f32, piece: &Piece) -> Stamp {
    let length = dice.ratio_between(500.0, 2_600.0);
    let half = dice.ratio_between(3.0, 11.0) * (0.6 + 0.7 * severity);
    let gain = (0.16 + 1.15 * severity) * dice.between(0.8, 1.2);
    let shadow = (0.12 + 0.6 * severity) * dice.between(0.7, 1.1);
    let shadow_reach = half * dice.between(0.8, 2.2) + 2.0;
    // The side away from the light lies in shadow.
    let dark_side = -piece.light_from.0.signum();
    let ragged = dice.between(0.06, 0.38);
    let glitter = dice.between(0.08, 0.3);
    let scale = dice.ratio_between(9.0, 90.0);
    let streaks = dice.between(0.05, 0.3);
    let companions: Vec<(f32, f32, f32)> = (0..dice.index(4))
        .map(|_| {
            let aside = half * dice.between(-2.6, 2.2);
            (
                aside,
                dice.between(0.5, 1.4),
                gain * dice.between(-0.25, 0.4),
            )
        })
        .collect();
    let taper = dice.between(30.0, 140.0);
    let lapped = dice.chance(0.4);
    let table = (dice.index(1 << 16) as i64, dice.index(1 << 16) as i64);
    let sway = (
        dice.between(0.0, 5.0),
        dice.ratio_between(600.0, 2_500.0),
        dice.angle(),
    );

    let reach = (3.4 * half + 3.0 * shadow_reach + sway.0 + 8.0).ceil();
    let width = 2 * reach as usize + 1;
    let lines = length as usize;
    let mut delta = vec![0.0f32; width * lines];
    for (y, row) in delta.chunks_exact_mut(width).enumerate() {
        let line = y as i64;
        let slow = ROLLING.sample(table.0 as f32, (table.1 % 4_096 + line) as f32 / scale);
        let fast = COARSE_GRAIN.at(table.0, table.1 + line);
        let edge = COARSE_GRAIN.at(table.0 + 40, table.1 + line / 2);
        let end = (y as f32).min(length - y as f32) / taper;
        let end = (end + 0.15 * fast).clamp(0.0, 1.0);
        if end <= 0.0 {
            continue;
        }
        let centre = sway.0 * (y as f32 / sway.1 + sway.2).sin() + 0.8 * slow;
        let core = (half * (1.0 + ragged * (0.7 * slow + 0.3 * fast)) * (0.4 + 0.6 * end)).max(1.0);
        let strength = gain * end * (1.0 + 0.28 * slow + 0.10 * fast).clamp(0.25, 1.6);
        for (x, value) in row.iter_mut().enumerate() {
            let across = (x as f32 - reach - centre) * dark_side;
            // Positive `across` is the shadow side.
            let ragged_edge = if lapped {
                0.28 * core * edge
            } else {
                0.1 * core * edge
            };
            let from_edge = across - core - ragged_edge;
            let plateau = if across > 0.0 {
                (0.5 - 0.9 * from_edge).clamp(0.0, 1.0)
            } else {
                let fringe = (-across / core).powi(2);
                1.0 / (1.0 + fringe * fringe)
            };
            let column = table.0 + x as i64;
            let streak = streaks * ROLLING.at(column, table.1 + line / 8);
            let sparkle = 1.0 + streak + glitter * GRAIN.at(column, table.1 + 2 * line);
            let bright = strength
                * plateau
                * sparkle.max(0.2)
                * (0.8 + 0.2 * across / core).clamp(0.55, 1.0);
            let dark = if from_edge > -0.5 {
                shadow * end * (-(from_edge.max(0.0) / shadow_reach).powf(1.4)).exp()
            } else {
                0.0
            };
            let beside: f32 = companions
                .iter()
                .map(|&(aside, width, gain)| {
                    let away = (x as f32 - reach - centre - aside) / width;
                    gain * end * (0.7 + 0.5 * slow) * (1.0 - away * away).max(0.0)
                })
                .sum();
            let bright = (bright + beside).max(-0.8);
            *value = (1.0 + bright) * (1.0 - dark * (1.0 - plateau)) - 1.0;
        }
    }
    Stamp::cropped(width, -(reach as i32), delta)
}
