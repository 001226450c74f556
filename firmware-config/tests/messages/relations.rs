//! What is said of a station whose values contradict each other.

use crate::rendering::assert_error;

#[test]
fn a_name_is_visible() {
    assert_error(
        &[(r#""line 3""#, r#""  ""#)],
        r#"
  × the station `station.toml` cannot be used: 1 problem

Error:
  × `name = "  "` is no name
   ╭─[station.toml:1:1]
 1 │ name = "  "
   · ─────┬─────
   ·      ╰── not a name
 2 │
   ╰────
  help: Write a name of visible characters on one line.
"#,
    );
}

#[test]
fn a_piece_id_can_stand_in_a_file_name() {
    assert_error(
        &[(
            r#"kind = "strip""#,
            r#"kind = "strip"
piece_id = "coil/7""#,
        )],
        r#"
  × the station `station.toml` cannot be used: 1 problem

Error:
  × `material.piece_id = "coil/7"` is no piece id
    ╭─[station.toml:11:1]
 10 │ kind = "strip"
 11 │ piece_id = "coil/7"
    · ─────────┬─────────
    ·          ╰── not a piece id
 12 │ speed_m_per_s = { min = 1.5, nominal = 1.8, max = 2.0 }
    ╰────
  help: Write visible characters without `/` and `\`, so that a file can be named after the piece.
"#,
    );
}

#[test]
fn the_slowest_speed_is_not_above_the_nominal() {
    assert_error(
        &[("min = 1.5", "min = 1.9")],
        r#"
  × the station `station.toml` cannot be used: 1 problem

Error:
  × `material.speed_m_per_s.min = 1.9` is more than `material.speed_m_per_s.nominal = 1.8`
    ╭─[station.toml:11:19]
 10 │ kind = "strip"
 11 │ speed_m_per_s = { min = 1.9, nominal = 1.8, max = 2.0 }
    ·                   ────┬────  ──────┬──────
    ·                       │            ╰── 1.8 m/s
    ·                       ╰── 1.9 m/s
 12 │
    ╰────
  help: Speeds must rise from `min` over `nominal` to `max`.
"#,
    );
}

#[test]
fn the_nominal_speed_is_not_above_the_highest() {
    assert_error(
        &[("nominal = 1.8", "nominal = 2.5")],
        r#"
  × the station `station.toml` cannot be used: 1 problem

Error:
  × `material.speed_m_per_s.nominal = 2.5` is more than `material.speed_m_per_s.max = 2`
    ╭─[station.toml:11:30]
 10 │ kind = "strip"
 11 │ speed_m_per_s = { min = 1.5, nominal = 2.5, max = 2.0 }
    ·                              ──────┬──────  ────┬────
    ·                                    │            ╰── 2 m/s
    ·                                    ╰── 2.5 m/s
 12 │
    ╰────
  help: Speeds must rise from `min` over `nominal` to `max`.
"#,
    );
}

#[test]
fn an_exposure_fits_between_two_lines() {
    assert_error(
        &[(
            "line_rate_hz = 6000",
            "line_rate_hz = 6000\nexposure_us = 200",
        )],
        r#"
  × the station `station.toml` cannot be used: 1 problem

Error:
  × `camera.exposure_us = 200` is longer than the 166.7 µs from one line to the next
   ╭─[station.toml:4:1]
 3 │ [camera]
 4 │ line_rate_hz = 6000
   · ─────────┬─────────
   ·          ╰── 166.7 µs per line
 5 │ exposure_us = 200
   · ────────┬────────
   ·         ╰── 200 µs
 6 │
   ╰────
  help: Lower `camera.exposure_us` to at most 166.6, or `camera.line_rate_hz` to at most 5000.
"#,
    );
}

#[test]
fn the_camera_keeps_up_with_the_encoder() {
    assert_error(
        &[
            (
                "line_rate_hz = 6000",
                r#"line_rate_hz = 60000
trigger = { mode = "encoder", lines_per_metre = 10000 }"#,
            ),
            ("max = 2.0", "max = 8.0"),
        ],
        r#"
  × the station `station.toml` cannot be used: 1 problem

Error:
  × `camera.line_rate_hz = 60000` is too slow for the encoder: 10000 lines per metre at 8 m/s are
  │ 80000 lines per second
   ╭─[station.toml:4:1]
 3 │ [camera]
 4 │ line_rate_hz = 60000
   · ──────────┬─────────
   ·           ╰── 60000 lines per second
 5 │ trigger = { mode = "encoder", lines_per_metre = 10000 }
   ·                               ───────────┬───────────
   ·                                          ╰── × 10000 lines per metre
 6 │
   ╰────
    ╭─[station.toml:12:45]
 11 │ kind = "strip"
 12 │ speed_m_per_s = { min = 1.5, nominal = 1.8, max = 8.0 }
    ·                                             ────┬────
    ·                                                 ╰── 8 m/s
 13 │
    ╰────
  help: Raise `camera.line_rate_hz` to at least 80000, lower `camera.trigger.lines_per_metre` to
        at most 7500, or lower `material.speed_m_per_s.max` to at most 6.
"#,
    );
}

#[test]
fn a_verdict_is_not_due_before_a_row_has_come() {
    assert_error(
        &[("[source]", "[deadlines]\nverdict_ms = 50\n\n[source]")],
        r#"
  × the station `station.toml` cannot be used: 1 problem

Error:
  × `deadlines.verdict_ms = 50` is shorter than one row of tiles: 512 lines take 85.33 ms
   ╭─[station.toml:4:1]
 3 │ [camera]
 4 │ line_rate_hz = 6000
   · ─────────┬─────────
   ·          ╰── 6000 lines per second
 5 │
   ╰────
    ╭─[station.toml:14:1]
 13 │ [deadlines]
 14 │ verdict_ms = 50
    · ───────┬───────
    ·        ╰── 50 ms
 15 │
    ╰────
  help: Verdicts cannot come faster than rows. Raise `deadlines.verdict_ms` to at least 85.34.
"#,
    );
}

#[test]
fn a_slow_camera_needs_a_longer_deadline_than_the_default() {
    assert_error(
        &[
            ("6000", "1000"),
            (
                "1.5, nominal = 1.8, max = 2.0",
                "0.1, nominal = 0.3, max = 0.4",
            ),
        ],
        r#"
  × the station `station.toml` cannot be used: 1 problem

Error:
  × `deadlines.verdict_ms = 400` is shorter than one row of tiles: 512 lines take 512 ms
   ╭─[station.toml:4:1]
 3 │ [camera]
 4 │ line_rate_hz = 1000
   · ─────────┬─────────
   ·          ╰── 1000 lines per second
 5 │
   ╰────
  help: Verdicts cannot come faster than rows. Raise `deadlines.verdict_ms` to at least 512.
        `deadlines.verdict_ms` is not in the file; it is 400 by default.
"#,
    );
}

#[test]
fn a_verdict_is_not_due_before_a_row_of_the_encoder_has_come() {
    assert_error(
        &[
            (
                "line_rate_hz = 6000",
                r#"line_rate_hz = 6000
trigger = { mode = "encoder", lines_per_metre = 3000 }"#,
            ),
            ("[source]", "[deadlines]\nverdict_ms = 50\n\n[source]"),
        ],
        r#"
  × the station `station.toml` cannot be used: 1 problem

Error:
  × `deadlines.verdict_ms = 50` is shorter than one row of tiles: 512 lines take 85.33 ms
   ╭─[station.toml:4:1]
 3 │ [camera]
 4 │ line_rate_hz = 6000
   · ─────────┬─────────
   ·          ╰── 6000 lines per second
 5 │ trigger = { mode = "encoder", lines_per_metre = 3000 }
   ·                               ───────────┬──────────
   ·                                          ╰── 3000 lines per metre
 6 │
   ╰────
    ╭─[station.toml:12:45]
 11 │ kind = "strip"
 12 │ speed_m_per_s = { min = 1.5, nominal = 1.8, max = 2.0 }
    ·                                             ────┬────
    ·                                                 ╰── 2 m/s
 13 │
 14 │ [deadlines]
 15 │ verdict_ms = 50
    · ───────┬───────
    ·        ╰── 50 ms
 16 │
    ╰────
  help: Verdicts cannot come faster than rows. Raise `deadlines.verdict_ms` to at least 85.34.
"#,
    );
}

#[test]
fn a_queue_fits_into_memory() {
    assert_error(
        &[
            (
                "line_rate_hz = 6000",
                "line_rate_hz = 6000\npixels_per_line = 16384",
            ),
            ("[source]", "[deadlines]\nqueue_rows = 1024\n\n[source]"),
        ],
        r#"
  × the station `station.toml` cannot be used: 1 problem

Error:
  × `deadlines.queue_rows = 1024` and 40 rows that are judged or recorded take 8.313 GiB of
  │ memory, more than the 4 GiB allowed
   ╭─[station.toml:5:1]
 4 │ line_rate_hz = 6000
 5 │ pixels_per_line = 16384
   · ───────────┬───────────
   ·            ╰── × 512 lines of 16384 bytes
 6 │
   ╰────
    ╭─[station.toml:15:1]
 14 │ [deadlines]
 15 │ queue_rows = 1024
    · ────────┬────────
    ·         ╰── 1024 rows
 16 │
    ╰────
  help: Lower `deadlines.queue_rows` to at most 472.
"#,
    );
}

#[test]
fn a_provider_is_named_once() {
    assert_error(
        &[(
            "[source]",
            r#"[engine]
providers = ["cuda", "cpu", "cuda"]

[source]"#,
        )],
        r#"
  × the station `station.toml` cannot be used: 1 problem

Error:
  × `engine.providers` names "cuda" twice
    ╭─[station.toml:14:1]
 13 │ [engine]
 14 │ providers = ["cuda", "cpu", "cuda"]
    · ─────────────────┬─────────────────
    ·                  ╰── named twice
 15 │
    ╰────
  help: Remove the second "cuda".
"#,
    );
}

#[test]
fn the_embedded_engine_has_no_gpu() {
    assert_error(
        &[(
            "[source]",
            r#"[engine]
name = "embedded"
providers = ["cuda", "cpu"]

[source]"#,
        )],
        r#"
  × the station `station.toml` cannot be used: 1 problem

Error:
  × the embedded engine has no provider "cuda"
    ╭─[station.toml:14:1]
 13 │ [engine]
 14 │ name = "embedded"
    · ────────┬────────
    ·         ╰── runs on the processor only
 15 │ providers = ["cuda", "cpu"]
    · ─────────────┬─────────────
    ·              ╰── asks for "cuda"
 16 │
    ╰────
  help: Write `engine.name = "onnxruntime"` to use "cuda", or `engine.providers = ["cpu"]`.
"#,
    );
}

#[test]
fn a_sidecar_needs_a_screen() {
    assert_error(
        &[(
            "[source]",
            r#"[screen]
sidecar = "screen.toml"

[source]"#,
        )],
        r#"
  × the station `station.toml` cannot be used: 1 problem

Error:
  × `screen.sidecar = "screen.toml"` describes no file: `screen.file` is missing
    ╭─[station.toml:14:1]
 13 │ [screen]
 14 │ sidecar = "screen.toml"
    · ───────────┬───────────
    ·            ╰── describes no file
 15 │
    ╰────
  help: Add `screen.file`, or remove `screen.sidecar`: what is shipped has its own card.
"#,
    );
}

#[test]
fn a_sidecar_needs_a_model() {
    assert_error(
        &[(
            "[source]",
            r#"[model]
sidecar = "model.toml"

[source]"#,
        )],
        r#"
  × the station `station.toml` cannot be used: 1 problem

Error:
  × `model.sidecar = "model.toml"` describes no file: `model.file` is missing
    ╭─[station.toml:14:1]
 13 │ [model]
 14 │ sidecar = "model.toml"
    · ───────────┬──────────
    ·            ╰── describes no file
 15 │
    ╰────
  help: Add `model.file`, or remove `model.sidecar`: what is shipped has its own card.
"#,
    );
}

#[test]
fn a_web_server_needs_an_address_with_a_port() {
    assert_error(
        &[(
            "[source]",
            r#"[web]
listen = "localhost"

[source]"#,
        )],
        r#"
  × the station `station.toml` cannot be used: 1 problem

Error:
  × `web.listen = "localhost"` is no address with a port
    ╭─[station.toml:14:1]
 13 │ [web]
 14 │ listen = "localhost"
    · ──────────┬─────────
    ·           ╰── no address with a port
 15 │
    ╰────
  help: Write for example "127.0.0.1:9464", or "0.0.0.0:9464" to be reached from other computers.
"#,
    );
}
