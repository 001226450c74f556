//! What is said of values out of range, and of several problems at once.

use crate::rendering::assert_error;

#[test]
fn an_empty_list_is_an_error() {
    assert_error(
        &[("[source]", "[engine]\nproviders = []\n\n[source]")],
        r#"
  × the station `station.toml` cannot be used: 1 problem

Error:
  × `engine.providers` is empty
    ╭─[station.toml:14:1]
 13 │ [engine]
 14 │ providers = []
    · ───────┬──────
    ·        ╰── must not be empty
 15 │
    ╰────
  help: Write at least one.
        Meaning: Execution providers in the order in which they are tried.
"#,
    );
}

#[test]
fn an_empty_name_is_an_error() {
    assert_error(
        &[(r#""line 3""#, r#""""#)],
        r#"
  × the station `station.toml` cannot be used: 1 problem

Error:
  × `name = ""` is empty
   ╭─[station.toml:1:1]
 1 │ name = ""
   · ────┬────
   ·     ╰── must not be empty
 2 │
   ╰────
  help: Write at least one character.
        Meaning: Name of the station; it stands in the record and in every report. Up to 100
        characters.
"#,
    );
}

#[test]
fn a_long_name_is_an_error() {
    assert_error(
        &[(
            r#""line 3""#,
            r#""xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx""#,
        )],
        r#"
  × the station `station.toml` cannot be used: 1 problem

Error:
  × `name = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…` is too long
   ╭─[station.toml:1:1]
 1 │ name = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
   · ───────────────────────────────────────────────────────┬──────────────────────────────────────────────────────
   ·                                                        ╰── 101 characters
 2 │
   ╰────
  help: Write at most 100 characters.
        Meaning: Name of the station; it stands in the record and in every report. Up to 100
        characters.
"#,
    );
}

#[test]
fn a_line_must_fill_whole_columns() {
    assert_error(
        &[(
            "line_rate_hz = 6000",
            "line_rate_hz = 6000\npixels_per_line = 4000",
        )],
        r#"
  × the station `station.toml` cannot be used: 1 problem

Error:
  × `camera.pixels_per_line = 4000` is not a multiple of 512
   ╭─[station.toml:5:1]
 4 │ line_rate_hz = 6000
 5 │ pixels_per_line = 4000
   · ───────────┬──────────
   ·            ╰── not a multiple of 512
 6 │
   ╰────
  help: Choose 3584 or 4096.
        Meaning: Pixels of one line. A multiple of 512, because a line is cut into columns of 512
        pixels; 512 to 16384.
"#,
    );
}

#[test]
fn a_whole_number_beyond_its_range_is_an_error() {
    assert_error(
        &[(
            "line_rate_hz = 6000",
            "line_rate_hz = 6000\npixels_per_line = 32768",
        )],
        r#"
  × the station `station.toml` cannot be used: 1 problem

Error:
  × `camera.pixels_per_line = 32768` is out of range
   ╭─[station.toml:5:1]
 4 │ line_rate_hz = 6000
 5 │ pixels_per_line = 32768
   · ───────────┬───────────
   ·            ╰── must be 512 to 16384
 6 │
   ╰────
  help: Choose a value from 512 to 16384.
        Meaning: Pixels of one line. A multiple of 512, because a line is cut into columns of 512
        pixels; 512 to 16384.
"#,
    );
}

#[test]
fn a_fraction_below_its_range_is_an_error() {
    assert_error(
        &[("0.3", "-0.3")],
        r#"
  × the station `station.toml` cannot be used: 1 problem

Error:
  × `optics.mm_per_pixel = -0.3` is out of range
   ╭─[station.toml:7:1]
 6 │ [optics]
 7 │ mm_per_pixel = -0.3
   · ─────────┬─────────
   ·          ╰── must be 0.001 to 10
 8 │
   ╰────
  help: Choose a value from 0.001 to 10.
        Meaning: Millimetres of material that one pixel covers across the line, 0.001 to 10.
"#,
    );
}

#[test]
fn what_is_not_a_number_is_out_of_range() {
    assert_error(
        &[("6000", "nan")],
        r#"
  × the station `station.toml` cannot be used: 1 problem

Error:
  × `camera.line_rate_hz = nan` is out of range
   ╭─[station.toml:4:1]
 3 │ [camera]
 4 │ line_rate_hz = nan
   · ─────────┬────────
   ·          ╰── must be 10 to 400000
 5 │
   ╰────
  help: Choose a value from 10 to 400000.
        Meaning: Lines per second (Hz) that the camera delivers when it runs free, and the most
        that it can deliver when an encoder triggers it; 10 to 400000.
"#,
    );
}

#[test]
fn a_number_beyond_all_bounds_is_out_of_range() {
    assert_error(
        &[(
            r#""simulator""#,
            r#""simulator"
seed = 99999999999999999999"#,
        )],
        r#"
  × the station `station.toml` cannot be used: 1 problem

Error:
  × `source.seed = 99999999999999999999` is out of range
    ╭─[station.toml:15:1]
 14 │ kind = "simulator"
 15 │ seed = 99999999999999999999
    · ─────────────┬─────────────
    ·              ╰── must be 0 to 9223372036854775807
    ╰────
  help: Choose a value from 0 to 9223372036854775807.
        Meaning: Seed of the random numbers: the same seed draws the same steel.
"#,
    );
}

#[test]
fn a_threshold_is_a_probability() {
    assert_error(
        &[("[source]", "[thresholds]\ncracks = 35\n\n[source]")],
        r#"
  × the station `station.toml` cannot be used: 1 problem

Error:
  × `thresholds.cracks = 35` is out of range
    ╭─[station.toml:14:1]
 13 │ [thresholds]
 14 │ cracks = 35
    · ─────┬─────
    ·      ╰── must be 0 to 1
 15 │
    ╰────
  help: Choose a value from 0 to 1.
        Meaning: Least probability, 0 to 1, at which this class is flagged.
"#,
    );
}

#[test]
fn a_speed_beyond_40_m_per_s_is_an_error() {
    assert_error(
        &[("max = 2.0", "max = 60.0")],
        r#"
  × the station `station.toml` cannot be used: 1 problem

Error:
  × `material.speed_m_per_s.max = 60.0` is out of range
    ╭─[station.toml:11:45]
 10 │ kind = "strip"
 11 │ speed_m_per_s = { min = 1.5, nominal = 1.8, max = 60.0 }
    ·                                             ─────┬────
    ·                                                  ╰── must be 0.001 to 40
 12 │
    ╰────
  help: Choose a value from 0.001 to 40.
        Meaning: Highest speed in metres per second, 0.001 to 40.
"#,
    );
}

#[test]
fn problems_of_all_kinds_are_reported_at_once() {
    assert_error(
        &[
            (
                "line_rate_hz = 6000",
                "line_rate_hz = 6000\nexposure_us = 500\nbits = 8",
            ),
            (r#""strip""#, r#""sheet""#),
            ("max = 2.0", "max = 1.0"),
            (
                r#"kind = "simulator""#,
                r#"kind = "simulator"
metres = 0"#,
            ),
        ],
        r#"
  × the station `station.toml` cannot be used: 5 problems

Error:
  × `camera.exposure_us = 500` is longer than the 166.7 µs from one line to the next
   ╭─[station.toml:4:1]
 3 │ [camera]
 4 │ line_rate_hz = 6000
   · ─────────┬─────────
   ·          ╰── 166.7 µs per line
 5 │ exposure_us = 500
   · ────────┬────────
   ·         ╰── 500 µs
 6 │ bits = 8
   ╰────
  help: Lower `camera.exposure_us` to at most 166.6, or `camera.line_rate_hz` to at most 2000.

Error:
  × unknown key `camera.bits`
   ╭─[station.toml:6:1]
 5 │ exposure_us = 500
 6 │ bits = 8
   · ────┬───
   ·     ╰── there is no such key
 7 │
   ╰────
  help: Remove it. `[camera]` has the keys `exposure_us`, `line_rate_hz`, `pixel_format`,
        `pixels_per_line`, `trigger`, `window`.

Error:
  × `material.kind = "sheet"` is not one of the possible values
    ╭─[station.toml:12:1]
 11 │ [material]
 12 │ kind = "sheet"
    · ───────┬──────
    ·        ╰── no such value
 13 │ speed_m_per_s = { min = 1.5, nominal = 1.8, max = 1.0 }
    ╰────
  help: Choose one of "strip", "rod", "wire".
        Meaning: Form of the material.

Error:
  × `material.speed_m_per_s.nominal = 1.8` is more than `material.speed_m_per_s.max = 1`
    ╭─[station.toml:13:30]
 12 │ kind = "sheet"
 13 │ speed_m_per_s = { min = 1.5, nominal = 1.8, max = 1.0 }
    ·                              ──────┬──────  ────┬────
    ·                                    │            ╰── 1 m/s
    ·                                    ╰── 1.8 m/s
 14 │
    ╰────
  help: Speeds must rise from `min` over `nominal` to `max`.

Error:
  × `source.metres = 0` is out of range
    ╭─[station.toml:17:1]
 16 │ kind = "simulator"
 17 │ metres = 0
    · ─────┬────
    ·      ╰── must be 0.01 to 100000
    ╰────
  help: Choose a value from 0.01 to 100000.
        Meaning: Metres of material to draw, 0.01 to 100000.
"#,
    );
}

#[test]
fn a_relation_and_an_unknown_key_are_reported_at_once() {
    assert_error(
        &[(
            "line_rate_hz = 6000",
            "line_rate_hz = 6000\nexposure_us = 500\nbits = 8",
        )],
        r#"
  × the station `station.toml` cannot be used: 2 problems

Error:
  × `camera.exposure_us = 500` is longer than the 166.7 µs from one line to the next
   ╭─[station.toml:4:1]
 3 │ [camera]
 4 │ line_rate_hz = 6000
   · ─────────┬─────────
   ·          ╰── 166.7 µs per line
 5 │ exposure_us = 500
   · ────────┬────────
   ·         ╰── 500 µs
 6 │ bits = 8
   ╰────
  help: Lower `camera.exposure_us` to at most 166.6, or `camera.line_rate_hz` to at most 2000.

Error:
  × unknown key `camera.bits`
   ╭─[station.toml:6:1]
 5 │ exposure_us = 500
 6 │ bits = 8
   · ────┬───
   ·     ╰── there is no such key
 7 │
   ╰────
  help: Remove it. `[camera]` has the keys `exposure_us`, `line_rate_hz`, `pixel_format`,
        `pixels_per_line`, `trigger`, `window`.
"#,
    );
}

#[test]
fn a_relation_with_a_wrong_value_is_not_reported_twice() {
    assert_error(
        &[(
            "line_rate_hz = 6000",
            r#"line_rate_hz = 6000
exposure_us = "500""#,
        )],
        r#"
  × the station `station.toml` cannot be used: 1 problem

Error:
  × `camera.exposure_us = "500"` is text, but must be a number
   ╭─[station.toml:5:1]
 4 │ line_rate_hz = 6000
 5 │ exposure_us = "500"
   · ─────────┬─────────
   ·          ╰── must be a number
 6 │
   ╰────
  help: Write a number.
        Meaning: Exposure time of one line in microseconds, 0.1 to 100000 and never longer than
        the time from one line to the next.
"#,
    );
}
