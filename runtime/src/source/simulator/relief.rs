//! Height fields under grazing light: what pressed-in marks look like.

use super::stamp::{Canvas, Stamp};

/// A height field over a rectangle with a change of brightness of its own.
pub(super) struct Relief {
    canvas: Canvas,
    height: Vec<f32>,
    albedo: Vec<f32>,
}

impl Relief {
    /// A flat field over columns `x` and rows `y`, relative to the anchor.
    pub(super) fn new(x: (f32, f32), y: (f32, f32)) -> Self {
        let canvas = Canvas::new(x, y);
        let pixels = canvas.pixels();
        Self {
            canvas,
            height: vec![0.0; pixels],
            albedo: vec![0.0; pixels],
        }
    }

    /// Adds what `shape` returns at each position: (height in pixels, relative
    /// change of brightness). Only positions within `reach` of `centre` are asked.
    pub(super) fn add(
        &mut self,
        centre: (f32, f32),
        reach: f32,
        mut shape: impl FnMut(f32, f32) -> (f32, f32),
    ) {
        for index in self.canvas.around(centre, reach) {
            let (x, y) = self.canvas.position(index);
            let (height, albedo) = shape(x - centre.0, y - centre.1);
            self.height[index] += height;
            self.albedo[index] = (1.0 + self.albedo[index]) * (1.0 + albedo) - 1.0;
        }
    }

    /// Puts a soft disc on it that brightens by `gain`, or darkens where negative.
    pub(super) fn speck(&mut self, centre: (f32, f32), radius: f32, gain: f32) {
        if gain > 0.0 {
            self.canvas.brighten(centre, radius, gain);
        } else {
            self.canvas.darken(centre, radius, -gain);
        }
    }

    /// Shades the field: a slope that faces the light brightens by `strength`
    /// per unit of slope, its other side darkens.
    pub(super) fn shade(mut self, light_from: (f32, f32), strength: f32) -> Stamp {
        let width = self.canvas.width;
        for index in width + 1..self.height.len().saturating_sub(width + 1) {
            let across = 0.5 * (self.height[index + 1] - self.height[index - 1]);
            let along = 0.5 * (self.height[index + width] - self.height[index - width]);
            // A slope that falls towards the light faces it.
            let facing = -(across * light_from.0 + along * light_from.1);
            let shade = strength * facing;
            let shade = if shade > 0.0 {
                1.7 * shade / (1.0 + shade)
            } else {
                0.9 * shade / (1.0 - shade)
            };
            let delta = (1.0 + shade) * (1.0 + self.albedo[index]) - 1.0;
            if delta.abs() > 0.002 {
                self.canvas.scale(index, delta);
            }
        }
        self.canvas.finish()
    }
}
