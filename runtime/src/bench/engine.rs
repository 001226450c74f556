//! How many tiles an engine judges on one thread.

use std::time::{Duration, Instant};

use millsight_export::card::ElementType;
use millsight_export::engine::{Batch, Engine, EngineError};
use millsight_export::model_file::ModelFile;

/// Tiles a second through an engine that is given `tiles` grey tiles at once, over
/// some time.
///
/// # Errors
/// When the engine fails.
pub fn tiles_per_second(
    model: &ModelFile,
    engine: &mut dyn Engine,
    tiles: usize,
    time: Duration,
) -> Result<f64, EngineError> {
    let input = &model.card.input;
    let elements = tiles * input.channels * input.height * input.width;
    let (levels, values) = (vec![128u8; elements], vec![0f32; elements]);
    let batch = match input.element {
        ElementType::U8 => Batch::U8(&levels),
        ElementType::F32 => Batch::F32(&values),
    };
    let mut scores = Vec::new();
    engine.run(batch, tiles, &mut scores)?;
    let begun = Instant::now();
    let mut judged = 0;
    while begun.elapsed() < time {
        engine.run(batch, tiles, &mut scores)?;
        judged += tiles;
    }
    Ok(judged as f64 / begun.elapsed().as_secs_f64())
}
