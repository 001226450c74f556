//! Charts as SVG, drawn by plotters.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// Colours that people with any kind of colour vision tell apart (Okabe and Ito, Color
/// Universal Design, 2008), without the yellow, which is weak on white.
pub const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(0, 0, 0),
];

/// Why a chart could not be drawn.
#[derive(Debug, thiserror::Error)]
#[error("the chart cannot be drawn: {0}")]
pub struct ChartError(String);

/// A line with a band around it.
#[derive(Debug, Clone, PartialEq)]
pub struct Band {
    /// What the legend calls it.
    pub name: String,
    /// Number of its colour in [`COLOURS`].
    pub colour: usize,
    /// Whether its line is dashed.
    pub is_dashed: bool,
    /// Along the first axis, above 0 and rising: mean and half the width of the band.
    pub points: Vec<(f64, f64, f64)>,
}

/// What stands at the axes.
#[derive(Debug, Clone, Copy)]
pub struct Axes<'a> {
    /// Along the first, which is logarithmic.
    pub across: &'a str,
    /// Along the second.
    pub up: &'a str,
    /// Whether the second holds percentages, of which none lies below 0 or above 100.
    pub is_percent: bool,
}

/// Size in pixels.
const SIZE: (u32, u32) = (760, 460);

/// Lines with bands over a logarithmic axis, with a legend.
///
/// # Errors
/// When nothing is to be drawn.
pub fn bands(axes: Axes<'_>, bands: &[Band]) -> Result<String, ChartError> {
    let failed = |error: &dyn std::fmt::Display| ChartError(error.to_string());
    let points = || bands.iter().flat_map(|band| &band.points);
    let across = |least: f64, &(x, _, _): &(f64, f64, f64)| least.min(x);
    let least = points().fold(f64::INFINITY, across);
    let most = points().map(|(x, _, _)| *x).fold(0.0, f64::max);
    let low = points()
        .map(|(_, y, half)| y - half)
        .fold(f64::INFINITY, f64::min);
    let high = points()
        .map(|(_, y, half)| y + half)
        .fold(f64::NEG_INFINITY, f64::max);
    if !(least > 0.0 && low <= high) {
        return Err(ChartError("there are no points".to_owned()));
    }
    let margin = (0.05 * (high - low)).max(0.01 * high.abs()).max(1e-6);
    let (mut low, mut high) = (low - margin, high + margin);
    if axes.is_percent {
        (low, high) = (low.max(0.0), high.min(100.0));
    }
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        root.fill(&WHITE).map_err(|error| failed(&error))?;
        let (drawing, legend) = root.split_horizontally(SIZE.0 - 200);
        let mut chart = ChartBuilder::on(&drawing)
            .margin(14)
            .x_label_area_size(46)
            .y_label_area_size(56)
            .build_cartesian_2d((least * 0.9..most * 1.1).log_scale(), low..high)
            .map_err(|error| failed(&error))?;
        let ticks: Vec<f64> = {
            let mut ticks: Vec<f64> = points().map(|(x, _, _)| *x).collect();
            ticks.sort_by(f64::total_cmp);
            ticks.dedup();
            ticks
        };
        chart
            .configure_mesh()
            .disable_x_mesh()
            .x_label_formatter(&|_| String::new())
            .y_label_formatter(&|&value| number(value))
            .x_desc(axes.across)
            .y_desc(axes.up)
            .axis_desc_style(("sans-serif", 15))
            .label_style(("sans-serif", 13))
            .light_line_style(TRANSPARENT)
            .draw()
            .map_err(|error| failed(&error))?;
        // The values themselves stand at the axis, which decades would not say.
        for &tick in &ticks {
            let (x, y) = chart.backend_coord(&(tick, low));
            let style = ("sans-serif", 13)
                .into_text_style(&root)
                .pos(Pos::new(HPos::Center, VPos::Top));
            root.draw_text(&number(tick), &style, (x, y + 8))
                .map_err(|error| failed(&error))?;
            root.draw(&PathElement::new(vec![(x, y), (x, y + 5)], BLACK))
                .map_err(|error| failed(&error))?;
        }
        for band in bands {
            let colour = COLOURS[band.colour % COLOURS.len()];
            let upper = band
                .points
                .iter()
                .map(|&(x, y, half)| (x, (y + half).min(high)));
            let lower = band
                .points
                .iter()
                .rev()
                .map(|&(x, y, half)| (x, (y - half).max(low)));
            let outline: Vec<(f64, f64)> = upper.chain(lower).collect();
            let line = band.points.iter().map(|&(x, y, _)| (x, y));
            chart
                .draw_series([Polygon::new(outline, colour.mix(0.15).filled())])
                .map_err(|error| failed(&error))?;
            let style = colour.stroke_width(2);
            match band.is_dashed {
                true => chart.draw_series(DashedLineSeries::new(line.clone(), 7, 4, style)),
                false => chart.draw_series(LineSeries::new(line.clone(), style)),
            }
            .map_err(|error| failed(&error))?;
            chart
                .draw_series(line.map(|point| Circle::new(point, 3, colour.filled())))
                .map_err(|error| failed(&error))?;
        }
        draw_legend(&legend, bands).map_err(|error| failed(&error))?;
        root.present().map_err(|error| failed(&error))?;
    }
    Ok(svg)
}

fn draw_legend<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    bands: &[Band],
) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
    for (number, band) in bands.iter().enumerate() {
        let y = 24 + 22 * number as i32;
        let colour = COLOURS[band.colour % COLOURS.len()];
        let pieces: &[(i32, i32)] = match band.is_dashed {
            true => &[(4, 11), (15, 22), (26, 30)],
            false => &[(4, 30)],
        };
        for &(from, to) in pieces {
            let line = vec![(from, y), (to, y)];
            area.draw(&PathElement::new(line, colour.stroke_width(2)))?;
        }
        let style = ("sans-serif", 14)
            .into_text_style(area)
            .pos(Pos::new(HPos::Left, VPos::Center));
        area.draw_text(&band.name, &style, (38, y))?;
    }
    Ok(())
}

/// A number without the zeros at its end.
fn number(value: f64) -> String {
    ((1e4 * value).round() / 1e4).to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn lines_bands_ticks_and_names_are_there() {
        let band = |name: &str, colour, is_dashed| Band {
            name: name.to_owned(),
            colour,
            is_dashed,
            points: vec![(1.0, 50.0, 4.0), (10.0, 80.0, 2.0), (100.0, 99.0, 3.0)],
        };
        let axes = Axes {
            across: "labels, %",
            up: "balanced accuracy, %",
            is_percent: true,
        };
        let svg = bands(axes, &[band("MAE", 0, false), band("DINO", 1, true)]).unwrap();
        for part in ["MAE", "DINO", "labels, %", "#0072B2", "#D55E00", "<polygon"] {
            assert!(svg.contains(part), "{part}");
        }
        for tick in ["1", "10", "100"] {
            assert!(svg.contains(&format!("\n{tick}\n")), "{tick}");
        }
        assert!(bands(axes, &[]).is_err());
    }
}
