//! Relations between speed, line rate, exposure and deadlines.

use crate::camera::{MAXIMUM_LINES_PER_METRE, MINIMUM_LINES_PER_METRE, TILE_SIZE, Trigger};
use crate::figures::{ROUNDING, ceil, figures, floor};
use crate::relations::{Finding, LINE_RATE, error, warning};
use crate::station::Station;

/// Ratio of line spacing to pixel width, or its inverse, above which tiles are
/// so distorted that a model trained on square pixels misjudges them.
const WORST_ASPECT: f64 = 4.0;

const LINES_PER_METRE: &str = "camera.trigger.lines_per_metre";
const EXPOSURE: &str = "camera.exposure_us";
const PIXEL_WIDTH: &str = "optics.mm_per_pixel";
const SPEED_MIN: &str = "material.speed_m_per_s.min";
const SPEED_NOMINAL: &str = "material.speed_m_per_s.nominal";
const SPEED_MAX: &str = "material.speed_m_per_s.max";
const VERDICT: &str = "deadlines.verdict_ms";
const QUEUE: &str = "deadlines.queue_rows";

/// Speeds rise from the slowest over the nominal to the highest.
pub(crate) fn speeds(station: &Station) -> Vec<Finding> {
    let speed = station.material.speed_m_per_s;
    let mut findings = Vec::new();
    let mut ordered = |low_key, low: f64, high_key, high: f64| {
        if low > high {
            findings.push(error(
                low_key,
                format!("`{low_key} = {low}` is more than `{high_key} = {high}`"),
                "Speeds must rise from `min` over `nominal` to `max`.".to_owned(),
                vec![
                    (low_key, format!("{low} m/s")),
                    (high_key, format!("{high} m/s")),
                ],
            ));
        }
    };
    ordered(SPEED_MIN, speed.min, SPEED_NOMINAL, speed.nominal);
    ordered(SPEED_NOMINAL, speed.nominal, SPEED_MAX, speed.max);
    findings
}

/// An exposure fits between two lines.
pub(crate) fn exposure(station: &Station) -> Vec<Finding> {
    let camera = &station.camera;
    let period_us = 1e6 / camera.line_rate_hz;
    if camera.exposure_us <= period_us * (1.0 + ROUNDING) {
        return vec![];
    }
    vec![error(
        EXPOSURE,
        format!(
            "`{EXPOSURE} = {}` is longer than the {} µs from one line to the next",
            camera.exposure_us,
            figures(period_us)
        ),
        format!(
            "Lower `{EXPOSURE}` to at most {}, or `{LINE_RATE}` to at most {}.",
            floor(period_us),
            floor(1e6 / camera.exposure_us)
        ),
        vec![
            (EXPOSURE, format!("{} µs", camera.exposure_us)),
            (LINE_RATE, format!("{} µs per line", figures(period_us))),
        ],
    )]
}

/// The camera keeps up with the encoder at the highest speed.
pub(crate) fn encoder(station: &Station) -> Vec<Finding> {
    let Trigger::Encoder { lines_per_metre } = station.camera.trigger else {
        return vec![];
    };
    let rate = station.camera.line_rate_hz;
    let speed = station.material.speed_m_per_s.max;
    let needed = lines_per_metre * speed;
    if needed <= rate * (1.0 + ROUNDING) {
        return vec![];
    }
    vec![error(
        LINE_RATE,
        format!(
            "`{LINE_RATE} = {rate}` is too slow for the encoder: {lines_per_metre} lines per \
             metre at {speed} m/s are {} lines per second",
            figures(needed)
        ),
        format!(
            "Raise `{LINE_RATE}` to at least {}, lower `{LINES_PER_METRE}` to at most {}, or \
             lower `{SPEED_MAX}` to at most {}.",
            ceil(needed),
            floor(rate / speed),
            floor(rate / lines_per_metre)
        ),
        vec![
            (LINE_RATE, format!("{rate} lines per second")),
            (
                LINES_PER_METRE,
                format!("× {lines_per_metre} lines per metre"),
            ),
            (SPEED_MAX, format!("{speed} m/s")),
        ],
    )]
}

/// Lines of a free camera lie neither too close together nor too far apart;
/// those of an encoder are bounded by its own key.
pub(crate) fn line_spacing(station: &Station) -> Vec<Finding> {
    if station.camera.trigger != Trigger::FreeRunning {
        return vec![];
    }
    let rate = station.camera.line_rate_hz;
    let speed = station.material.speed_m_per_s.nominal;
    let (least, most) = (MINIMUM_LINES_PER_METRE, MAXIMUM_LINES_PER_METRE);
    let lines = station.lines_per_metre(speed);
    let remedy = if lines > most * (1.0 + ROUNDING) {
        format!(
            "Lower `{LINE_RATE}` to at most {}, or raise `{SPEED_NOMINAL}` to at least {}.",
            floor(most * speed),
            ceil(rate / most)
        )
    } else if lines < least * (1.0 - ROUNDING) {
        format!(
            "Raise `{LINE_RATE}` to at least {}, or lower `{SPEED_NOMINAL}` to at most {}.",
            ceil(least * speed),
            floor(rate / least)
        )
    } else {
        return vec![];
    };
    vec![error(
        LINE_RATE,
        format!(
            "`{LINE_RATE} = {rate}` at {speed} m/s makes {} lines per metre; possible are {least} \
             to {most}",
            figures(lines)
        ),
        remedy,
        vec![
            (LINE_RATE, format!("{rate} lines per second")),
            (SPEED_NOMINAL, format!("{speed} m/s")),
        ],
    )]
}

