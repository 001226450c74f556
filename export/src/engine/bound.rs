//! Runs of a session over memory that is bound to it once, so that a run on the
//! processor allocates nothing in this program, and one on a GPU only what its
//! transfer needs.

use std::fmt;

use ort::memory::Allocator;
use ort::session::{IoBinding, Session};
use ort::value::{PrimitiveTensorElementType, Tensor};
use ort::{AsPointer, Error};

use super::EngineError;
use crate::card::ModelCard;

/// Memory for runs over one, two, three… tiles, made when it is first needed.
pub(super) struct Runs<T: PrimitiveTensorElementType + fmt::Debug> {
    of_tiles: Vec<Option<Bound<T>>>,
    /// Whether the session computes elsewhere than in this memory.
    is_remote: bool,
}

/// Memory for runs over a number of tiles.
pub(super) struct Bound<T: PrimitiveTensorElementType + fmt::Debug> {
    binding: IoBinding,
    input: Tensor<T>,
    output: Tensor<f32>,
    /// Where the model tells how far tiles are from the training data.
    distance: Option<Tensor<f32>>,
}

impl<T: PrimitiveTensorElementType + fmt::Debug + Copy> Runs<T> {
    pub(super) fn new(is_remote: bool) -> Self {
        Self {
            of_tiles: Vec::new(),
            is_remote,
        }
    }

    /// Runs `tiles` tiles, `values`, and gives the scores, `[tiles, classes]`, and the
    /// distances, `[tiles]` or none.
    ///
    /// # Errors
    /// When the memory does not fit the graph or the session fails.
    pub(super) fn run(
        &mut self,
        session: &mut Session,
        card: &ModelCard,
        values: &[T],
        tiles: usize,
    ) -> Result<(&[f32], &[f32]), EngineError> {
        let is_remote = self.is_remote;
        let bound = self.reserve(session, card, tiles)?;
        bound.run(session, card, values, is_remote).map_err(failed)
    }

    /// Memory for runs over `tiles` tiles.
    ///
    /// # Errors
    /// When it does not fit the graph.
    pub(super) fn reserve(
        &mut self,
        session: &Session,
        card: &ModelCard,
        tiles: usize,
    ) -> Result<&mut Bound<T>, EngineError> {
        if self.of_tiles.len() <= tiles {
            self.of_tiles.resize_with(tiles + 1, || None);
        }
        let slot = &mut self.of_tiles[tiles];
        match slot {
            Some(bound) => Ok(bound),
            None => Ok(slot.insert(Bound::new(session, card, tiles)?)),
        }
    }
}

impl<T: PrimitiveTensorElementType + fmt::Debug + Copy> Bound<T> {
    fn new(session: &Session, card: &ModelCard, tiles: usize) -> Result<Self, EngineError> {
        let (input, output) = (&card.input, card.output.name.as_str());
        if !session.outputs().iter().any(|found| found.name() == output) {
            return Err(EngineError::Run(format!(
                "the graph has no output `{output}`, which its card names"
            )));
        }
        let distance = card.output.distance.as_ref();
        let bind = || {
            let shape = [tiles, input.channels, input.height, input.width];
            let memory = Allocator::default();
            let mut bound = Self {
                binding: session.create_binding()?,
                input: Tensor::new(&memory, shape)?,
                output: Tensor::new(&memory, [tiles, card.classes.len()])?,
                distance: match distance {
                    Some(_) => Some(Tensor::new(&memory, [tiles, 1])?),
                    None => None,
                },
            };
            bound
                .binding
                .bind_input(input.name.as_str(), &bound.input)?;
            bound.binding.bind_output(output, &mut bound.output)?;
            if let (Some(distance), Some(tensor)) = (distance, &mut bound.distance) {
                bound.binding.bind_output(distance.name.as_str(), tensor)?;
            }
            Ok(bound)
        };
        bind().map_err(failed)
    }

    fn run(
        &mut self,
        session: &mut Session,
        card: &ModelCard,
        values: &[T],
        is_remote: bool,
    ) -> ort::Result<(&[f32], &[f32])> {
        let (_, input) = self.input.try_extract_tensor_mut::<T>()?;
        input.copy_from_slice(values);
        if is_remote {
            // What is bound was copied to the device when it was bound.
            let name = card.input.name.as_str();
            self.binding.bind_input(name, &self.input)?;
        }
        run_bound(session, &self.binding)?;
        if is_remote {
            self.binding.synchronize_outputs()?;
        }
        let (_, scores) = self.output.try_extract_tensor::<f32>()?;
        let distances = match &self.distance {
            Some(distance) => distance.try_extract_tensor::<f32>()?.1,
            None => &[],
        };
        Ok((scores, distances))
    }
}

/// Runs a session over what is bound to it. `Session::run_binding` would allocate
/// handles of the outputs at every run.
fn run_bound(session: &mut Session, binding: &IoBinding) -> ort::Result<()> {
    let options = std::ptr::null();
    // SAFETY: both pointers belong to live objects, the binding was made for this
    // session, its tensors live as long as the binding, and the session is not
    // used elsewhere at the same time.
    #[allow(unsafe_code)]
    unsafe {
        let status = (ort::api().RunWithBinding)(session.ptr_mut(), options, binding.ptr());
        Error::result_from_status(status)
    }
}

fn failed(error: Error) -> EngineError {
    EngineError::Run(error.to_string())
}
