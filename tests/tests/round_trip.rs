//! The loop: what people say of the tiles that a model flagged teaches the next model,
//! which looks on, takes over while steel passes, and raises fewer false alarms.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use millsight_firmware_config::{Source, Station};
use millsight_runtime::review::{NewDecision, Order, Review};
use millsight_runtime::source::simulated;
use millsight_runtime::source::simulator::{Strip, TileLabel};
use programs::{run, text};
use serde_json::Value;

mod programs;

/// The shipped model, from which the first begins.
const SHIPPED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/millsight-vit.onnx");

/// The last line that a program has printed, as JSON.
fn said(program: &str, folder: &Path, arguments: &[&str]) -> Value {
    let printed = text(run(program, folder, arguments));
    serde_json::from_str(printed.lines().last().unwrap()).unwrap()
}

/// Writes the station of a strip that a model judges, all of it.
fn station(folder: &Path, name: &str, model: &str, seed: i64, metres: f64) -> Station {
    let mut station = Station::ready("demo").unwrap();
    let drawn = Source::Simulator {
        seed: seed.unsigned_abs(),
        metres,
        pace: millsight_firmware_config::Pace::Unpaced,
        drawn_beforehand: false,
    };
    station.source = drawn;
    station.screen = None;
    station.model.file = Some(folder.join(model));
    station.web = Some(millsight_firmware_config::Web {
        listen: "127.0.0.1:0".into(),
        certificate: None,
        key: None,
        insecure: false,
    });
    std::fs::write(folder.join(name), station.to_toml().unwrap()).unwrap();
    station
}

/// Judges a fresh strip; gives the tiles on which the model raised a false alarm, and
/// those with a defect that it flagged.
fn false_alarms(folder: &Path, model: &str, seed: i64) -> (u64, u64) {
    station(folder, "fresh.toml", model, seed, 16.0);
    let record = format!("fresh-{model}");
    let run = ["--json", "run", "--station", "fresh.toml", "--out", &record];
    let truth = said("millsight", folder, &run)["truth"].clone();
    let count = |name: &str| truth[name].as_u64().unwrap();
    (count("false_alarms"), count("defects_flagged"))
}

/// Says of every flagged tile what was truly drawn there; gives how many were clean.
fn review(folder: &Path, station: &Station) -> usize {
    let Source::Simulator { seed, metres, .. } = station.source else {
        panic!("{:?}", station.source);
    };
    let mut strip = Strip::new(simulated::settings(station, seed, metres)).unwrap();
    let review = Review::open(&folder.join("record")).unwrap();
    review.refresh().unwrap();
    let mut clean = 0;
    loop {
        let waiting = review.queue(Order::Useful, None, 100).unwrap();
        if waiting.is_empty() {
            return clean;
        }
        for tile in review.tiles(&waiting).unwrap() {
            let class = match strip.tile_label(tile.row as u64, tile.column as usize) {
                TileLabel::Defect(drawn) => drawn.name(),
                TileLabel::Background | TileLabel::NoDefect => "no_defect",
            };
            clean += usize::from(class == "no_defect");
            let decision = NewDecision {
                key: format!("tile {}", tile.id),
                tile: tile.id,
                class: Some(class.to_owned()),
                note: String::new(),
                took_ms: 1000,
            };
            review.decide("truth", &decision, 0.0).unwrap();
        }
    }
}

/// Asks the page with a token; gives the status and the body.
fn ask(address: &str, token: &str, method: &str, path: &str, body: &[u8]) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "{method} /api/v1{path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
         Authorization: Bearer {token}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .unwrap();
    stream.write_all(body).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let body = answer.split_once("\r\n\r\n").unwrap().1.to_owned();
    (status, body)
}

