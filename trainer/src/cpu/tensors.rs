//! burn's tensors as slices.

use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{
    Autodiff, AutodiffBackend, BackendTensor, DispatchAutodiffContext, DispatchKindConversion,
    DispatchTensor, Flex,
};
use burn::tensor::{Shape, TensorData};

/// A tensor that takes part in automatic differentiation.
pub(super) type Tracked = FloatTensor<Autodiff<Flex>>;

/// Whether a tensor is outside automatic differentiation.
pub(super) fn without_autodiff(tensor: &DispatchTensor) -> bool {
    tensor.autodiff == DispatchAutodiffContext::Disabled
}

/// A tensor of the CPU without automatic differentiation, or `None`.
pub(super) fn plain(tensor: DispatchTensor) -> Option<FlexTensor> {
    match <DispatchTensor as DispatchKindConversion<Flex>>::try_into_backend(tensor) {
        Ok(BackendTensor::Float(tensor)) => Some(tensor),
        _ => None,
    }
}

/// A tensor of the CPU with automatic differentiation, a constant if it had
/// none, or `None`.
pub(super) fn tracked(tensor: DispatchTensor) -> Option<Tracked> {
    if without_autodiff(&tensor) {
        return plain(tensor).map(Autodiff::<Flex>::from_inner);
    }
    match <DispatchTensor as DispatchKindConversion<Autodiff<Flex>>>::try_into_backend(tensor) {
        Ok(BackendTensor::Float(tensor)) => Some(tensor),
        _ => None,
    }
}

/// The elements of an `f32` tensor that lies without gaps, as
/// `FlexTensor::to_contiguous` gives it.
pub(super) fn elements(tensor: &FlexTensor) -> &[f32] {
    tensor.storage()
}

/// A tensor of these elements, which are not copied.
pub(super) fn from_elements(elements: Vec<f32>, shape: Shape) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(elements, shape))
}
