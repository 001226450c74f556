//! What is said of a station that no simulator, optics or model can serve.

use crate::rendering::assert_error;

#[test]
fn a_threshold_of_no_defect_has_no_meaning() {
    assert_error(
        &[("[source]", "[thresholds]\nno_defect = 0.99\n\n[source]")],
        r#"
  × the station `station.toml` cannot be used: 1 problem

Error:
  × `thresholds.no_defect = 0.99` has no meaning: `no_defect` is never flagged
    ╭─[station.toml:14:1]
 13 │ [thresholds]
 14 │ no_defect = 0.99
    · ────────┬───────
    ·         ╰── is never flagged
 15 │
    ╰────
  help: Remove the line. To flag less, raise the thresholds of the defect classes.
"#,
    );
}

#[test]
fn the_simulator_draws_no_slower_than_its_lamps() {
    assert_error(
        &[
            ("line_rate_hz = 6000", "line_rate_hz = 50"),
            (
                "min = 1.5, nominal = 1.8, max = 2.0",
                "min = 0.01, nominal = 0.015, max = 0.02",
            ),
            ("[source]", "[deadlines]\nverdict_ms = 20000\n\n[source]"),
        ],
        r#"
  × the station `station.toml` cannot be used: 1 problem

Error:
  × `camera.line_rate_hz = 50` is too slow for the simulator, which draws at least 100 lines per
  │ second
   ╭─[station.toml:4:1]
 3 │ [camera]
 4 │ line_rate_hz = 50
   · ────────┬────────
   ·         ╰── 50 lines per second
 5 │
   ╰────
    ╭─[station.toml:17:1]
 16 │ [source]
 17 │ kind = "simulator"
    · ─────────┬────────
    ·          ╰── draws steel
    ╰────
  help: Raise `camera.line_rate_hz` to at least 100, or choose another source.
"#,
    );
}

#[test]
fn the_simulator_draws_at_least_a_line() {
    assert_error(
        &[
            (
                "line_rate_hz = 6000",
                "line_rate_hz = 67000\ntrigger = { mode = \"encoder\", lines_per_metre = 10 }",
            ),
            ("mm_per_pixel = 0.3", "mm_per_pixel = 10"),
            ("[source]", "[deadlines]\nverdict_ms = 60000\n\n[source]"),
            (
                "kind = \"simulator\"",
                "kind = \"simulator\"\nmetres = 0.05",
            ),
        ],
        r#"
  × the station `station.toml` cannot be used: 1 problem

Error:
  × `source.metres = 0.05` is shorter than a line: 10 lines per metre
   ╭─[station.toml:4:1]
 3 │ [camera]
 4 │ line_rate_hz = 67000
   · ──────────┬─────────
   ·           ╰── 0.1 m per line
 5 │ trigger = { mode = "encoder", lines_per_metre = 10 }
   ╰────
    ╭─[station.toml:19:1]
 18 │ kind = "simulator"
 19 │ metres = 0.05
    · ──────┬──────
    ·       ╰── 0.05 m
    ╰────
  help: Raise `source.metres` to at least 0.1.
"#,
    );
}

#[test]
fn lines_that_are_drawn_beforehand_fit_into_memory() {
    assert_error(
        &[(
            "kind = \"simulator\"",
            "kind = \"simulator\"\nmetres = 1000\ndrawn_beforehand = true",
        )],
        r#"
  × the station `station.toml` cannot be used: 1 problem

Error:
  × `source.metres = 1000` are 12.72 GiB of lines, more than the 4 GiB that are drawn beforehand
    ╭─[station.toml:15:1]
 14 │ kind = "simulator"
 15 │ metres = 1000
    · ──────┬──────
    ·       ╰── 1000 m
 16 │ drawn_beforehand = true
    · ───────────┬───────────
    ·            ╰── kept in memory
    ╰────
  help: Lower `source.metres` to at most 314.5, or remove `source.drawn_beforehand`.
"#,
    );
}

#[test]
fn lines_lie_no_closer_than_optics_resolve() {
    assert_error(
        &[(
            "min = 1.5, nominal = 1.8, max = 2.0",
            "min = 0.001, nominal = 0.0035, max = 2.0",
        )],
        r#"
  × the station `station.toml` cannot be used: 1 problem

Error:
  × `camera.line_rate_hz = 6000` at 0.0035 m/s makes 1714000 lines per metre; possible are 10 to
  │ 1000000
   ╭─[station.toml:4:1]
 3 │ [camera]
 4 │ line_rate_hz = 6000
   · ─────────┬─────────
   ·          ╰── 6000 lines per second
 5 │
   ╰────
    ╭─[station.toml:11:32]
 10 │ kind = "strip"
 11 │ speed_m_per_s = { min = 0.001, nominal = 0.0035, max = 2.0 }
    ·                                ────────┬───────
    ·                                        ╰── 0.0035 m/s
 12 │
    ╰────
  help: Lower `camera.line_rate_hz` to at most 3500, or raise `material.speed_m_per_s.nominal` to
        at least 0.006.
"#,
    );
}

#[test]
fn lines_lie_no_further_apart_than_a_piece_is_long() {
    assert_error(
        &[
            ("line_rate_hz = 6000", "line_rate_hz = 100"),
            (
                "min = 1.5, nominal = 1.8, max = 2.0",
                "min = 1.5, nominal = 18, max = 20",
            ),
            ("[source]", "[deadlines]\nverdict_ms = 20000\n\n[source]"),
        ],
        r#"
  × the station `station.toml` cannot be used: 1 problem

Error:
  × `camera.line_rate_hz = 100` at 18 m/s makes 5.556 lines per metre; possible are 10 to 1000000
   ╭─[station.toml:4:1]
 3 │ [camera]
 4 │ line_rate_hz = 100
   · ─────────┬────────
   ·          ╰── 100 lines per second
 5 │
   ╰────
    ╭─[station.toml:11:30]
 10 │ kind = "strip"
 11 │ speed_m_per_s = { min = 1.5, nominal = 18, max = 20 }
    ·                              ──────┬─────
    ·                                    ╰── 18 m/s
 12 │
    ╰────
  help: Raise `camera.line_rate_hz` to at least 180, or lower `material.speed_m_per_s.nominal` to
        at most 10.
"#,
    );
}