/// Lets a model look on and take over while steel passes; gives the run's summary.
fn exchange(folder: &Path, before: &str, after: &str) -> Value {
    station(folder, "line.toml", before, 31, 2000.0);
    let mut line = Command::new(assert_cmd::cargo::cargo_bin("millsight"))
        .current_dir(folder)
        .args(["--json", "run", "--station", "line.toml", "--out", "live"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut messages = BufReader::new(line.stderr.take().unwrap()).lines();
    let page = messages.find_map(|message| {
        let address = message.unwrap().strip_prefix("page at http://")?.to_owned();
        Some(address.trim_end_matches('/').to_owned())
    });
    let page = page.unwrap();
    let rest = thread::spawn(move || messages.count());
    let make = ["--json", "accounts", "token", "test", "--role", "engineer"];
    let made = [&make[..], &["--record", "live"]].concat();
    let token = said("millsight", folder, &made)["token"].clone();
    let token = token.as_str().unwrap();
    let model = std::fs::read(folder.join(after)).unwrap();
    let (status, answer) = ask(&page, token, "POST", "/models", &model);
    assert_eq!(status, 200, "{answer}");
    let begun = Instant::now();
    loop {
        let (_, models) = ask(&page, token, "GET", "/models", &[]);
        let models: Value = serde_json::from_str(&models).unwrap();
        if models["shadow"]["compared"]["tiles"].as_u64().unwrap() >= 20 {
            assert!(models["shadow"]["difference"].as_f64().unwrap() < 1e-3);
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(120), "{models}");
        thread::sleep(Duration::from_millis(100));
    }
    let (status, answer) = ask(&page, token, "POST", "/models/shadow/promote", &[]);
    assert_eq!(status, 204, "{answer}");
    thread::sleep(Duration::from_secs(3));
    let pid = line.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-INT", &pid])
            .status()
            .unwrap()
            .success()
    );
    let output = line.wait_with_output().unwrap();
    rest.join().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    serde_json::from_str(stdout.lines().last().unwrap()).unwrap()
}

#[cfg(unix)]
#[test]
fn what_people_say_makes_the_next_model_better() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let simulate = ["simulate", "--tiles", "240", "--out", "steel"];
    run(
        "millsight",
        folder,
        &[&simulate[..], &["--shares", "balanced"]].concat(),
    );
    run("millsight-train", folder, &["index", "steel"]);
    run("millsight-train", folder, &["split", "steel/index.csv"]);
    let train = |table: &str, out: &str, more: &[&str]| {
        let recipe = ["train", table, "--out", out, "--batch-size", "16"];
        run("millsight-train", folder, &[&recipe[..], more].concat());
        let model = format!("{out}.onnx");
        run(
            "millsight-train",
            folder,
            &["export", "--run", out, "--out", &model],
        );
    };
    // Taught on as many defects as clean tiles, it sees defects where there are none.
    let first = [
        "--init",
        SHIPPED,
        "--epochs",
        "2",
        "--learning-rate",
        "1e-3",
    ];
    train("steel/split.csv", "first", &first);

    // Steel passes, and what was flagged is reviewed.
    let mut clean = 0;
    for seed in [11, 12, 13] {
        let station = station(folder, "line.toml", "first.onnx", seed, 10.0);
        let run = ["--json", "run", "--station", "line.toml", "--out", "record"];
        said("millsight", folder, &run);
        clean += review(folder, &station);
    }
    assert!(clean > 40, "{clean} false alarms: too few to learn from");
    let export = [
        "--json", "labels", "export", "--record", "record", "--out", "labels",
    ];
    let exported = said("millsight", folder, &export);
    assert!(
        exported["tiles"].as_u64().unwrap() as usize >= clean,
        "{exported}"
    );

    let index = [
        "index",
        "steel",
        "--reviews",
        "labels",
        "--out",
        "steel/both.csv",
    ];
    run("millsight-train", folder, &index);
    let split = ["split", "steel/both.csv", "--out", "steel/second.csv"];
    let said = run("millsight-train", folder, &split);
    assert!(
        String::from_utf8(said.stderr)
            .unwrap()
            .contains("groups are kept together")
    );
    let second = [
        "--init",
        "first.onnx",
        "--epochs",
        "6",
        "--learning-rate",
        "3e-4",
    ];
    train("steel/second.csv", "second", &second);

    let summary = exchange(folder, "first.onnx", "second.onnx");
    let tiles = &summary["tiles"];
    let count = |state: &str| tiles[state].as_u64().unwrap();
    let settled: u64 = ["background", "cleared", "judged", "unjudged"]
        .map(count)
        .iter()
        .sum();
    assert_eq!(
        (settled, count("unjudged")),
        (count("total"), 0),
        "{summary}"
    );
    let record = text(run("millsight", folder, &["record", "export", "live"]));
    let models = record
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|line| line["record"] == "model");
    assert_eq!(models.count(), 2, "both models have flagged tiles");

    let (before, found_before) = false_alarms(folder, "first.onnx", 77);
    let (after, found_after) = false_alarms(folder, "second.onnx", 77);
    assert!(2 * after < before, "{after} false alarms, {before} before");
    // Not by flagging nothing.
    assert!(
        2 * found_after > found_before,
        "{found_after} of {found_before} found"
    );
}
