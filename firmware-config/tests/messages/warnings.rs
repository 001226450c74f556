//! What is said of a station that is allowed but probably not meant.

use crate::rendering::assert_warning;

#[test]
fn a_queue_shorter_than_the_deadline_is_doubtful() {
    assert_warning(
        &[(
            "[source]",
            "[deadlines]\nverdict_ms = 1000\nqueue_rows = 4\n\n[source]",
        )],
        r#"
  ⚠ `deadlines.queue_rows = 4` is full after 341.3 ms, before the 1000 ms of the deadline: tiles
  │ are given up that could still be judged in time
   ╭─[station.toml:4:1]
 3 │ [camera]
 4 │ line_rate_hz = 6000
   · ─────────┬─────────
   ·          ╰── 6000 lines per second
 5 │
   ╰────
    ╭─[station.toml:14:1]
 13 │ [deadlines]
 14 │ verdict_ms = 1000
    · ────────┬────────
    ·         ╰── 1000 ms
 15 │ queue_rows = 4
    · ───────┬──────
    ·        ╰── full after 341.3 ms
 16 │
    ╰────
  help: Raise `deadlines.queue_rows` to at least 12, or lower `deadlines.verdict_ms` to at most
        341.3.
"#,
    );
}

#[test]
fn a_short_default_queue_is_doubtful() {
    assert_warning(
        &[("6000", "100000"), ("0.3", "0.02")],
        r#"
  ⚠ `deadlines.queue_rows = 64` is full after 327.7 ms, before the 400 ms of the deadline: tiles
  │ are given up that could still be judged in time
   ╭─[station.toml:4:1]
 3 │ [camera]
 4 │ line_rate_hz = 100000
   · ──────────┬──────────
   ·           ╰── 100000 lines per second
 5 │
   ╰────
  help: Raise `deadlines.queue_rows` to at least 79, or lower `deadlines.verdict_ms` to at most
        327.6.
        `deadlines.queue_rows` is not in the file; it is 64 by default.
        `deadlines.verdict_ms` is not in the file; it is 400 by default.
"#,
    );
}

#[test]
fn long_pixels_of_a_free_camera_are_doubtful() {
    assert_warning(
        &[("nominal = 1.8, max = 2.0", "nominal = 18, max = 20")],
        r#"
  ⚠ pixels are far from square: 3 mm along the material and 0.3 mm across, 10 : 1
    ╭─[station.toml:4:1]
  3 │ [camera]
  4 │ line_rate_hz = 6000
    · ─────────┬─────────
    ·          ╰── 3 mm along
  5 │
  6 │ [optics]
  7 │ mm_per_pixel = 0.3
    · ─────────┬────────
    ·          ╰── 0.3 mm across
  8 │
  9 │ [material]
 10 │ kind = "strip"
 11 │ speed_m_per_s = { min = 1.5, nominal = 18, max = 20 }
    ·                              ──────┬─────
    ·                                    ╰── 18 m/s
 12 │
    ╰────
  help: Square pixels need `camera.line_rate_hz = 60000` at 18 m/s.
"#,
    );
}

#[test]
fn flat_pixels_of_an_encoder_are_doubtful() {
    assert_warning(
        &[(
            "line_rate_hz = 6000",
            r#"line_rate_hz = 67000
trigger = { mode = "encoder", lines_per_metre = 20000 }"#,
        )],
        r#"
  ⚠ pixels are far from square: 0.05 mm along the material and 0.3 mm across, 6 : 1
   ╭─[station.toml:5:31]
 4 │ line_rate_hz = 67000
 5 │ trigger = { mode = "encoder", lines_per_metre = 20000 }
   ·                               ───────────┬───────────
   ·                                          ╰── 0.05 mm along
 6 │
 7 │ [optics]
 8 │ mm_per_pixel = 0.3
   · ─────────┬────────
   ·          ╰── 0.3 mm across
 9 │
   ╰────
  help: Square pixels need `camera.trigger.lines_per_metre = 3333`.
"#,
    );
}

#[test]
fn motion_blur_is_doubtful() {
    assert_warning(
        &[(
            "line_rate_hz = 6000",
            "line_rate_hz = 6000\nexposure_us = 160",
        )],
        r#"
  ⚠ `camera.exposure_us = 160` blurs the image: at 2 m/s the material moves 0.32 mm during it,
  │ more than a pixel of 0.3 mm
    ╭─[station.toml:5:1]
  4 │ line_rate_hz = 6000
  5 │ exposure_us = 160
    · ────────┬────────
    ·         ╰── 160 µs
  6 │
  7 │ [optics]
  8 │ mm_per_pixel = 0.3
    · ─────────┬────────
    ·          ╰── 0.3 mm
  9 │
 10 │ [material]
 11 │ kind = "strip"
 12 │ speed_m_per_s = { min = 1.5, nominal = 1.8, max = 2.0 }
    ·                                             ────┬────
    ·                                                 ╰── 2 m/s
 13 │
    ╰────
  help: Lower `camera.exposure_us` to at most 150.
"#,
    );
}

