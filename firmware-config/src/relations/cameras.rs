//! Relations between a camera, its pixels and its frames.

use crate::figures::figures;
use crate::relations::{Finding, LINE_RATE, error, warning};
use crate::source::Source;
use crate::station::Station;

const FORMAT: &str = "camera.pixel_format";
const WINDOW: &str = "camera.window";
const FRAME_LINES: &str = "source.frame_lines";

/// Longest time, in seconds, that a frame may take without remark: all of its lines come
/// when the last was taken.
const LONG_FRAME_S: f64 = 0.2;

/// A window is for deep pixels, and has a black below its white.
pub(crate) fn window(station: &Station) -> Vec<Finding> {
    let Some(window) = station.camera.window else {
        return vec![];
    };
    let bits = station.camera.pixel_format.bits();
    if bits == 8 {
        return vec![error(
            WINDOW,
            format!("`{WINDOW}` is for pixels of more than 8 bits"),
            format!("Remove the section, or write the deeper `{FORMAT}` of the camera."),
            vec![
                (WINDOW, "needs more bits".to_owned()),
                (FORMAT, "8 bits".to_owned()),
            ],
        )];
    }
    let most = (1u32 << bits) - 1;
    if window.black >= window.white || u32::from(window.white) > most {
        return vec![error(
            WINDOW,
            format!(
                "`{WINDOW}` goes from {} to {}, but pixels of {bits} bits have levels from 0 to \
                 {most}",
                window.black, window.white
            ),
            format!("Write a `black` below `white`, and a `white` up to {most}."),
            vec![
                (WINDOW, format!("{} to {}", window.black, window.white)),
                (FORMAT, format!("{bits} bits")),
            ],
        )];
    }
    vec![]
}

/// Frames come often enough.
pub(crate) fn frames(station: &Station) -> Vec<Finding> {
    let frame_lines = match station.source {
        Source::V4l2 { frame_lines, .. } | Source::Genicam { frame_lines, .. } => frame_lines,
        Source::Simulator { .. } | Source::Replay { .. } | Source::Feed { .. } => return vec![],
    };
    let rate = station.camera.line_rate_hz;
    let seconds = f64::from(frame_lines) / rate;
    if seconds <= LONG_FRAME_S {
        return vec![];
    }
    vec![warning(
        FRAME_LINES,
        format!(
            "a frame of {frame_lines} lines takes {} ms, and no verdict comes before it is whole",
            figures(seconds * 1000.0)
        ),
        format!("Lower `{FRAME_LINES}`: a tenth of the line rate is much."),
        vec![
            (FRAME_LINES, format!("{frame_lines} lines")),
            (LINE_RATE, format!("{rate} lines per second")),
        ],
    )]
}
