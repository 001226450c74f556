//! The engine that is part of the program: tract, on the CPU, in `f32`.

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tract_onnx::prelude::{
    Datum, DatumType, Framework, InferenceFact, InferenceModelExt, IntoRunnable, TValue, Tensor,
    TractResult, TypedModel, TypedRunnableModel, tvec,
};
use tract_onnx::tract_core::internal::{DimLike, TractError, TypedFact};
use tract_onnx::tract_core::ops::Cost;

use super::{
    Batch, Engine, EngineError, EngineIdentity, check_batch, check_distances, check_scores,
    in_batches,
};
use crate::card::{ElementType, ModelCard};
use crate::model_file::{LARGEST_TENSOR, ModelFile};
use crate::panics;

/// Version of tract, as pinned by the workspace.
const TRACT_VERSION: &str = "0.23.9";

/// A model loaded into tract with a batch of one, or of what the graph fixes.
///
/// A batch is run tile by tile: on a CPU a Vision Transformer gains nothing
/// from larger batches, and a fixed shape lets tract plan all its buffers.
pub struct Embedded {
    plan: Arc<TypedRunnableModel>,
    card: ModelCard,
    /// Tiles that the plan takes.
    at_once: usize,
    /// Of the last run, where the model tells them.
    distances: Vec<f32>,
    identity: EngineIdentity,
}

impl Embedded {
    /// Loads and optimises a model.
    ///
    /// # Errors
    /// [`EngineError::Embedded`] when tract does not know an operator of the
    /// graph, the graph's shapes contradict each other, or one of them is too
    /// large.
    pub fn load(model: &ModelFile) -> Result<Self, EngineError> {
        let at_once = model.fixed_batch.unwrap_or(1);
        let output = &model.card.output;
        let distance = output.distance.as_ref();
        let names: Vec<&str> = std::iter::once(output.name.as_str())
            .chain(distance.map(|distance| distance.name.as_str()))
            .collect();
        Ok(Self {
            plan: guarded("load", || plan(model, at_once, &names))?,
            card: model.card.clone(),
            at_once,
            distances: Vec::new(),
            identity: EngineIdentity {
                name: "embedded".into(),
                version: format!("tract {TRACT_VERSION}"),
                provider: "cpu".into(),
                precision: if model.card.is_quantized() {
                    "int8"
                } else {
                    "f32"
                }
                .into(),
            },
        })
    }

    fn run_batches<T: Datum + Copy + Default>(
        &mut self,
        values: &[T],
        scores: &mut Vec<f32>,
    ) -> Result<(), EngineError> {
        let input = &self.card.input;
        let shape = [self.at_once, input.channels, input.height, input.width];
        let size = input.channels * input.height * input.width;
        let Self {
            plan,
            card,
            at_once,
            distances,
            ..
        } = self;
        in_batches(values, size, *at_once, |part, wanted| {
            let found = guarded("run", || {
                let tensor = Tensor::from_shape(&shape, part)?;
                numbers(&plan.run(tvec!(tensor.into()))?)
            })?;
            let [found, rest @ ..] = found.as_slice() else {
                return check_scores(card, *at_once, 0);
            };
            check_scores(card, *at_once, found.len())?;
            scores.extend_from_slice(&found[..wanted * card.classes.len()]);
            if let [found, ..] = rest {
                check_distances(*at_once, found.len())?;
                distances.extend_from_slice(&found[..wanted]);
            }
            Ok(())
        })
    }
}

impl Engine for Embedded {
    fn identity(&self) -> &EngineIdentity {
        &self.identity
    }

    fn run(
        &mut self,
        batch: Batch<'_>,
        tiles: usize,
        scores: &mut Vec<f32>,
    ) -> Result<(), EngineError> {
        scores.clear();
        self.distances.clear();
        check_batch(&self.card, batch, tiles)?;
        match batch {
            Batch::U8(values) => self.run_batches(values, scores),
            Batch::F32(values) => self.run_batches(values, scores),
        }
    }

    fn distances(&self) -> &[f32] {
        &self.distances
    }
}

/// The numbers of each output.
fn numbers(outputs: &[TValue]) -> TractResult<Vec<Vec<f32>>> {
    let outputs = outputs.iter();
    outputs
        .map(|output| {
            let values = output.to_plain_array_view::<f32>()?;
            Ok(values.iter().copied().collect())
        })
        .collect()
}

/// A model loaded into tract for values inside its graph, tile by tile.
pub(crate) struct Tracer {
    plan: Arc<TypedRunnableModel>,
    card: ModelCard,
}

impl Tracer {
    /// Loads a model for the values of the tensors of these names.
    ///
    /// # Errors
    /// As [`Embedded::load`], or when the graph fixes a larger batch.
    pub(crate) fn load(model: &ModelFile, tensors: &[String]) -> Result<Self, EngineError> {
        let names: Vec<&str> = tensors.iter().map(String::as_str).collect();
        Ok(Self {
            plan: guarded("load", || plan(model, 1, &names))?,
            card: model.card.clone(),
        })
    }

