//! The picture of one feature: by how much it changes the brightness of each pixel.

/// Relative change of brightness over a rectangle of the surface.
///
/// Row 0 is the feature's first line. Column 0 lies `left` pixels from the
/// feature's anchor column.
pub(super) struct Stamp {
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) left: i32,
    /// Row-major; −1 is black, 0 no change, +1 twice as bright.
    pub(super) delta: Vec<f32>,
    /// |delta| from which a pixel counts as visible.
    pub(super) visible_from: f32,
}

/// |delta| below which a pixel is not drawn at all.
const NOTHING: f32 = 0.006;

impl Stamp {
    /// Crops the rectangle to what it changes. `left` is the column of the
    /// rectangle's left side relative to the anchor.
    pub(super) fn cropped(width: usize, left: i32, delta: Vec<f32>) -> Self {
        let height = delta.len().checked_div(width).unwrap_or(0);
        let mut rows = (height, 0);
        let mut columns = (width, 0);
        let mut peak = 0.0f32;
        for (y, row) in delta.chunks_exact(width.max(1)).enumerate() {
            for (x, value) in row.iter().enumerate() {
                if value.abs() > NOTHING {
                    rows = (rows.0.min(y), rows.1.max(y + 1));
                    columns = (columns.0.min(x), columns.1.max(x + 1));
                    peak = peak.max(value.abs());
                }
            }
        }
        if rows.0 >= rows.1 {
            return Self {
                height: 0,
                width: 0,
                left,
                delta: Vec::new(),
                visible_from: 1.0,
            };
        }
        let kept = delta
            .chunks_exact(width)
            .take(rows.1)
            .skip(rows.0)
            .flat_map(|row| row[columns.0..columns.1].iter().copied())
            .collect();
        Self {
            height: rows.1 - rows.0,
            width: columns.1 - columns.0,
            left: left + columns.0 as i32,
            delta: kept,
            visible_from: (0.3 * peak.min(0.7)).max(NOTHING),
        }
    }

    pub(super) fn row(&self, row: usize) -> &[f32] {
        &self.delta[row * self.width..(row + 1) * self.width]
    }
}

/// A drawing board: a rectangle with darkness and brightness to be added.
pub(super) struct Canvas {
    left: i32,
    top: i32,
    pub(super) width: usize,
    pub(super) height: usize,
    dark: Vec<f32>,
    bright: Vec<f32>,
}

impl Canvas {
    /// A board that covers columns `x` and rows `y` (first, last), both relative
    /// to the anchor.
    pub(super) fn new(x: (f32, f32), y: (f32, f32)) -> Self {
        let (left, top) = (x.0.floor() as i32 - 2, y.0.floor() as i32 - 2);
        let width = (x.1.ceil() as i32 + 3 - left).max(1) as usize;
        let height = (y.1.ceil() as i32 + 3 - top).max(1) as usize;
        Self {
            left,
            top,
            width,
            height,
            dark: vec![0.0; width * height],
            bright: vec![0.0; width * height],
        }
    }

    /// Position relative to the anchor of the pixel at `index`.
    pub(super) fn position(&self, index: usize) -> (f32, f32) {
        (
            (self.left + (index % self.width) as i32) as f32,
            (self.top + (index / self.width) as i32) as f32,
        )
    }

    /// Indices of the pixels within a square around a position.
    pub(super) fn around(
        &self,
        (x, y): (f32, f32),
        reach: f32,
    ) -> impl Iterator<Item = usize> + use<> {
        let span = |centre: f32, first: i32, count: usize| {
            let begin = (centre - reach).floor() as i32 - first;
            let end = (centre + reach).ceil() as i32 - first + 1;
            begin.max(0) as usize..(end.max(0) as usize).min(count)
        };
        let columns = span(x, self.left, self.width);
        let width = self.width;
        span(y, self.top, self.height)
            .flat_map(move |row| columns.clone().map(move |column| row * width + column))
    }

    /// Darkens a soft disc to at least `depth` (0 to 1).
    pub(super) fn darken(&mut self, centre: (f32, f32), radius: f32, depth: f32) {
        let (left, top, width, height) = (self.left, self.top, self.width, self.height);
        disc(left, top, width, height, centre, radius, |index, cover| {
            self.dark[index] = self.dark[index].max(depth * cover);
        });
    }

    /// Brightens a soft disc to at least `gain`.
    pub(super) fn brighten(&mut self, centre: (f32, f32), radius: f32, gain: f32) {
        let (left, top, width, height) = (self.left, self.top, self.width, self.height);
        disc(left, top, width, height, centre, radius, |index, cover| {
            self.bright[index] = self.bright[index].max(gain * cover);
        });
    }

    /// Changes the brightness of the pixel at `index` by the factor 1 + `delta`.
    pub(super) fn scale(&mut self, index: usize, delta: f32) {
        if delta < 0.0 {
            let left = (1.0 - self.dark[index]) * (1.0 + delta).max(0.0);
            self.dark[index] = 1.0 - left;
        } else {
            self.bright[index] = (1.0 + self.bright[index]) * (1.0 + delta) - 1.0;
        }
    }

    pub(super) fn pixels(&self) -> usize {
        self.dark.len()
    }

    pub(super) fn finish(self) -> Stamp {
        let delta = self
            .dark
            .iter()
            .zip(&self.bright)
            .map(|(dark, bright)| (1.0 + bright) * (1.0 - dark.min(0.97)) - 1.0)
            .collect();
        Stamp::cropped(self.width, self.left, delta)
    }
}

fn disc(
    left: i32,
    top: i32,
    width: usize,
    height: usize,
    (x, y): (f32, f32),
    radius: f32,
    mut paint: impl FnMut(usize, f32),
) {
    let reach = radius + 0.5;
    let columns = (x - reach).ceil() as i32 - left..=(x + reach).floor() as i32 - left;
    let rows = (y - reach).ceil() as i32 - top..=(y + reach).floor() as i32 - top;
    for row in rows {
        for column in columns.clone() {
            if row < 0 || column < 0 || row as usize >= height || column as usize >= width {
                continue;
            }
            let across = (column + left) as f32 - x;
            let along = (row + top) as f32 - y;
            let distance = (across * across + along * along).sqrt();
            let cover = (reach - distance).clamp(0.0, 1.0);
            if cover > 0.0 {
                paint(row as usize * width + column as usize, cover);
            }
        }
    }
}