#[test]
fn a_provider_after_the_processor_is_doubtful() {
    assert_warning(
        &[(
            "[source]",
            r#"[engine]
providers = ["cpu", "cuda"]

[source]"#,
        )],
        r#"
  ⚠ "cuda" is never tried: "cpu", which always starts, stands before it
    ╭─[station.toml:14:1]
 13 │ [engine]
 14 │ providers = ["cpu", "cuda"]
    · ─────────────┬─────────────
    ·              ╰── "cpu" is not last
 15 │
    ╰────
  help: Write "cpu" last in `engine.providers`.
"#,
    );
}

#[test]
fn options_of_tensorrt_without_it_are_doubtful() {
    assert_warning(
        &[("[source]", "[engine]\nhalf_precision = true\n\n[source]")],
        r#"
  ⚠ `engine.half_precision` is not used: it is for TensorRT, which `engine.providers` does not
  │ name
    ╭─[station.toml:14:1]
 13 │ [engine]
 14 │ half_precision = true
    · ──────────┬──────────
    ·           ╰── not used
 15 │
    ╰────
  help: Remove `engine.half_precision`, or write "tensorrt" first in `engine.providers`.
"#,
    );
    assert_warning(
        &[("[source]", "[engine]\ncache = \"engines\"\n\n[source]")],
        r#"
  ⚠ `engine.cache` is not used: it is for TensorRT, which `engine.providers` does not name
    ╭─[station.toml:14:1]
 13 │ [engine]
 14 │ cache = "engines"
    · ────────┬────────
    ·         ╰── not used
 15 │
    ╰────
  help: Remove `engine.cache`, or write "tensorrt" first in `engine.providers`.
"#,
    );
}

#[test]
fn a_library_beside_the_embedded_engine_is_doubtful() {
    assert_warning(
        &[(
            "[source]",
            r#"[engine]
name = "embedded"
library = "libonnxruntime.so"

[source]"#,
        )],
        r#"
  ⚠ `engine.library` is not used: the embedded engine needs no library
    ╭─[station.toml:14:1]
 13 │ [engine]
 14 │ name = "embedded"
    · ────────┬────────
    ·         ╰── needs no library
 15 │ library = "libonnxruntime.so"
    · ──────────────┬──────────────
    ·               ╰── not used
 16 │
    ╰────
  help: Remove `engine.library`, or write `engine.name = "onnxruntime"`.
"#,
    );
}

#[test]
fn a_level_of_zero_finds_no_background() {
    assert_warning(
        &[(
            "[source]",
            "[material_detection]\nminimum_level = 0\n\n[source]",
        )],
        r#"
  ⚠ `material_detection.minimum_level = 0` makes no tile background: every pixel reaches level 0
    ╭─[station.toml:14:1]
 13 │ [material_detection]
 14 │ minimum_level = 0
    · ────────┬────────
    ·         ╰── every pixel reaches level 0
 15 │
    ╰────
  help: Raise `material_detection.minimum_level`, or say it plainly with
        `material_detection.enabled = false`.
"#,
    );
}

#[test]
fn a_share_of_zero_finds_no_background() {
    assert_warning(
        &[(
            "[source]",
            "[material_detection]\nminimum_share = 0\n\n[source]",
        )],
        r#"
  ⚠ `material_detection.minimum_share = 0` makes no tile background: no share is less than 0
    ╭─[station.toml:14:1]
 13 │ [material_detection]
 14 │ minimum_share = 0
    · ────────┬────────
    ·         ╰── no share is less than 0
 15 │
    ╰────
  help: Raise `material_detection.minimum_share`, or say it plainly with
        `material_detection.enabled = false`.
"#,
    );
}

#[test]
fn keeping_every_image_in_a_small_budget_is_doubtful() {
    assert_warning(
        &[(
            "[source]",
            r#"[recording]
disk_budget_gib = 50
keep_images = "all"

[source]"#,
        )],
        r#"
  ⚠ `recording.disk_budget_gib = 50` can be full after 36.41 minutes of keeping every image
   ╭─[station.toml:4:1]
 3 │ [camera]
 4 │ line_rate_hz = 6000
   · ─────────┬─────────
   ·          ╰── 6000 lines per second
 5 │
   ╰────
    ╭─[station.toml:14:1]
 13 │ [recording]
 14 │ disk_budget_gib = 50
    · ──────────┬─────────
    ·           ╰── 50 GiB
 15 │ keep_images = "all"
    · ─────────┬─────────
    ·          ╰── keeps every image
 16 │
    ╰────
  help: Write `recording.keep_images = "flagged"`, or raise `recording.disk_budget_gib` to at
        least 82.4 for one hour.
        `camera.pixels_per_line` is not in the file; it is 4096 by default.
"#,
    );
}

#[test]
fn keeping_no_image_is_doubtful() {
    assert_warning(
        &[(
            "[source]",
            "[recording]\nkeep_images = \"none\"\n\n[source]",
        )],
        r#"
  ⚠ `recording.keep_images = "none"` keeps no image of unjudged tiles: what nobody has looked at
  │ cannot be looked at later
    ╭─[station.toml:14:1]
 13 │ [recording]
 14 │ keep_images = "none"
    · ──────────┬─────────
    ·           ╰── keeps no image
 15 │
    ╰────
  help: Write `recording.keep_images = "flagged"`.
"#,
    );
}