    /// The values of each tensor for one tile.
    ///
    /// # Errors
    /// When the tile is not of the model's size, or tract fails.
    pub(crate) fn run(&self, tile: Batch<'_>) -> Result<Vec<Vec<f32>>, EngineError> {
        check_batch(&self.card, tile, 1)?;
        let input = &self.card.input;
        let shape = [1, input.channels, input.height, input.width];
        guarded("run", || {
            let tensor = match tile {
                Batch::U8(values) => Tensor::from_shape(&shape, values)?,
                Batch::F32(values) => Tensor::from_shape(&shape, values)?,
            };
            numbers(&self.plan.run(tvec!(tensor.into()))?)
        })
    }
}

/// Calls tract. It asserts where a graph breaks a rule that it takes for
/// granted, and a model file from elsewhere must not end the program.
fn guarded<T>(
    action: &'static str,
    call: impl FnOnce() -> TractResult<T>,
) -> Result<T, EngineError> {
    // A plan holds no state of its runs, so that none is left half changed.
    let outcome = catch_unwind(AssertUnwindSafe(call));
    outcome
        .map_err(|panic| panics::message(panic.as_ref()))
        .and_then(|result| result.map_err(|error| format!("{error:#}")))
        .map_err(|reason| EngineError::Embedded { action, reason })
}

fn plan(model: &ModelFile, batch: usize, outputs: &[&str]) -> TractResult<Arc<TypedRunnableModel>> {
    let graph = typed(model, batch, outputs)?;
    graph.into_optimized()?.into_runnable()
}

/// The multiplications, each with an addition, in the convolutions and matrix
/// products of a model for one tile, as tract counts them (`Cost::FMA`).
///
/// # Errors
/// As [`Embedded::load`].
pub fn multiply_adds(model: &ModelFile) -> Result<u64, EngineError> {
    let at_once = model.fixed_batch.unwrap_or(1);
    guarded("load", || {
        let graph = typed(model, at_once, &[&model.card.output.name])?.into_decluttered()?;
        let mut sum = 0;
        for node in &graph.nodes {
            let name = node.op.name();
            if !["Conv", "EinSum"].iter().any(|known| name.contains(known)) {
                continue;
            }
            for (cost, count) in node.op.cost(&graph.node_input_facts(node.id)?)? {
                if matches!(cost, Cost::FMA(_)) {
                    sum += count.to_usize()? as u64;
                }
            }
        }
        Ok(sum / at_once as u64)
    })
}

fn typed(model: &ModelFile, batch: usize, outputs: &[&str]) -> TractResult<TypedModel> {
    let input = &model.card.input;
    let element = match input.element {
        ElementType::U8 => DatumType::U8,
        ElementType::F32 => DatumType::F32,
    };
    let shape = tvec!(batch, input.channels, input.height, input.width);
    // The shapes stated in the file have a free batch; here it is fixed.
    let mut graph = tract_onnx::onnx()
        .with_ignore_value_info(true)
        .with_ignore_output_shapes(true)
        .model_for_read(&mut Cursor::new(&model.onnx))?
        .with_input_fact(0, InferenceFact::dt_shape(element, shape))?
        .with_outputs_by_name(outputs)?;
    // Some sizes are known before anything is computed, the others after the
    // graph's constants are.
    graph.analyse(false)?;
    for node in &graph.nodes {
        for output in &node.outputs {
            if let Ok(fact) = TypedFact::try_from(&output.fact) {
                check_size(&node.name, &fact)?;
            }
        }
    }
    let graph = graph.into_typed()?;
    for node in &graph.nodes {
        for output in &node.outputs {
            check_size(&node.name, &output.fact)?;
        }
    }
    Ok(graph)
}

/// Refuses a node that would give more numbers than memory holds.
fn check_size(node: &str, fact: &TypedFact) -> TractResult<()> {
    let shape = fact.shape.as_concrete().unwrap_or_default();
    let elements = shape
        .iter()
        .fold(1u64, |all, extent| all.saturating_mul(*extent as u64));
    if elements > LARGEST_TENSOR {
        return Err(TractError::msg(format!(
            "node `{node}` gives {elements} numbers, more than {LARGEST_TENSOR}"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_version_is_the_one_that_is_compiled_in() {
        let lock = std::fs::read_to_string(
            std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.lock"),
        )
        .unwrap();
        let entry = format!("name = \"tract-onnx\"\nversion = \"{TRACT_VERSION}\"\n");
        assert!(lock.contains(&entry), "Cargo.lock has another version");
    }

    #[test]
    fn a_panic_becomes_an_error() {
        let error = guarded::<()>("run", || panic!("no {}", "way")).unwrap_err();
        assert!(error.to_string().contains("cannot run this model: no way"));
    }
}
