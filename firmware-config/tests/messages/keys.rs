//! What is said of a text that is not TOML, and of keys that are unknown or missing.

use crate::rendering::assert_error;

#[test]
fn an_unclosed_text_is_not_toml() {
    assert_error(
        &[(r#"name = "line 3""#, r#"name = "line 3"#)],
        r#"
  × the station `station.toml` cannot be used: 1 problem

Error:
  × this is not TOML: invalid basic string, expected `"`
   ╭─[station.toml:1:14]
 1 │ name = "line 3
   ·              ┬
   ·              ╰── here
 2 │
   ╰────
  help: Sections are written `[section]`, keys `key = value`, and text stands in quotes.
"#,
    );
}

#[test]
fn a_key_without_value_is_not_toml() {
    assert_error(
        &[("mm_per_pixel = 0.3", "mm_per_pixel =")],
        r#"
  × the station `station.toml` cannot be used: 1 problem

Error:
  × this is not TOML: string values must be quoted, expected literal string
   ╭─[station.toml:7:14]
 6 │ [optics]
 7 │ mm_per_pixel =
   ·              ┬
   ·              ╰── here
 8 │
   ╰────
  help: Sections are written `[section]`, keys `key = value`, and text stands in quotes.
"#,
    );
}

#[test]
fn a_key_written_twice_is_not_toml() {
    assert_error(
        &[(
            "line_rate_hz = 6000",
            "line_rate_hz = 6000\nline_rate_hz = 6000",
        )],
        r#"
  × the station `station.toml` cannot be used: 1 problem

Error:
  × this is not TOML: duplicate key
   ╭─[station.toml:5:1]
 4 │ line_rate_hz = 6000
 5 │ line_rate_hz = 6000
   · ──────┬─────
   ·       ╰── here
 6 │
   ╰────
  help: Sections are written `[section]`, keys `key = value`, and text stands in quotes.
"#,
    );
}

#[test]
fn a_mistyped_key_is_suggested() {
    assert_error(
        &[("line_rate_hz = 6000", "line_rate_hz = 6000\nexposure = 5")],
        r#"
  × the station `station.toml` cannot be used: 1 problem

Error:
  × unknown key `camera.exposure`
   ╭─[station.toml:5:1]
 4 │ line_rate_hz = 6000
 5 │ exposure = 5
   · ──────┬─────
   ·       ╰── there is no such key
 6 │
   ╰────
  help: Did you mean `exposure_us`?
"#,
    );
}

#[test]
fn a_mistyped_section_is_suggested() {
    assert_error(
        &[(
            "[source]",
            r#"[recordings]
folder = "x"

[source]"#,
        )],
        r#"
  × the station `station.toml` cannot be used: 1 problem

Error:
  × unknown key `recordings`
    ╭─[station.toml:13:2]
 12 │
 13 │ [recordings]
    ·  ─────┬────
    ·       ╰── there is no such key
 14 │ folder = "x"
    ╰────
  help: Did you mean `recording`?
"#,
    );
}

#[test]
fn a_key_of_another_section_is_suggested() {
    assert_error(
        &[(
            r#"kind = "strip""#,
            r#"kind = "strip"
mm_per_pixel = 0.3"#,
        )],
        r#"
  × the station `station.toml` cannot be used: 1 problem

Error:
  × unknown key `material.mm_per_pixel`
    ╭─[station.toml:11:1]
 10 │ kind = "strip"
 11 │ mm_per_pixel = 0.3
    · ─────────┬────────
    ·          ╰── there is no such key
 12 │ speed_m_per_s = { min = 1.5, nominal = 1.8, max = 2.0 }
    ╰────
  help: Did you mean `optics.mm_per_pixel`?
"#,
    );
}

#[test]
fn a_key_of_another_variant_is_not_suggested() {
    assert_error(
        &[(
            r#"kind = "simulator""#,
            r#"kind = "replay"
path = "strip.png"
metres = 3"#,
        )],
        r#"
  × the station `station.toml` cannot be used: 1 problem

Error:
  × unknown key `source.metres`
    ╭─[station.toml:16:1]
 15 │ path = "strip.png"
 16 │ metres = 3
    · ─────┬────
    ·      ╰── there is no such key
    ╰────
  help: Remove it. `[source]` has the keys `kind`, `pace`, `path`.
"#,
    );
}

#[test]
fn an_unknown_key_lists_the_known_ones() {
    assert_error(
        &[("line_rate_hz = 6000", "line_rate_hz = 6000\ncolour = true")],
        r#"
  × the station `station.toml` cannot be used: 1 problem

Error:
  × unknown key `camera.colour`
   ╭─[station.toml:5:1]
 4 │ line_rate_hz = 6000
 5 │ colour = true
   · ──────┬──────
   ·       ╰── there is no such key
 6 │
   ╰────
  help: Remove it. `[camera]` has the keys `exposure_us`, `line_rate_hz`, `pixel_format`,
        `pixels_per_line`, `trigger`, `window`.
"#,
    );
}

#[test]
fn a_missing_key_is_named() {
    assert_error(
        &[("line_rate_hz = 6000\n", "")],
        r#"
  × the station `station.toml` cannot be used: 1 problem

Error:
  × `camera.line_rate_hz` is missing
   ╭─[station.toml:3:2]
 2 │
 3 │ [camera]
   ·  ───┬──
   ·     ╰── has no `line_rate_hz`
 4 │
   ╰────
  help: Add `line_rate_hz = …` to `[camera]`.
        Meaning: Lines per second (Hz) that the camera delivers when it runs free, and the most
        that it can deliver when an encoder triggers it; 10 to 400000.
"#,
    );
}

#[test]
fn a_missing_name_is_named() {
    assert_error(
        &[(
            r#"name = "line 3"

"#,
            "",
        )],
        r#"
  × the station `station.toml` cannot be used: 1 problem

Error:
  × `name` is missing
   ╭─[station.toml:1:1]
 1 │ [camera]
   · ▲
   · ╰── has no `name`
 2 │ line_rate_hz = 6000
   ╰────
  help: Add `name = …` before the first section.
        Meaning: Name of the station; it stands in the record and in every report. Up to 100
        characters.
"#,
    );
}

#[test]
fn a_missing_section_is_named() {
    assert_error(
        &[("[optics]\nmm_per_pixel = 0.3\n\n", "")],
        r#"
  × the station `station.toml` cannot be used: 1 problem

Error:
  × `optics` is missing
   ╭─[station.toml:1:1]
 1 │ name = "line 3"
   · ▲
   · ╰── has no `optics`
 2 │
   ╰────
  help: Add a section `[optics]`.
        Meaning: How the material is seen.
"#,
    );
}

#[test]
fn a_key_missing_in_an_inline_table_is_named() {
    assert_error(
        &[(", max = 2.0", "")],
        r#"
  × the station `station.toml` cannot be used: 1 problem

Error:
  × `material.speed_m_per_s.max` is missing
    ╭─[station.toml:11:1]
 10 │ kind = "strip"
 11 │ speed_m_per_s = { min = 1.5, nominal = 1.8 }
    · ──────┬──────
    ·       ╰── has no `max`
 12 │
    ╰────
  help: Add `max = …` to `[material.speed_m_per_s]`.
        Meaning: Highest speed in metres per second, 0.001 to 40.
"#,
    );
}

#[test]
fn a_missing_kind_is_named() {
    assert_error(
        &[(r#"kind = "simulator""#, "seed = 3")],
        r#"
  × the station `station.toml` cannot be used: 1 problem

Error:
  × `source.kind` is missing
    ╭─[station.toml:13:2]
 12 │
 13 │ [source]
    ·  ───┬──
    ·     ╰── has no `kind`
 14 │ seed = 3
    ╰────
  help: Add `kind = "simulator"`; possible are "simulator", "replay", "v4l2", "genicam", "feed".
        Meaning: Where lines come from.
"#,
    );
}
