//! Weights to start from.

use millsight_export::graph::YoloClsSpec;
use millsight_export::weights::NamedArrays;
use rand::RngExt;

use crate::data::order::{Stream, generator};
use crate::model::ModelError;

/// Initial weights as PyTorch draws them for these layers.
///
/// Filters and the linear layer: uniform within `sqrt(1 / inputs)`, its bias
/// too (PyTorch's default, Kaiming uniform with `a = sqrt(5)`); batch norms:
/// scale and variance 1, shift and mean 0. The seed alone decides.
///
/// # Errors
/// When the sizes do not fit one another.
pub fn yolo_cls(spec: &YoloClsSpec, seed: u64) -> Result<NamedArrays, ModelError> {
    spec.check()?;
    let mut random = generator(seed, Stream::Weights, 0);
    let mut weights = NamedArrays::new();
    // Of the filters or of the matrix that a bias follows.
    let mut inputs = 1;
    for (name, shape) in spec.parameters() {
        let count = shape.iter().product();
        let constant = match name.rsplit_once(".bn.") {
            Some((_, "weight" | "running_var")) => Some(1.0),
            Some(_) => Some(0.0),
            None => None,
        };
        let data = match constant {
            Some(value) => vec![value; count],
            None => {
                if shape.len() > 1 {
                    inputs = shape[1..].iter().product();
                }
                let bound = (1.0 / inputs as f32).sqrt();
                (0..count)
                    .map(|_| random.random_range(-bound..=bound))
                    .collect()
            }
        };
        weights.insert(name, shape, data)?;
    }
    Ok(weights)
}