/// Keys that decide how long a row of tiles takes, with what to write there.
fn rate_labels(station: &Station) -> Vec<(&'static str, String)> {
    let rate = (
        LINE_RATE,
        format!("{} lines per second", station.camera.line_rate_hz),
    );
    match station.camera.trigger {
        Trigger::FreeRunning => vec![rate],
        Trigger::Encoder { lines_per_metre } => vec![
            (
                LINES_PER_METRE,
                format!("{lines_per_metre} lines per metre"),
            ),
            (
                SPEED_MAX,
                format!("{} m/s", station.material.speed_m_per_s.max),
            ),
            rate,
        ],
    }
}

/// A verdict is not due before a row of tiles has come.
pub(crate) fn row_and_deadline(station: &Station) -> Vec<Finding> {
    let verdict = station.deadlines.verdict_ms;
    let row_ms = station.row_duration().as_secs_f64() * 1000.0;
    if verdict >= row_ms * (1.0 - ROUNDING) {
        return vec![];
    }
    let mut labels = vec![(VERDICT, format!("{verdict} ms"))];
    labels.extend(rate_labels(station));
    vec![error(
        VERDICT,
        format!(
            "`{VERDICT} = {verdict}` is shorter than one row of tiles: {TILE_SIZE} lines take {} \
             ms",
            figures(row_ms)
        ),
        format!(
            "Verdicts cannot come faster than rows. Raise `{VERDICT}` to at least {}.",
            ceil(row_ms)
        ),
        labels,
    )]
}

/// The queue lasts until the deadline; doubtful otherwise.
pub(crate) fn queue_and_deadline(station: &Station) -> Vec<Finding> {
    let rows = station.deadlines.queue_rows;
    let verdict = station.deadlines.verdict_ms;
    let row_ms = station.row_duration().as_secs_f64() * 1000.0;
    let queue_ms = row_ms * rows as f64;
    if queue_ms >= verdict * (1.0 - ROUNDING) {
        return vec![];
    }
    let mut labels = vec![
        (QUEUE, format!("full after {} ms", figures(queue_ms))),
        (VERDICT, format!("{verdict} ms")),
    ];
    labels.extend(rate_labels(station));
    vec![warning(
        QUEUE,
        format!(
            "`{QUEUE} = {rows}` is full after {} ms, before the {verdict} ms of the deadline: \
             tiles are given up that could still be judged in time",
            figures(queue_ms)
        ),
        format!(
            "Raise `{QUEUE}` to at least {}, or lower `{VERDICT}` to at most {}.",
            (verdict / row_ms).ceil(),
            floor(queue_ms)
        ),
        labels,
    )]
}

/// Pixels are near square; doubtful otherwise.
pub(crate) fn aspect(station: &Station) -> Vec<Finding> {
    let speed = station.material.speed_m_per_s.nominal;
    let width = station.optics.mm_per_pixel;
    let spacing = station.metres_per_line(speed) * 1000.0;
    let stretch = (spacing / width).max(width / spacing);
    if stretch <= WORST_ASPECT * (1.0 + ROUNDING) {
        return vec![];
    }
    let width_label = (PIXEL_WIDTH, format!("{width} mm across"));
    let (remedy, mut labels) = match station.camera.trigger {
        Trigger::FreeRunning => (
            format!(
                "Square pixels need `{LINE_RATE} = {}` at {speed} m/s.",
                figures(speed * 1000.0 / width)
            ),
            vec![
                (LINE_RATE, format!("{} mm along", figures(spacing))),
                (SPEED_NOMINAL, format!("{speed} m/s")),
            ],
        ),
        Trigger::Encoder { .. } => (
            format!(
                "Square pixels need `{LINES_PER_METRE} = {}`.",
                figures(1000.0 / width)
            ),
            vec![(LINES_PER_METRE, format!("{} mm along", figures(spacing)))],
        ),
    };
    labels.push(width_label);
    vec![warning(
        labels[0].0,
        format!(
            "pixels are far from square: {} mm along the material and {width} mm across, {} : 1",
            figures(spacing),
            figures(stretch)
        ),
        remedy,
        labels,
    )]
}

/// The material moves at most a pixel during one exposure; doubtful otherwise.
pub(crate) fn blur(station: &Station) -> Vec<Finding> {
    let speed = station.material.speed_m_per_s.max;
    let width = station.optics.mm_per_pixel;
    let blur = station.motion_blur_mm(speed);
    if blur <= width * (1.0 + ROUNDING) {
        return vec![];
    }
    let exposure = station.camera.exposure_us;
    vec![warning(
        EXPOSURE,
        format!(
            "`{EXPOSURE} = {exposure}` blurs the image: at {speed} m/s the material moves {} mm \
             during it, more than a pixel of {width} mm",
            figures(blur)
        ),
        format!(
            "Lower `{EXPOSURE}` to at most {}.",
            floor(width * 1000.0 / speed)
        ),
        vec![
            (EXPOSURE, format!("{exposure} µs")),
            (SPEED_MAX, format!("{speed} m/s")),
            (PIXEL_WIDTH, format!("{width} mm")),
        ],
    )]
}
