//! The ready stations, the JSON Schema and the table of keys agree.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::time::Duration;

use millsight_firmware_config::{READY_STATIONS, Station, Trigger, station_schema};
use serde_json::Value;

/// Every key of the schema by its dotted name, the forms of a section taken
/// together, with its schema.
fn schema_keys() -> BTreeMap<String, Value> {
    let schema = station_schema();
    let mut keys = BTreeMap::new();
    collect("", &schema, &schema, &mut keys);
    keys
}

fn collect(prefix: &str, node: &Value, root: &Value, keys: &mut BTreeMap<String, Value>) {
    let node = resolved(node, root);
    let forms = node["oneOf"].as_array().into_iter().flatten();
    for form in forms.chain([node]) {
        for (name, below) in form["properties"].as_object().into_iter().flatten() {
            let key = format!("{prefix}{name}");
            collect(&format!("{key}."), below, root, keys);
            keys.entry(key).or_insert_with(|| below.clone());
        }
    }
}

fn resolved<'s>(node: &'s Value, root: &'s Value) -> &'s Value {
    let node = match node["anyOf"].as_array() {
        Some(forms) => forms.iter().find(|form| form["type"] != "null").unwrap(),
        None => node,
    };
    match node["$ref"].as_str() {
        Some(path) => root.pointer(path.trim_start_matches('#')).unwrap(),
        None => node,
    }
}

/// Dotted names of all keys of a TOML table.
fn table_keys(prefix: &str, table: &toml::Table) -> Vec<String> {
    let mut keys = Vec::new();
    for (name, value) in table {
        let key = format!("{prefix}{name}");
        if let toml::Value::Table(below) = value {
            keys.extend(table_keys(&format!("{key}."), below));
        }
        keys.push(key);
    }
    keys
}

#[test]
fn ready_stations_are_right_and_nothing_about_them_is_doubtful() {
    for (name, text) in READY_STATIONS {
        let (station, warnings) = Station::parse_with_warnings(text, name)
            .unwrap_or_else(|error| panic!("{name}: {:?}", miette::Report::new(error)));
        assert!(warnings.is_empty(), "{name}: {warnings:?}");
        assert_eq!(&station.name, name);
        assert!(!station.description.is_empty(), "{name}");
        assert_eq!(Station::ready(name).unwrap(), station);
        assert!(text.starts_with("# "), "{name} begins with what it is for");
    }
}

#[test]
fn every_key_of_the_ready_stations_is_in_the_schema() {
    let known = schema_keys();
    for (name, text) in READY_STATIONS {
        for key in table_keys("", &toml::from_str(text).unwrap()) {
            assert!(known.contains_key(&key), "{name}: {key}");
        }
    }
}

#[test]
fn the_keys_that_the_ready_stations_offer_in_comments_are_right() {
    let mut offered = 0;
    for (name, text) in READY_STATIONS {
        let (taken, offers) = with_offers(text);
        offered += offers;
        let (_, warnings) = Station::parse_with_warnings(&taken, name)
            .unwrap_or_else(|error| panic!("{name}: {:?}", miette::Report::new(error)));
        assert!(warnings.is_empty(), "{name}: {warnings:?}");
    }
    assert!(offered >= 9, "{offered} offers were found");
}

/// A station in which every key and section that stands in a comment of its
/// own is taken up, and how many there were.
fn with_offers(text: &str) -> (String, usize) {
    let is_key =
        |key: &str| !key.is_empty() && key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    let mut offers = 0;
    let mut lines = Vec::new();
    for line in text.lines() {
        let taken = line.strip_prefix("# ").filter(|rest| {
            rest.starts_with('[') || rest.split_once(" = ").is_some_and(|(key, _)| is_key(key))
        });
        offers += usize::from(taken.is_some());
        lines.push(taken.unwrap_or(line));
    }
    (lines.join("\n"), offers)
}

#[test]
fn the_replay_template_offers_what_a_replay_may_need() {
    let (_, text) = READY_STATIONS.iter().find(|(n, _)| *n == "replay").unwrap();
    let station = Station::parse(&with_offers(text).0, "replay.toml").unwrap();
    let flat_field = station.flat_field.as_ref().unwrap();
    assert_eq!(flat_field.file.extension().unwrap(), "json");
    assert!(matches!(station.camera.trigger, Trigger::Encoder { .. }));
    assert!(station.model.file.is_some() && station.model.sidecar.is_some());
    assert_eq!(station.thresholds["cracks"], 0.35);
}

