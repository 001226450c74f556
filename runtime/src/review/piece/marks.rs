//! Marks that repeat along a piece: a damaged roll leaves one with every turn.
//!
//! The marks of a class in a column of tiles are points along the piece. Their
//! periodogram (Schuster, Terrestrial Magnetism 3, 1898), `|Σ exp(2πi f x)|² / n`, is
//! exponentially distributed with mean 1 at every frequency `f` where points lie at
//! random, and near `n` where they repeat. Speed and slip drift over a long piece, so
//! that windows are looked at one by one and their periodograms summed (Bartlett,
//! Nature 161, 1948): twice the sum over `k` windows has the chi-squared distribution
//! with `2k` degrees of freedom. The period of the highest peak is then fitted by least
//! squares to the points, each window having its own offset.

use std::f64::consts::TAU;

use millsight_export::card::NO_DEFECT;
use serde::Serialize;
use statrs::distribution::{ChiSquared, ContinuousCDF};
use statrs::statistics::{Data, Median};

use super::Finding;

/// Length of a window, metres.
const WINDOW: f64 = 50.0;

/// Fewest points of a window that is looked at.
const FEWEST_IN_WINDOW: usize = 4;

/// Fewest marks that are called repeating.
const FEWEST: usize = 6;

/// Shortest period in lengths of a tile: a mark is known to lie within its tile, so that
/// shorter ones cannot be told from the raster of the tiles.
const SHORTEST: f64 = 2.5;

/// Longest period, metres: that of a roll of more than a metre across, and the
/// elongation after it. A window holds at least five.
const LONGEST: f64 = 10.0;

/// Steps of the frequency between two that are independent.
const OVERSAMPLING: f64 = 8.0;

/// Highest probability that points at random have so high a peak anywhere.
const CHANCE: f64 = 1e-3;

/// Least share of the highest peak that another one has which may be meant.
const LEAST_TOP: f64 = 0.6;

/// Least share of the marks that a period foretells that must be there.
const LEAST_PRESENT: f64 = 0.5;

/// Marks that repeat.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct RepeatingMark {
    /// Their class.
    pub class: String,
    /// Column of tiles, from 0 on.
    pub column: i64,
    /// Where its centre lies across, millimetres.
    pub millimetres: f64,
    /// Their distance along the piece, millimetres.
    pub period_mm: f64,
    /// Its standard error, millimetres.
    pub error_mm: f64,
    /// How many there are.
    pub marks: usize,
    /// Where the first one begins, metres.
    pub from_m: f64,
    /// Where the last one begins, metres.
    pub to_m: f64,
    /// The probability that marks at random would look like this.
    pub chance: f64,
}

/// Marks that repeat, of each class and column. Of neighbouring columns with the same
/// period the one with the most marks is given. `findings` are in the order of their
/// lines.
pub(super) fn repeating(findings: &[Finding], tile_m: f64, tile_mm: f64) -> Vec<RepeatingMark> {
    let mut places: Vec<(&str, i64, f64)> = findings
        .iter()
        .filter_map(|finding| Some((finding.taken_for()?, finding.column, finding.millimetres)))
        .filter(|(class, ..)| *class != NO_DEFECT)
        .collect();
    places.sort_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)));
    places.dedup_by(|a, b| (a.0, a.1) == (b.0, b.1));
    let mut found: Vec<RepeatingMark> = Vec::new();
    for (class, column, millimetres) in places {
        let of_place = findings
            .iter()
            .filter(|finding| finding.column == column && finding.taken_for() == Some(class));
        let points = beginnings(of_place.map(|finding| finding.metres), tile_m);
        let Some(period) = period(&points, tile_m) else {
            continue;
        };
        let mark = RepeatingMark {
            class: class.to_owned(),
            column,
            millimetres,
            period_mm: period.metres * 1000.0,
            error_mm: period.error * 1000.0,
            marks: period.marks,
            from_m: points.first().copied().unwrap_or_default(),
            to_m: points.last().copied().unwrap_or_default(),
            chance: period.chance,
        };
        let same = found
            .iter_mut()
            .find(|known| is_same(known, &mark, tile_mm));
        match same {
            Some(known) if known.marks >= mark.marks => {}
            Some(known) => *known = mark,
            None => found.push(mark),
        }
    }
    found
}

fn is_same(a: &RepeatingMark, b: &RepeatingMark, tile_mm: f64) -> bool {
    let error = a.error_mm.hypot(b.error_mm);
    a.class == b.class
        && (a.millimetres - b.millimetres).abs() < 1.5 * tile_mm
        && (a.period_mm - b.period_mm).abs() < 4.0 * error
}

/// Where marks begin: of tiles that follow each other the first.
fn beginnings(metres: impl Iterator<Item = f64>, tile_m: f64) -> Vec<f64> {
    let mut points = Vec::new();
    let mut last = f64::NEG_INFINITY;
    for at in metres {
        if at - last > 1.5 * tile_m {
            points.push(at);
        }
        last = at;
    }
    points
}

/// A period that points have.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Period {
    metres: f64,
    /// Standard error, metres.
    error: f64,
    marks: usize,
    /// Share of the marks that it foretells that are there.
    present: f64,
    chance: f64,
}

