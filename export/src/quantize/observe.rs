//! Which values the tensors of a graph take.

use super::QuantizeError;
use super::range::Observed;
use crate::engine::embedded::Tracer;
use crate::model_file::ModelFile;
use crate::verify::ReferenceInput;

/// Runs tiles and counts the values of the tensors of these names: once for
/// their bounds, once more for their distribution.
///
/// # Errors
/// When the engine inside the program cannot run the graph, or a value is not
/// finite.
pub(super) fn observe(
    model: &ModelFile,
    names: &[String],
    tiles: &ReferenceInput,
    count: usize,
) -> Result<Vec<Observed>, QuantizeError> {
    let tracer = Tracer::load(model, names)?;
    let mut observed = vec![Observed::new(); names.len()];
    for tile in 0..count {
        let values = tracer.run(tiles.batch(count, tile, 1))?;
        for ((observed, values), name) in observed.iter_mut().zip(&values).zip(names) {
            for &value in values {
                if !value.is_finite() {
                    return Err(QuantizeError::NotFinite(name.clone()));
                }
                observed.least = observed.least.min(value);
                observed.largest = observed.largest.max(value);
            }
        }
    }
    for tile in 0..count {
        let values = tracer.run(tiles.batch(count, tile, 1))?;
        for (observed, values) in observed.iter_mut().zip(&values) {
            observed.count(values);
        }
    }
    Ok(observed)
}
