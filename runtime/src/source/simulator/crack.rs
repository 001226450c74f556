//! Cracks: thin dark lines that wander along the rolling direction and branch.

use super::dice::Dice;
use super::piece::Piece;
use super::stamp::{Canvas, Stamp};
use super::texture::SPOTS;

/// A point of a crack: position relative to the anchor, half width, darkness.
#[derive(Clone, Copy)]
struct Point {
    x: f32,
    y: f32,
    radius: f32,
    depth: f32,
}

/// Draws one crack, its branches and perhaps a companion beside it.
pub(super) fn draw(dice: &mut Dice, severity: f32, piece: &Piece) -> Stamp {
    let depth = 0.18 + 0.72 * severity;
    let radius = (0.65 + 1.5 * severity) * dice.ratio_between(0.7, 1.5);
    let length = dice.ratio_between(150.0, 420.0) * (0.6 + 1.3 * severity);
    let restless = dice.between(0.06, 0.2);
    let mut points = Vec::new();
    let count = if dice.chance(0.25) {
        2 + dice.index(2)
    } else {
        1
    };
    for companion in 0..count {
        let start = if companion == 0 {
            (0.0, 0.0)
        } else {
            (dice.normal() * 28.0, dice.between(-0.1, 0.7) * length)
        };
        let part = if companion == 0 {
            1.0
        } else {
            dice.between(0.3, 0.7)
        };
        let trunk = Course {
            start,
            lean: 0.0,
            length: length * part,
            radius,
            depth,
            restless,
        }
        .walk(dice);
        let twigs = dice.index(3 + (5.0 * severity) as usize);
        for _ in 0..twigs {
            let twig = Course {
                lean: dice.sign() * dice.between(0.35, 1.1),
                length: length * dice.between(0.06, 0.32),
                ..Course::from(trunk[dice.index(trunk.len())], depth, restless)
            }
            .walk(dice);
            if dice.chance(0.35) {
                let fork = Course {
                    lean: dice.sign() * dice.between(0.5, 1.3),
                    length: length * dice.between(0.04, 0.12),
                    ..Course::from(twig[dice.index(twig.len())], 0.8 * depth, restless)
                };
                points.extend(fork.walk(dice));
            }
            points.extend(twig);
        }
        points.extend(trunk);
    }
    let lip = if dice.chance(0.55) {
        depth * dice.between(0.15, 0.5)
    } else {
        0.0
    };
    let look = Look {
        lip,
        light_across: piece.light_from.0,
        halo: if dice.chance(0.5) {
            dice.between(0.06, 0.2)
        } else {
            0.0
        },
        ragged: dice.between(0.12, 0.34),
        texture: (dice.between(0.0, 1_000.0), dice.between(0.0, 1_000.0)),
    };
    paint(&points, &look)
}

/// Where one line of a crack begins and how it runs.
#[derive(Clone, Copy)]
struct Course {
    start: (f32, f32),
    /// Heading off the rolling direction in radians, 0 for a trunk; the walk
    /// slowly turns to half of it.
    lean: f32,
    length: f32,
    radius: f32,
    depth: f32,
    restless: f32,
}

impl Course {
    /// A twig of middling width that leaves a line at a point.
    fn from(point: Point, depth: f32, restless: f32) -> Self {
        Self {
            start: (point.x, point.y),
            lean: 0.5,
            length: 0.0,
            radius: 0.65 * point.radius,
            depth: 0.75 * depth,
            restless: 1.3 * restless,
        }
    }

    /// Walks half a pixel at a time.
    fn walk(self, dice: &mut Dice) -> Vec<Point> {
        let steps = (self.length * 2.0).max(8.0) as usize;
        let twig = self.lean != 0.0;
        let (mut x, mut y) = self.start;
        let mut heading = self.lean;
        let mut width = 1.0f32;
        let mut fade = 1.0f32;
        let mut points = Vec::with_capacity(steps);
        let way = if twig && dice.chance(0.4) { -1.0 } else { 1.0 };
        for step in 0..steps {
            let done = step as f32 / steps as f32;
            if step % 4 == 0 {
                heading += self.restless * dice.normal() - 0.05 * (heading - 0.5 * self.lean);
                if dice.chance(0.02) {
                    heading = 0.5 * self.lean + dice.between(-0.95, 0.95);
                }
                width += 0.22 * dice.normal() - 0.12 * (width - 1.0);
                fade += 0.12 * dice.normal() - 0.1 * (fade - 0.9);
                width = width.clamp(0.25, 2.6);
            }
            x += 0.5 * heading.sin();
            y += 0.5 * heading.cos() * way;
            let taper = if twig {
                ((1.0 - done) * 2.0).min(1.0)
            } else {
                (done.min(1.0 - done) * 6.0).min(1.0)
            };
            points.push(Point {
                x,
                y,
                radius: (self.radius * width * (0.3 + 0.7 * taper)).max(0.25),
                depth: self.depth * fade.clamp(0.15, 1.0) * (0.35 + 0.65 * taper),
            });
        }
        points
    }
}

/// What a crack looks like beside its course.
struct Look {
    /// Brightness of the raised lip, relative to the darkness of the crack.
    lip: f32,
    light_across: f32,
    /// Darkness of the scale beside it, relative to the darkness of the crack.
    halo: f32,
    /// How ragged its borders are.
    ragged: f32,
    /// Where in the noise table its borders lie.
    texture: (f32, f32),
}

fn paint(points: &[Point], look: &Look) -> Stamp {
    let mut x = (0.0f32, 0.0f32);
    let mut y = (0.0f32, 0.0f32);
    for point in points {
        let reach = 3.0 * point.radius + 4.5;
        x = (x.0.min(point.x - reach), x.1.max(point.x + reach));
        y = (y.0.min(point.y - reach), y.1.max(point.y + reach));
    }
    let mut canvas = Canvas::new(x, y);
    for (index, point) in points.iter().enumerate() {
        let noise = SPOTS.sample(
            look.texture.0 + 3.1 * point.x,
            look.texture.1 + 3.1 * point.y,
        );
        let radius = (point.radius * (1.0 + look.ragged * noise)).clamp(0.25, 2.0 * point.radius);
        let jolt = 1.2 * look.ragged * point.radius;
        let aside = jolt * SPOTS.sample(look.texture.1 + 0.8 * point.y, look.texture.0);
        let depth = point.depth * (1.0 - 0.25 * look.ragged * noise.abs());
        canvas.darken((point.x + aside, point.y), radius, depth);
        if look.halo > 0.0 && index % 6 == 0 {
            let reach = 2.2 * radius + 2.5;
            canvas.darken((point.x, point.y), reach, look.halo * depth);
            canvas.darken((point.x, point.y), 0.6 * reach, 1.6 * look.halo * depth);
        }
        if look.lip > 0.0 {
            // The lip away from the light faces it.
            let side = point.radius + 0.9;
            let at = (point.x - look.light_across.signum() * side, point.y);
            let broken = (0.8 + 0.5 * noise).clamp(0.0, 1.4);
            canvas.brighten(
                at,
                0.7 + 0.25 * point.radius,
                look.lip * point.depth * broken,
            );
        }
    }
    canvas.finish()
}
