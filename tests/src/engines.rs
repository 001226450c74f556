//! The engines that tests run on.
#![allow(clippy::unwrap_used)]

use millsight_export::card::ModelCard;
use millsight_export::engine::{Batch, Engine, EngineChoice, EngineRequest, start};
use millsight_export::model_file::ModelFile;

use crate::graphs;

/// Environment variable that makes tests of ONNX Runtime fail rather than be
/// passed over where its library is missing.
pub const REQUIRED: &str = "MILLSIGHT_REQUIRE_ONNXRUNTIME";

/// Whether ONNX Runtime can be started.
///
/// # Panics
/// When it cannot although [`REQUIRED`] is set.
pub fn onnxruntime_available() -> bool {
    let card: ModelCard = graphs::card(&["no_defect", "cracks"]);
    let model = ModelFile::from_graph(graphs::mean_colour(None, [8, 8], 2), card).unwrap();
    let request = EngineRequest {
        choice: EngineChoice::OnnxRuntime,
        ..EngineRequest::default()
    };
    match start(&model, &request, 1) {
        Ok(started) => {
            assert_eq!(started.identity().name, "onnxruntime");
            true
        }
        Err(error) => {
            let required = std::env::var_os(REQUIRED).is_some();
            assert!(!required, "{REQUIRED} is set, but: {error}");
            eprintln!("without ONNX Runtime: {error}");
            false
        }
    }
}

/// The engines that can be started, as the programs' `--engine` names them.
pub fn names() -> Vec<&'static str> {
    let mut names = vec!["embedded"];
    if onnxruntime_available() {
        names.push("onnxruntime");
    }
    names
}

/// Each engine that can be started, with a model.
///
/// # Panics
/// When one does not take the model.
pub fn with(model: &ModelFile) -> Vec<Box<dyn Engine>> {
    names()
        .into_iter()
        .map(|name| with_one(model, choice(name)))
        .collect()
}

/// One engine with a model.
///
/// # Panics
/// When it does not start.
pub fn with_one(model: &ModelFile, choice: EngineChoice) -> Box<dyn Engine> {
    let request = EngineRequest {
        choice,
        ..EngineRequest::default()
    };
    let mut started = start(model, &request, 1).unwrap();
    started.engines.remove(0)
}

fn choice(name: &str) -> EngineChoice {
    match name {
        "onnxruntime" => EngineChoice::OnnxRuntime,
        _ => EngineChoice::Embedded,
    }
}

/// The scores of a batch.
///
/// # Panics
/// When the engine fails.
pub fn scores(engine: &mut dyn Engine, batch: Batch<'_>, tiles: usize) -> Vec<f32> {
    let mut scores = Vec::new();
    engine.run(batch, tiles, &mut scores).unwrap();
    scores
}
