//! From the surface to grey levels: shape, light, optics and sensor.

use super::dice::mix;
use super::piece::Piece;
use super::stamp::Stamp;
use super::surface::{SurfaceScratch, edge_roughness, surface_line};
use super::texture::{WHITE, add_row};

/// A stamp put on the surface.
#[derive(Clone, Copy)]
pub(super) struct Placed<'a> {
    /// Camera line of the stamp's first row.
    pub(super) line: u64,
    /// Material column of the stamp's left side.
    pub(super) column: i64,
    pub(super) stamp: &'a Stamp,
}

/// Buffers for one line, kept from line to line.
#[derive(Default)]
pub(super) struct CameraScratch {
    surface: SurfaceScratch,
    material: Vec<f32>,
    image: Vec<f32>,
    noise: Vec<f32>,
}

/// Grey levels of the camera columns `first..first + out.len()` of one line.
///
/// The bytes depend on the piece, the stamps, the line and the column alone,
/// not on which part of the line is asked for.
pub(super) fn expose_line(
    piece: &Piece,
    stamps: &[Placed],
    line: u64,
    first: usize,
    scratch: &mut CameraScratch,
    out: &mut [u8],
) {
    // One column on either side for the optics' spread.
    let (from, until) = (first as i64 - 1, (first + out.len()) as i64 + 1);
    scratch.image.clear();
    scratch.image.resize((until - from) as usize, 0.0);
    see_material(piece, stamps, line, from, scratch);
    read_out(piece, line, first, scratch, out);
}

/// Fills `scratch.image` with the light that comes from the material.
fn see_material(
    piece: &Piece,
    stamps: &[Placed],
    line: u64,
    from: i64,
    scratch: &mut CameraScratch,
) {
    let until = from + scratch.image.len() as i64;
    let along = piece.along(line);
    let left = piece.left(line);
    // Material column of camera column x is x − left: an integer and a fraction.
    let shift = (-left).floor();
    let part = -left - shift;
    let shift = shift as i64;
    let width = piece.profile.len() as i64;
    scratch.image.fill(piece.level * piece.stray.0);
    spill(piece, left, from, &mut scratch.image);
    let first = (from + shift).max(-2);
    let last = (until + shift + 1).min(width + 2);
    if first >= last {
        return;
    }
    scratch.material.resize((last - first) as usize, 0.0);
    let row = &mut scratch.material[..];
    surface_line(piece, along, first, &mut scratch.surface, row);
    for placed in stamps {
        let Some(index) = line.checked_sub(placed.line) else {
            continue;
        };
        if index >= placed.stamp.height as u64 {
            continue;
        }
        let delta = placed.stamp.row(index as usize);
        let begin = placed.column.max(first);
        let end = (placed.column + delta.len() as i64).min(last);
        if begin < end {
            let source = &delta[(begin - placed.column) as usize..(end - placed.column) as usize];
            let target = &mut row[(begin - first) as usize..(end - first) as usize];
            for (value, change) in target.iter_mut().zip(source) {
                *value *= 1.0 + change;
            }
        }
    }
    let inner = first.max(0)..last.min(width);
    if inner.start < inner.end {
        let target = &mut row[(inner.start - first) as usize..(inner.end - first) as usize];
        let profile = &piece.profile[inner.start as usize..inner.end as usize];
        let level = piece.level * piece.lamp(line);
        for (value, shape) in target.iter_mut().zip(profile) {
            *value = (*value * level * shape).max(0.0) + piece.glow;
        }
    }
    // Beyond the edge the last column goes on, to be faded out below.
    for column in (first..0).rev() {
        row[(column - first) as usize] = row[(column + 1 - first) as usize];
    }
    for column in width.max(first + 1)..last {
        row[(column - first) as usize] = row[(column - 1 - first) as usize];
    }

    let begin = (first - shift).max(from);
    let end = (last - 1 - shift).min(until);
    for (target, pair) in scratch.image
        [(begin - from).max(0) as usize..(end - from).max(0) as usize]
        .iter_mut()
        .zip(row[(begin + shift - first) as usize..].windows(2))
    {
        *target = pair[0] * (1.0 - part) + pair[1] * part;
    }
    let edges = [
        (left + edge_roughness(piece, along, 0), 1.0f32),
        (left + piece.width + edge_roughness(piece, along, 1), -1.0),
    ];
    let beside = piece.level * (piece.stray.0 + piece.stray.1);
    for (edge, inwards) in edges {
        let near = ((edge as i64 - 6).max(from), (edge as i64 + 7).min(until));
        for x in near.0..near.1 {
            let inside = (0.6 * (x as f32 - edge) * inwards + 0.5).clamp(0.0, 1.0);
            let value = &mut scratch.image[(x - from) as usize];
            *value = *value * inside + beside * (1.0 - inside);
        }
    }
}

/// Adds the light that the material throws beside itself to an image line that
/// begins at column `from`.
fn spill(piece: &Piece, left: f32, from: i64, image: &mut [f32]) {
    const REACH: i64 = 240;
    let until = from + image.len() as i64;
    let (left, right) = (left as i64, (left + piece.width) as i64);
    let amount = piece.level * piece.stray.1;
    let sides = [
        (left - REACH, left + 3, left),
        (right - 3, right + REACH, right),
    ];
    for (begin, end, edge) in sides {
        for x in begin.max(from)..end.min(until) {
            let away = (x - edge).abs() as f32;
            let falling = 1.0 + away / 30.0;
            let fading = 1.0 - away / REACH as f32;
            image[(x - from) as usize] += amount * fading / (falling * falling);
        }
    }
}

/// Optics, fixed pattern, noise and quantisation.
fn read_out(piece: &Piece, line: u64, first: usize, scratch: &mut CameraScratch, out: &mut [u8]) {
    let sensor = &piece.sensor;
    let spread = sensor.spread;
    let columns = first..first + out.len();
    let chance = mix(piece.seed, &[0x4015E, line]);
    scratch.noise.clear();
    scratch.noise.resize(out.len(), 0.0);
    let unit = std::f32::consts::FRAC_1_SQRT_2;
    for (row, start) in [(0, 8), (6, 20)] {
        let row = WHITE.row((chance >> row & 63) as i64);
        let start = (chance >> start & 8191) as i64 + first as i64;
        add_row(&mut scratch.noise, row, start, unit);
    }
    let light = scratch.image.windows(3);
    let gains = sensor.gain[columns.clone()]
        .iter()
        .zip(&sensor.offset[columns]);
    let read_variance = sensor.read_noise * sensor.read_noise;
    for (((grey, seen), noise), (gain, offset)) in
        out.iter_mut().zip(light).zip(&scratch.noise).zip(gains)
    {
        let level = gain * ((1.0 - 2.0 * spread) * seen[1] + spread * (seen[0] + seen[2]));
        let deviation = (read_variance + sensor.shot_noise * level).sqrt();
        *grey = (level + offset + noise * deviation + 0.5) as u8;
    }
}
