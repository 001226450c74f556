//! The engine that is part of the program: tract, on the CPU, in `f32`.

use std::io::Cursor;
use std::sync::Arc;

use tract_onnx::prelude::{
    DatumType, Framework, InferenceFact, InferenceModelExt, IntoRunnable, Tensor, TractResult,
    TypedRunnableModel, tvec,
};

use super::{Batch, Engine, EngineError, EngineIdentity, check_batch, run_in_parts};
use crate::card::{ElementType, ModelCard};
use crate::model_file::ModelFile;

/// Version of tract, as pinned by the workspace.
const TRACT_VERSION: &str = "tract 0.23.9";

/// A model loaded into tract with a batch of one, or of the number of tiles
/// that its graph fixes.
///
/// A batch is run tile by tile: on a CPU a Vision Transformer gains nothing
/// from larger batches, and a fixed shape lets tract plan all its buffers.
pub struct Embedded {
    plan: Arc<TypedRunnableModel>,
    card: ModelCard,
    /// Tiles that go through the plan at once.
    part: usize,
    identity: EngineIdentity,
}

impl Embedded {
    /// Loads and optimises a model.
    ///
    /// # Errors
    /// [`EngineError::Embedded`] when tract does not know an operator of the
    /// graph or the graph's shapes contradict each other.
    pub fn load(model: &ModelFile) -> Result<Self, EngineError> {
        let part = model.fixed_batch.unwrap_or(1);
        let plan = plan(model, part).map_err(|error| EngineError::Embedded {
            action: "load",
            reason: format!("{error:#}"),
        })?;
        Ok(Self {
            plan,
            card: model.card.clone(),
            part,
            identity: EngineIdentity {
                name: "embedded".into(),
                version: TRACT_VERSION.into(),
                provider: "cpu".into(),
                precision: "f32".into(),
            },
        })
    }

    fn run_part(&self, tiles: Tensor, scores: &mut Vec<f32>) -> TractResult<()> {
        let outputs = self.plan.run(tvec!(tiles.into()))?;
        let values = outputs[0].to_plain_array_view::<f32>()?;
        scores.extend(values.iter().copied());
        Ok(())
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
        check_batch(&self.card, batch, tiles)?;
        scores.clear();
        let input = &self.card.input;
        let shape = [self.part, input.channels, input.height, input.width];
        run_in_parts(
            &self.card,
            self.part,
            batch,
            tiles,
            scores,
            |part, scores| {
                match part {
                    Batch::U8(values) => Tensor::from_shape(&shape, values),
                    Batch::F32(values) => Tensor::from_shape(&shape, values),
                }
                .and_then(|tiles| self.run_part(tiles, scores))
                .map_err(|error| EngineError::Embedded {
                    action: "run",
                    reason: format!("{error:#}"),
                })
            },
        )
    }
}

fn plan(model: &ModelFile, part: usize) -> TractResult<Arc<TypedRunnableModel>> {
    let input = &model.card.input;
    let element = match input.element {
        ElementType::U8 => DatumType::U8,
        ElementType::F32 => DatumType::F32,
    };
    let fact = InferenceFact::dt_shape(
        element,
        tvec!(part, input.channels, input.height, input.width),
    );
    // The shapes stated in the file may have a free batch; here it is fixed.
    tract_onnx::onnx()
        .with_ignore_value_info(true)
        .with_ignore_output_shapes(true)
        .model_for_read(&mut Cursor::new(&model.onnx))?
        .with_input_fact(0, fact)?
        .into_optimized()?
        .into_runnable()
}