#[test]
fn every_key_of_the_schema_is_described() {
    let schema = station_schema();
    for (key, node) in schema_keys() {
        // The key that tells the forms of a section apart is described by them.
        if node["const"].is_string() {
            continue;
        }
        let described = [&node, resolved(&node, &schema)].iter().any(|node| {
            node["description"]
                .as_str()
                .is_some_and(|text| !text.is_empty())
        });
        assert!(described, "{key}");
    }
}

#[test]
fn the_readme_has_each_key_with_its_default_and_range() {
    let readme = include_str!("../README.md");
    let rows: BTreeMap<&str, &str> = readme
        .lines()
        .filter_map(|line| {
            let key = line.strip_prefix("| `")?.split('`').next()?;
            Some((key, line))
        })
        .collect();
    let schema = station_schema();
    for (key, node) in schema_keys() {
        let below = resolved(&node, &schema);
        let is_section =
            below["properties"].is_object() || below["oneOf"][0]["properties"].is_object();
        if is_section {
            continue;
        }
        let row = rows
            .get(key.as_str())
            .unwrap_or_else(|| panic!("no row for {key}"));
        let default = match &node["default"] {
            Value::Null => None,
            Value::Number(number) => Some(number.as_f64().unwrap().to_string()),
            other => Some(other.to_string()),
        };
        if let Some(default) = default {
            assert!(
                row.contains(&format!("| `{default}` |")),
                "{key}: default {default}"
            );
        }
        if let (Some(least), Some(most)) = (number(&node["minimum"]), number(&node["maximum"])) {
            assert!(
                row.contains(&format!("| {least} to {most}")),
                "{key}: range {least} {most}"
            );
        }
        for choice in below["oneOf"].as_array().into_iter().flatten() {
            assert!(
                row.contains(&choice["const"].to_string()),
                "{key}: {choice}"
            );
        }
    }
}

fn number(value: &Value) -> Option<String> {
    let text = value.as_number()?.to_string();
    Some(text.trim_end_matches(".0").to_owned())
}

#[test]
fn the_station_of_the_readme_is_right() {
    let readme = include_str!("../README.md");
    let text = readme
        .split("```toml\n")
        .nth(1)
        .unwrap()
        .split("```")
        .next()
        .unwrap();
    let (station, warnings) = Station::parse_with_warnings(text, "README.md").unwrap();
    assert!(warnings.is_empty());
    assert_eq!(station.columns(), 8);
}

#[test]
fn geometry_of_a_free_camera() {
    let demo = Station::ready("demo").unwrap();
    assert_eq!(demo.columns(), 8);
    assert!((demo.field_of_view_mm() - 1228.8).abs() < 1e-9);
    assert_eq!(demo.lines_per_second_at(15.0), 67_000.0);
    assert!((demo.lines_per_metre(20.1) - 3333.333).abs() < 1e-3);
    assert!((demo.metres_per_line(20.1) - 0.000_3).abs() < 1e-12);
    assert!((demo.row_duration().as_secs_f64() - 512.0 / 67_000.0).abs() < 1e-9);
    assert!((demo.tiles_per_second() - 1046.875).abs() < 1e-3);
    assert!((demo.motion_blur_mm(20.0) - 0.2).abs() < 1e-12);
    // 64 rows wait, 32 workers are assumed, and 8 rows are being recorded.
    assert_eq!(demo.buffer_bytes(), (64 + 32 + 8) * 512 * 4096);
    assert_eq!(demo.lines_per_metre(0.0), f64::INFINITY);
}

#[test]
fn geometry_behind_an_encoder() {
    let mut rod = Station::ready("rod").unwrap();
    assert_eq!(rod.lines_per_second_at(5.0), 50_000.0);
    assert_eq!(rod.lines_per_second_at(40.0), 67_000.0);
    assert_eq!(rod.lines_per_metre(3.0), 10_000.0);
    assert_eq!(rod.metres_per_line(3.0), 0.000_1);
    assert!((rod.row_duration().as_secs_f64() - 512.0 / 65_000.0).abs() < 1e-9);
    rod.material.speed_m_per_s.max = 0.0;
    assert_eq!(rod.row_duration(), Duration::MAX);
}

#[test]
fn the_demonstration_is_whole_rows_of_tiles() {
    let demo = Station::ready("demo").unwrap();
    let millsight_firmware_config::Source::Simulator { metres, .. } = demo.source else {
        panic!("the demonstration draws its own steel");
    };
    let lines = metres * demo.lines_per_metre(demo.material.speed_m_per_s.nominal);
    assert!((lines - 65_536.0).abs() < 1e-6, "{lines}");
}
