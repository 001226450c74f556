//! Scrap marks: what a foreign piece of metal leaves when it is rolled in.

use std::f32::consts::TAU;

use super::dice::Dice;
use super::piece::Piece;
use super::relief::Relief;
use super::stamp::Stamp;
use super::texture::{BLOTCHES, SPOTS};

/// The outline and the section of one mark.
#[derive(Clone)]
struct Shape {
    /// Half length and half width in pixels.
    half: (f32, f32),
    /// Angle of the long axis off the rolling direction.
    angle: f32,
    /// Amplitude and phase of the 2nd to 6th harmonic of the outline.
    harmonics: [(f32, f32); 5],
    /// Height of the floor in pixels, negative for a dent.
    floor: f32,
    /// Height of the metal squeezed up around it, and where it is highest.
    rim: (f32, f32),
    /// Steepness of the border, per pixel.
    steep: f32,
    /// Raggedness of the border in pixels.
    ragged: f32,
    /// Change of brightness of the surroundings.
    halo: f32,
    /// Roughness of the floor in pixels.
    rough: f32,
    /// Change of brightness of the floor.
    albedo: f32,
    /// Where in the roughness table the floor lies.
    texture: (f32, f32),
}

impl Shape {
    fn draw(dice: &mut Dice, half: (f32, f32), severity: f32) -> Self {
        let raised = dice.chance(0.25);
        let deep = (1.2 + 3.2 * severity) * dice.between(0.7, 1.2);
        let shiny = dice.chance(0.3);
        Self {
            half,
            angle: dice.normal() * 0.5,
            harmonics: std::array::from_fn(|order| {
                let most = 0.26 / (1.0 + 0.5 * order as f32);
                (most * dice.unit(), dice.angle())
            }),
            floor: if raised { 0.8 * deep } else { -deep },
            rim: (deep * dice.between(0.1, 0.6), dice.angle()),
            steep: dice.ratio_between(0.45, 1.6),
            ragged: dice.ratio_between(0.5, 2.2),
            halo: if dice.chance(0.5) {
                0.16 * (dice.unit() - 0.6)
            } else {
                0.0
            },
            rough: deep * dice.between(0.15, 0.55),
            albedo: (0.1 + 0.4 * severity)
                * if shiny { 0.8 } else { -1.0 }
                * dice.between(0.3, 1.0),
            texture: (dice.between(0.0, 900.0), dice.between(0.0, 900.0)),
        }
    }

    fn reach(&self) -> f32 {
        1.5 * self.half.0.max(self.half.1) + 12.0
    }

    /// Height and change of brightness at a position relative to the centre.
    fn at(&self, x: f32, y: f32) -> (f32, f32) {
        let (sin, cos) = self.angle.sin_cos();
        let (u, v) = (
            (x * cos - y * sin) / self.half.1,
            (x * sin + y * cos) / self.half.0,
        );
        let radius = (u * u + v * v).sqrt();
        // No outline reaches beyond 1.8, and nothing shows 14 pixels away from it.
        if (radius - 1.8) * self.half.1.min(self.half.0) > 14.0 {
            return (0.0, 0.0);
        }
        let bearing = u.atan2(v);
        let mut outline = 1.0;
        for (order, (amplitude, phase)) in self.harmonics.iter().enumerate() {
            outline += amplitude * ((order as f32 + 2.0) * bearing + phase).cos();
        }
        let ragged = SPOTS.sample(self.texture.0 + 0.7 * x, self.texture.1 + 0.7 * y);
        let coarse = BLOTCHES.sample(self.texture.1 + 1.1 * x, self.texture.0 + 1.1 * y);
        // Signed distance to the outline, in pixels of the short axis.
        let outside = (radius - outline.max(0.3)) * self.half.1.min(self.half.0)
            + self.ragged * (0.6 * ragged + 0.4 * coarse);
        let inside = 1.0 / (1.0 + (outside * 1.6 * self.steep).exp());
        let squeezed = 0.5 + 0.5 * (bearing - self.rim.1).cos();
        let rim = self.rim.0 * squeezed * (-((outside - 2.0) / 2.6).powi(2)).exp();
        let rough = BLOTCHES.sample(self.texture.0 + 2.2 * x, self.texture.1 + 2.2 * y);
        let height = inside * (self.floor + self.rough * rough) + rim;
        let halo = self.halo * (1.0 - inside) * (-outside.max(0.0) / 7.0).exp();
        let floor = inside * (self.albedo + 0.1 * coarse * self.albedo.abs());
        (height, floor + halo)
    }
}