/// The period of points along a piece, ascending and in metres, where they have one.
fn period(points: &[f64], tile_m: f64) -> Option<Period> {
    let windows: Vec<&[f64]> = points
        .chunk_by(|a, b| (a / WINDOW).floor() == (b / WINDOW).floor())
        .filter(|window| window.len() >= FEWEST_IN_WINDOW)
        .collect();
    if windows.iter().map(|window| window.len()).sum::<usize>() < FEWEST {
        return None;
    }
    let (lowest, highest) = (1.0 / LONGEST, 1.0 / (SHORTEST * tile_m));
    let step = 1.0 / (WINDOW * OVERSAMPLING);
    let steps = ((highest - lowest) / step).floor().max(0.0) as usize;
    let power: Vec<f64> = (0..=steps)
        .map(|number| {
            let frequency = lowest + number as f64 * step;
            windows.iter().map(|window| at(window, frequency).0).sum()
        })
        .collect();
    let peak = power.iter().copied().fold(0.0, f64::max);
    let distribution = ChiSquared::new(2.0 * windows.len() as f64).ok()?;
    let independent = (steps as f64 / OVERSAMPLING).max(1.0);
    let chance = independent * distribution.sf(2.0 * peak);
    if chance > CHANCE {
        return None;
    }
    // Half a period, and a third of one, give as high a peak, but foretell marks that are
    // not there. Beside each peak it falls, so that only tops count.
    let is_top = |number: usize| {
        let beside = |other: Option<usize>| other.and_then(|other| power.get(other)).copied();
        let here = power[number];
        beside(number.checked_sub(1)).is_none_or(|before| before <= here)
            && beside(Some(number + 1)).is_none_or(|after| after <= here)
    };
    let tops =
        (0..power.len()).filter(|&number| power[number] >= LEAST_TOP * peak && is_top(number));
    let fitted = tops.filter_map(|top| fit(&windows, lowest + top as f64 * step, tile_m));
    let best = fitted.max_by(|a, b| a.present.total_cmp(&b.present))?;
    Some(Period { chance, ..best })
}

/// The periodogram of points at a frequency, and the phase of its sum.
fn at(points: &[f64], frequency: f64) -> (f64, f64) {
    let (mut real, mut imaginary) = (0.0, 0.0);
    for point in points {
        let (sine, cosine) = (TAU * frequency * point).sin_cos();
        real += cosine;
        imaginary += sine;
    }
    let power = (real * real + imaginary * imaginary) / points.len() as f64;
    (power, imaginary.atan2(real))
}

/// A mark: how many turns it is after the first, and where it begins, metres.
type Mark = (f64, f64);

/// Least squares, first over the points that lie within a quarter of a period from where
/// they should, then over those within a tile from there, so that others count no more.
/// `None` where too few do, or too many of those that should be are not there.
fn fit(windows: &[&[f64]], frequency: f64, tile_m: f64) -> Option<Period> {
    let about = 1.0 / frequency;
    let near = windows.iter().map(|window| {
        let offset = at(window, frequency).1 / TAU * about;
        marks_near(window, about, offset, about / 4.0)
    });
    let near: Vec<Vec<Mark>> = near.collect();
    let first = slope(&near)?;
    let near = windows.iter().zip(&near).map(|(window, marks)| {
        let offsets: Vec<f64> = marks.iter().map(|(turn, at)| at - turn * first).collect();
        let offset = Data::new(offsets).median();
        marks_near(window, first, offset, tile_m)
    });
    let near: Vec<Vec<Mark>> = near.collect();
    let metres = slope(&near)?;
    let marks: usize = near.iter().map(Vec::len).sum();
    let foretold: f64 = near
        .iter()
        .filter_map(|marks| Some(marks.last()?.0 - marks.first()?.0 + 1.0))
        .sum();
    let present = marks as f64 / foretold;
    if marks < FEWEST || present < LEAST_PRESENT {
        return None;
    }
    let (mut squares, mut residuals) = (0.0, 0.0);
    for (turn, place) in near.iter().flat_map(|marks| centred(marks)) {
        squares += turn * turn;
        residuals += (place - metres * turn).powi(2);
    }
    let free = marks.saturating_sub(windows.len() + 1).max(1);
    Some(Period {
        metres,
        error: (residuals / free as f64 / squares).sqrt(),
        marks,
        present,
        chance: 0.0,
    })
}

/// The points of a window that lie less than `reach` from where marks should be; of those
/// of a turn the first.
fn marks_near(window: &[f64], period: f64, offset: f64, reach: f64) -> Vec<Mark> {
    let marks = window.iter().map(|&point| {
        let turn = ((point - offset) / period).round();
        (turn, point)
    });
    let mut near: Vec<Mark> = marks
        .filter(|(turn, point)| (point - offset - turn * period).abs() < reach)
        .collect();
    near.dedup_by(|later, earlier| later.0 == earlier.0);
    near
}

/// Metres of a turn, the windows having offsets of their own; `None` where no window has
/// marks of two turns.
fn slope(windows: &[Vec<Mark>]) -> Option<f64> {
    let (mut squares, mut products) = (0.0, 0.0);
    for (turn, place) in windows.iter().flat_map(|marks| centred(marks)) {
        squares += turn * turn;
        products += turn * place;
    }
    (squares > 0.0).then(|| products / squares)
}

/// Marks less their means.
fn centred(marks: &[Mark]) -> impl Iterator<Item = Mark> {
    let count = marks.len().max(1) as f64;
    let turn = marks.iter().map(|mark| mark.0).sum::<f64>() / count;
    let place = marks.iter().map(|mark| mark.1).sum::<f64>() / count;
    marks
        .iter()
        .map(move |mark| (mark.0 - turn, mark.1 - place))
}
