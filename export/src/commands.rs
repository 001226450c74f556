//! Commands of the program that are more than a few lines.

pub mod distance;
mod judged;
pub mod quantize;
pub mod thresholds;

use miette::{IntoDiagnostic, miette};
use millsight_export::engine::{self, Engine, EngineRequest};
use millsight_export::model_file::ModelFile;

/// Starts the engine that is asked for, and says what was done otherwise.
pub fn start_engine(model: &ModelFile, request: &EngineRequest) -> miette::Result<Box<dyn Engine>> {
    let started = engine::start(model, request, 1).into_diagnostic()?;
    for notice in &started.notices {
        eprintln!("note: {notice}");
    }
    let mut engines = started.engines.into_iter();
    engines
        .next()
        .ok_or_else(|| miette!("no engine was started"))
}
