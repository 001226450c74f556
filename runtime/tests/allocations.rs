//! In steady state the walk of the tiles allocates nothing.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

use millsight_export::engine::{
    Batch, Engine, EngineChoice, EngineError, EngineIdentity, EngineRequest, library,
};
use millsight_export::model_file::ModelFile;
use millsight_firmware_config::{Station, TILE_SIZE};
use millsight_runtime::bench::process::{self, CountingAllocator};
use millsight_runtime::classify::{Classifier, Models, Network, SettledRow};
use millsight_runtime::decide::Decider;
use millsight_runtime::ledger::Ledger;
use millsight_runtime::networks;
use millsight_runtime::pipeline::{self, Drive, Run};
use millsight_runtime::position::Geometry;
use millsight_runtime::source::prerendered::Prerendered;
use millsight_runtime::station;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

const ROWS: u64 = 120;

/// Rows until nearly everything has been used once.
const SETTLING: u64 = 60;

/// What a thread makes once, when it first waits for another, may come late.
const MADE_ONCE: u64 = (ROWS - SETTLING) / 10;

/// An engine that finds a defect in every `nth` tile.
struct EveryNth {
    identity: EngineIdentity,
    nth: usize,
    seen: usize,
    classes: usize,
}

impl Engine for EveryNth {
    fn identity(&self) -> &EngineIdentity {
        &self.identity
    }

    fn run(&mut self, _: Batch<'_>, tiles: usize, out: &mut Vec<f32>) -> Result<(), EngineError> {
        out.clear();
        for _ in 0..tiles {
            self.seen += 1;
            let flagged = usize::from(self.seen.is_multiple_of(self.nth));
            out.extend((0..self.classes).map(|class| if class == flagged { 9.0 } else { 0.0 }));
        }
        Ok(())
    }
}

fn every_nth(model: &ModelFile, nth: usize) -> Network {
    let engine = EveryNth {
        identity: EngineIdentity {
            name: "scripted".into(),
            version: String::new(),
            provider: "cpu".into(),
            precision: "f32".into(),
        },
        nth,
        seen: 0,
        classes: model.card.classes.len(),
    };
    let decider = Decider::new(&model.card, &BTreeMap::new()).unwrap();
    Network::new(Box::new(engine), &model.card, decider, 4)
}

/// Allocations of a run between its [`SETTLING`]th row and its last one.
fn allocations(station: &Station, classifiers: Vec<Classifier>, classes: &[String]) -> u64 {
    let width = 4 * TILE_SIZE;
    let source = Prerendered::draw(width, 4, 0.1, 1).unwrap();
    let ledger = Ledger::new(classes);
    let (mut rows, mut first, mut last) = (0, 0, 0);
    let mut observe = |_: &SettledRow| {
        rows += 1;
        if rows == SETTLING {
            first = process::allocations();
        }
        last = process::allocations();
    };
    let outcome = pipeline::run(
        Run {
            source: Box::new(source.of_lines(ROWS * TILE_SIZE as u64)),
            geometry: Geometry {
                pixels_per_line: width,
                ..Geometry::of(station)
            },
            classifiers,
            models: &Models::default(),
            flat_field: None,
            recorder: None,
            observe: Some(&mut observe),
            drive: Drive::Unpaced,
            cores: &station.cores,
            queue_rows: 4,
            stop: &AtomicBool::new(false),
            ledger: &ledger,
        },
        |_| {},
    );
    assert_eq!(outcome, pipeline::Outcome::default());
    let tiles = ledger.tiles();
    assert_eq!((rows, tiles.unjudged), (ROWS, 0), "{tiles:?}");
    assert!(first > 0, "nothing was counted");
    last - first
}

#[test]
fn a_row_in_steady_state_allocates_nothing() {
    let station = Station::ready("strip").unwrap();
    let model = station::load_model(None, None).unwrap();
    let classes = &model.card.classes;
    let cascade = |_| {
        let detection = station.material_detection.clone();
        let (classifier, screen) = (every_nth(&model, 2), every_nth(&model, 3));
        Classifier::new(classifier, Some(screen), detection)
    };
    let classifiers = (0..2).map(cascade).collect();
    let made = allocations(&station, classifiers, classes);
    assert!(made <= MADE_ONCE, "{made}");

    let request = EngineRequest {
        choice: EngineChoice::OnnxRuntime,
        ..EngineRequest::default()
    };
    if library::candidates(None).is_empty() {
        assert!(std::env::var_os("MILLSIGHT_REQUIRE_ONNXRUNTIME").is_none());
        return;
    }
    let networks = networks::start(&station, &request).unwrap();
    let made = allocations(&station, networks.classifiers, classes);
    assert!(made <= MADE_ONCE, "{made}");
}
