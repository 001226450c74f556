//! A small right station, ways to spoil it, and the message as it is printed.

use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme};
use millsight_firmware_config::Station;

/// A station as short as it can be.
pub const STATION: &str = r#"name = "line 3"

[camera]
line_rate_hz = 6000

[optics]
mm_per_pixel = 0.3

[material]
kind = "strip"
speed_m_per_s = { min = 1.5, nominal = 1.8, max = 2.0 }

[source]
kind = "simulator"
"#;

/// [`STATION`] with the first of each text replaced by the second, once.
fn edited(edits: &[(&str, &str)]) -> String {
    edits.iter().fold(STATION.to_owned(), |text, (old, new)| {
        assert!(text.contains(old), "nothing to replace: {old:?}");
        text.replacen(old, new, 1)
    })
}

/// `diagnostic` as a terminal of 100 columns without colours shows it.
pub fn rendered(diagnostic: &dyn Diagnostic) -> String {
    let handler =
        GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor()).with_width(100);
    let mut text = String::new();
    handler.render_report(&mut text, diagnostic).unwrap();
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines.join("\n").trim_matches('\n').to_owned()
}

/// Asserts what is said of [`STATION`] after `edits`.
#[track_caller]
pub fn assert_error(edits: &[(&str, &str)], expected: &str) {
    let error = Station::parse(&edited(edits), "station.toml").unwrap_err();
    assert_text(&rendered(&error), expected);
}

/// Asserts which one warning is given of [`STATION`] after `edits`.
#[track_caller]
pub fn assert_warning(edits: &[(&str, &str)], expected: &str) {
    let (_, located) = Station::parse_with_warnings(&edited(edits), "station.toml").unwrap();
    assert_eq!(located.len(), 1, "{located:?}");
    assert_text(&rendered(&located[0]), expected);
}

#[track_caller]
fn assert_text(actual: &str, expected: &str) {
    let expected = expected.trim_matches('\n');
    assert!(
        actual == expected,
        "expected:\n{expected}\n\nactual:\n{actual}"
    );
}