/// Draws one to three marks that lie together by chance, some with a drag tail.
pub(super) fn single(dice: &mut Dice, severity: f32, piece: &Piece) -> Stamp {
    let size = 0.55 + 0.75 * severity;
    let gouge = dice.chance(0.35);
    let half = if gouge {
        (
            dice.ratio_between(30.0, 85.0) * size,
            dice.ratio_between(3.5, 9.0) * size,
        )
    } else {
        (
            dice.ratio_between(14.0, 56.0) * size,
            dice.ratio_between(9.0, 32.0) * size,
        )
    };
    let mut marks = vec![((0.0f32, 0.0f32), Shape::draw(dice, half, severity))];
    for _ in 0..if dice.chance(0.3) {
        1 + dice.index(2)
    } else {
        0
    } {
        let part = dice.between(0.25, 0.6);
        let bearing = dice.angle();
        let away = half.0 * dice.between(1.2, 2.2) + 6.0;
        let at = (away * bearing.sin() * 0.7, away * bearing.cos());
        let smaller = (half.0 * part, (half.1 * part).max(3.0));
        marks.push((at, Shape::draw(dice, smaller, severity)));
    }
    if gouge && dice.chance(0.5) {
        // Several teeth of the same piece: gouges side by side.
        let (sin, cos) = marks[0].1.angle.sin_cos();
        for tooth in 1..2 + dice.index(3) {
            let mut shape = marks[0].1.clone();
            shape.half.0 *= dice.between(0.4, 1.0);
            shape.half.1 = (shape.half.1 * dice.between(0.4, 0.9)).max(2.0);
            shape.texture.0 += 40.0 * tooth as f32;
            let aside = half.1 * 2.4 * tooth as f32 * dice.between(0.8, 1.2);
            let along = 0.4 * half.0 * dice.normal();
            let at = (aside * cos + along * sin, along * cos - aside * sin);
            marks.push((at, shape));
        }
    }
    if dice.chance(0.2) {
        // The piece was dragged before it stuck: a shallow groove leads away.
        let tail = (
            half.0 * dice.between(0.8, 1.8),
            half.1 * dice.between(0.2, 0.4),
        );
        let mut shape = Shape::draw(dice, (tail.0, tail.1.max(2.2)), severity * 0.5);
        shape.angle = marks[0].1.angle;
        let (sin, cos) = shape.angle.sin_cos();
        let away = half.0 * 0.8 + tail.0 * 0.8;
        marks.push(((away * sin, away * cos), shape));
    }
    let debris = if dice.chance(0.35) {
        4 + dice.index(24)
    } else {
        0
    };
    let debris: Vec<Speck> = (0..debris)
        .map(|_| Speck {
            at: (1.1 * half.1 * dice.normal(), 0.9 * half.0 * dice.normal()),
            radius: dice.between(0.3, 1.5),
            gain: severity * dice.between(-0.7, 1.2),
        })
        .collect();
    press(&marks, &debris, severity, piece)
}

/// A crumb beside a mark; dark where `gain` is negative.
struct Speck {
    at: (f32, f32),
    radius: f32,
    gain: f32,
}

/// Draws a chain of like marks at a fixed distance: scrap stuck to a roll
/// prints itself once in every turn.
pub(super) fn chain(dice: &mut Dice, severity: f32, piece: &Piece) -> Stamp {
    let size = 0.65 + 0.6 * severity;
    let period = dice.ratio_between(40.0, 118.0);
    let long = (dice.ratio_between(8.5, 19.0) * size).min(0.36 * period);
    let half = (long, long * dice.between(0.45, 1.1));
    let pattern = Shape::draw(dice, half, severity);
    let count = 6 + dice.index(9);
    let slope = dice.normal() * 0.04;
    let sway = dice.between(0.3, 1.6);
    let twin = dice.chance(0.25).then(|| {
        (
            dice.sign() * dice.between(1.8, 4.0) * half.1.max(6.0),
            dice.between(-0.4, 0.4) * period,
            dice.between(0.4, 0.8),
        )
    });
    let mut marks = Vec::new();
    for turn in 0..count {
        let y = turn as f32 * period;
        let at = (slope * y + sway * dice.normal(), y + 0.6 * dice.normal());
        let mut mark = pattern.clone();
        let wear = dice.between(0.72, 1.1);
        mark.half = (half.0 * wear, half.1 * dice.between(0.8, 1.1));
        mark.angle += 0.08 * dice.normal();
        mark.floor *= wear;
        mark.texture.0 += 3.0 * dice.normal();
        if let Some((x, y, part)) = twin {
            let mut second = mark.clone();
            second.half = (mark.half.0 * part, mark.half.1 * part);
            second.harmonics.rotate_left(1);
            marks.push(((at.0 + x, at.1 + y), second));
        }
        marks.push((at, mark));
    }
    press(&marks, &[], severity, piece)
}

fn press(marks: &[((f32, f32), Shape)], debris: &[Speck], severity: f32, piece: &Piece) -> Stamp {
    let mut x = (f32::MAX, f32::MIN);
    let mut y = (f32::MAX, f32::MIN);
    for ((across, along), shape) in marks {
        let reach = shape.reach();
        x = (x.0.min(across - reach), x.1.max(across + reach));
        y = (y.0.min(along - reach), y.1.max(along + reach));
    }
    let mut relief = Relief::new(x, y);
    for (centre, shape) in marks {
        relief.add(*centre, shape.reach(), |across, along| {
            shape.at(across, along)
        });
    }
    let azimuth = piece.light_from.1.atan2(piece.light_from.0);
    for speck in debris {
        relief.speck(speck.at, speck.radius, speck.gain);
    }
    // Light comes from a little off its main direction at each place.
    let azimuth = azimuth + 0.2 * (marks[0].1.texture.0 * TAU).sin();
    relief.shade((azimuth.cos(), azimuth.sin()), 0.25 + 0.9 * severity)
}
