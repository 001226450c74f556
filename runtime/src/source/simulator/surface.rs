//! One line of the undisturbed surface, in coordinates of the material.

use super::piece::{Islands, Piece};
use super::texture::{
    BLOTCHES, CLOUD_STEP, CLOUDS, COARSE_GRAIN, FLAKES, GRAIN, RIPPLE, ROLLING, SPOTS, STEP, Table,
    add_row,
};

/// Buffers for one line, kept from line to line.
#[derive(Default)]
pub(super) struct SurfaceScratch {
    field: Vec<f32>,
    coverage: Vec<f32>,
    nodes: Vec<f32>,
}

/// Writes the brightness (mean about 1) of the material columns that begin at
/// `first`, at the position `along` of the piece.
pub(super) fn surface_line(
    piece: &Piece,
    along: f64,
    first: i64,
    scratch: &mut SurfaceScratch,
    row: &mut [f32],
) {
    let surface = &piece.surface;
    let offset = |table: usize| {
        let (column, row) = surface.offsets[table];
        (column + first, row)
    };
    scratch.field.resize(row.len(), 0.0);
    scratch.coverage.resize(row.len(), 0.0);

    row.fill(1.0);
    let (column, line) = offset(0);
    clouds(
        row,
        (column, line),
        along,
        surface.clouds,
        &mut scratch.nodes,
    );
    // A second set of clouds says where grain, ripple and islands are strong.
    scratch.coverage.fill(0.0);
    let elsewhere = (column + 2_311, line + 157);
    clouds(
        &mut scratch.coverage,
        elsewhere,
        along,
        1.0,
        &mut scratch.nodes,
    );

    let (column, line) = offset(1);
    add_between(row, &ROLLING, (column, line), along / 8.0, surface.rolling);

    scratch.field.fill(0.0);
    let (column, line) = offset(2);
    add_nearest(
        &mut scratch.field,
        &RIPPLE,
        (column, line),
        2.0 * along,
        surface.ripple,
    );
    for (value, (ripple, coverage)) in row
        .iter_mut()
        .zip(scratch.field.iter().zip(&scratch.coverage))
    {
        *value += ripple * (0.5 + coverage).clamp(0.0, 2.5);
    }

    scratch.field.fill(0.0);
    let (column, line) = offset(3);
    let relative = surface.grain.max(1e-4);
    add_nearest(&mut scratch.field, &GRAIN, (column, line), 2.0 * along, 1.0);
    let (column, line) = offset(4);
    let coarse = surface.coarse_grain / relative;
    add_nearest(
        &mut scratch.field,
        &COARSE_GRAIN,
        (column, line),
        2.0 * along,
        coarse,
    );
    let spread = (1.0 + coarse * coarse).sqrt();
    let glint_from = 2.1 * spread;
    let glints = surface.glints / spread;
    for (value, (grain, coverage)) in row
        .iter_mut()
        .zip(scratch.field.iter().zip(&scratch.coverage))
    {
        let local = (1.0 + 0.3 * coverage).clamp(0.3, 2.0);
        let glint = (grain * local - glint_from).max(0.0);
        *value += relative * grain * local + glints * glint;
    }

    let islands = [
        (&surface.flakes, &FLAKES, 5, 0.5, 0.8),
        (&surface.blotches, &BLOTCHES, 6, 1.0, 0.7),
        (&surface.spots, &SPOTS, 7, 1.0, 0.6),
    ];
    for (present, table, index, rate, clustering) in islands {
        if let Some(islands) = present {
            scratch.field.fill(0.0);
            add_between(&mut scratch.field, table, offset(index), rate * along, 1.0);
            overlay(row, &scratch.field, &scratch.coverage, islands, clustering);
        }
    }
}

fn overlay(row: &mut [f32], field: &[f32], coverage: &[f32], islands: &Islands, clustering: f32) {
    for (value, (level, coverage)) in row.iter_mut().zip(field.iter().zip(coverage)) {
        let above = level + clustering * coverage - islands.threshold;
        let inside = (above * islands.sharpness + 0.5).clamp(0.0, 1.0);
        *value *= 1.0 - islands.depth * inside;
    }
}

/// Adds the table row nearest to a position.
fn add_nearest(
    target: &mut [f32],
    table: &Table,
    (column, line): (i64, i64),
    at: f64,
    amplitude: f32,
) {
    add_row(
        target,
        table.row(line + at.round() as i64),
        column,
        amplitude,
    );
}

/// Adds the two table rows around a position, weighted.
fn add_between(
    target: &mut [f32],
    table: &Table,
    (column, line): (i64, i64),
    at: f64,
    amplitude: f32,
) {
    let floor = at.floor();
    let part = (at - floor) as f32;
    let line = line + floor as i64;
    add_row(target, table.row(line), column, amplitude * (1.0 - part));
    add_row(target, table.row(line + 1), column, amplitude * part);
}

/// Adds the cloud table, enlarged by [`CLOUD_STEP`] in both directions.
fn clouds(
    target: &mut [f32],
    (column, line): (i64, i64),
    along: f64,
    amplitude: f32,
    nodes: &mut Vec<f32>,
) {
    let step = CLOUD_STEP as i64;
    let first = column.div_euclid(step);
    let within = column.rem_euclid(step) as usize;
    nodes.clear();
    nodes.resize((target.len() + within) / CLOUD_STEP + 2, 0.0);
    add_between(
        nodes,
        &CLOUDS,
        (first, line),
        along / step as f64,
        amplitude,
    );
    let mut rest = target;
    let mut from = within;
    for pair in nodes.windows(2) {
        let count = rest.len().min(CLOUD_STEP - from);
        let (now, later) = rest.split_at_mut(count);
        let slope = (pair[1] - pair[0]) / CLOUD_STEP as f32;
        for (offset, value) in now.iter_mut().enumerate() {
            *value += pair[0] + slope * (from + offset) as f32;
        }
        rest = later;
        from = 0;
        if rest.is_empty() {
            break;
        }
    }
}

/// Roughness of the material's edge at a position along the piece, in pixels.
pub(super) fn edge_roughness(piece: &Piece, along: f64, side: usize) -> f32 {
    let (column, line) = piece.surface.offsets[side];
    let slow = ROLLING.sample(column as f32 % 1_900.0, (along / 12.0 % 512.0) as f32);
    let fast = f32::from(BLOTCHES.row(line + along as i64)[side * 100]) / STEP;
    0.5 * slow + 0.35 * fast
}
