//! What is said of values of the wrong type and of choices that there are not.

use crate::rendering::assert_error;

#[test]
fn text_is_no_number() {
    assert_error(
        &[("0.3", r#""0.3""#)],
        r#"
  × the station `station.toml` cannot be used: 1 problem

Error:
  × `optics.mm_per_pixel = "0.3"` is text, but must be a number
   ╭─[station.toml:7:1]
 6 │ [optics]
 7 │ mm_per_pixel = "0.3"
   · ──────────┬─────────
   ·           ╰── must be a number
 8 │
   ╰────
  help: Write a number.
        Meaning: Millimetres of material that one pixel covers across the line, 0.001 to 10.
"#,
    );
}

#[test]
fn a_fraction_is_no_whole_number() {
    assert_error(
        &[(
            "line_rate_hz = 6000",
            "line_rate_hz = 6000\npixels_per_line = 4096.5",
        )],
        r#"
  × the station `station.toml` cannot be used: 1 problem

Error:
  × `camera.pixels_per_line = 4096.5` is a decimal number, but must be a whole number
   ╭─[station.toml:5:1]
 4 │ line_rate_hz = 6000
 5 │ pixels_per_line = 4096.5
   · ────────────┬───────────
   ·             ╰── must be a whole number
 6 │
   ╰────
  help: Write a whole number.
        Meaning: Pixels of one line. A multiple of 512, because a line is cut into columns of 512
        pixels; 512 to 16384.
"#,
    );
}

#[test]
fn a_number_is_no_text() {
    assert_error(
        &[(r#""line 3""#, "3")],
        r#"
  × the station `station.toml` cannot be used: 1 problem

Error:
  × `name = 3` is a number, but must be text in quotes
   ╭─[station.toml:1:1]
 1 │ name = 3
   · ────┬───
   ·     ╰── must be text in quotes
 2 │
   ╰────
  help: Write text in quotes.
        Meaning: Name of the station; it stands in the record and in every report. Up to 100
        characters.
"#,
    );
}

#[test]
fn a_word_is_no_truth_value() {
    assert_error(
        &[(
            "[source]",
            r#"[engine]
fallback = "yes"

[source]"#,
        )],
        r#"
  × the station `station.toml` cannot be used: 1 problem

Error:
  × `engine.fallback = "yes"` is text, but must be true or false
    ╭─[station.toml:14:1]
 13 │ [engine]
 14 │ fallback = "yes"
    · ────────┬───────
    ·         ╰── must be true or false
 15 │
    ╰────
  help: Write true or false.
        Meaning: Whether the next provider, and at last the embedded engine, may take over from
        one that cannot start; the summary of a run says so. When it is `false` the program stops
        with the reason.
"#,
    );
}

#[test]
fn text_is_no_section() {
    assert_error(
        &[
            (
                r#"[source]
kind = "simulator"
"#,
                "",
            ),
            (
                "name =",
                r#"source = "simulator"
name ="#,
            ),
        ],
        r#"
  × the station `station.toml` cannot be used: 1 problem

Error:
  × `source = "simulator"` is text, but must be a section
   ╭─[station.toml:1:1]
 1 │ source = "simulator"
   · ──────────┬─────────
   ·           ╰── must be a section
 2 │ name = "line 3"
   ╰────
  help: Write a section with `kind`, one of "simulator", "replay", "v4l2", "genicam", "feed".
        Meaning: Where lines come from.
"#,
    );
}

#[test]
fn a_number_is_no_choice() {
    assert_error(
        &[(r#"kind = "strip""#, "kind = 1")],
        r#"
  × the station `station.toml` cannot be used: 1 problem

Error:
  × `material.kind = 1` is a number, but must be one of "strip", "rod", "wire"
    ╭─[station.toml:10:1]
  9 │ [material]
 10 │ kind = 1
    · ────┬───
    ·     ╰── must be one of "strip", "rod", "wire"
 11 │ speed_m_per_s = { min = 1.5, nominal = 1.8, max = 2.0 }
    ╰────
  help: Write one of "strip", "rod", "wire".
        Meaning: Form of the material.
"#,
    );
}

#[test]
fn a_number_is_no_kind_of_source() {
    assert_error(
        &[(r#"kind = "simulator""#, "kind = 1")],
        r#"
  × the station `station.toml` cannot be used: 1 problem

Error:
  × `source.kind = 1` must be text
    ╭─[station.toml:14:1]
 13 │ [source]
 14 │ kind = 1
    · ────┬───
    ·     ╰── must be text
    ╰────
  help: Choose one of "simulator", "replay", "v4l2", "genicam", "feed".
"#,
    );
}

#[test]
fn text_is_no_list() {
    assert_error(
        &[(
            "[source]",
            r#"[engine]
providers = "cuda"

[source]"#,
        )],
        r#"
  × the station `station.toml` cannot be used: 1 problem

Error:
  × `engine.providers = "cuda"` is text, but must be a list in brackets
    ╭─[station.toml:14:1]
 13 │ [engine]
 14 │ providers = "cuda"
    · ─────────┬────────
    ·          ╰── must be a list in brackets
 15 │
    ╰────
  help: Write a list in brackets.
        Meaning: Execution providers in the order in which they are tried.
"#,
    );
}

#[test]
fn a_mistyped_choice_is_suggested() {
    assert_error(
        &[(r#""strip""#, r#""stripe""#)],
        r#"
  × the station `station.toml` cannot be used: 1 problem

Error:
  × `material.kind = "stripe"` is not one of the possible values
    ╭─[station.toml:10:1]
  9 │ [material]
 10 │ kind = "stripe"
    · ───────┬───────
    ·        ╰── no such value
 11 │ speed_m_per_s = { min = 1.5, nominal = 1.8, max = 2.0 }
    ╰────
  help: Did you mean "strip"? Possible are "strip", "rod", "wire".
        Meaning: Form of the material.
"#,
    );
}

#[test]
fn a_mistyped_kind_of_source_is_suggested() {
    assert_error(
        &[(r#""simulator""#, r#""simulater""#)],
        r#"
  × the station `station.toml` cannot be used: 1 problem

Error:
  × `source.kind = "simulater"` is not one of the possible values
    ╭─[station.toml:14:1]
 13 │ [source]
 14 │ kind = "simulater"
    · ─────────┬────────
    ·          ╰── no such value
    ╰────
  help: Did you mean "simulator"? Possible are "simulator", "replay", "v4l2", "genicam", "feed".
        Meaning: Where lines come from.
"#,
    );
}

#[test]
fn an_unknown_trigger_lists_the_known_ones() {
    assert_error(
        &[(
            "line_rate_hz = 6000",
            r#"line_rate_hz = 6000
trigger = { mode = "laser" }"#,
        )],
        r#"
  × the station `station.toml` cannot be used: 1 problem

Error:
  × `camera.trigger.mode = "laser"` is not one of the possible values
   ╭─[station.toml:5:13]
 4 │ line_rate_hz = 6000
 5 │ trigger = { mode = "laser" }
   ·             ───────┬──────
   ·                    ╰── no such value
 6 │
   ╰────
  help: Choose one of "free_running", "encoder".
        Meaning: What starts a line.
"#,
    );
}

#[test]
fn an_unknown_provider_in_a_list_is_marked() {
    assert_error(
        &[(
            "[source]",
            r#"[engine]
providers = ["cuda", "vulkan"]

[source]"#,
        )],
        r#"
  × the station `station.toml` cannot be used: 1 problem

Error:
  × `engine.providers[1] = "vulkan"` is not one of the possible values
    ╭─[station.toml:14:22]
 13 │ [engine]
 14 │ providers = ["cuda", "vulkan"]
    ·                      ────┬───
    ·                          ╰── no such value
 15 │
    ╰────
  help: Choose one of "tensorrt", "cuda", "cpu".
        Meaning: Execution provider of ONNX Runtime.
"#,
    );
}
