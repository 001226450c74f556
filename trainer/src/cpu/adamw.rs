//! A step of AdamW in one pass.

use burn::backend::Flex;
use burn::tensor::{DType, Device, Tensor};
use multiversion::multiversion;

use super::tensors::{elements, from_elements, plain};

/// What a step of AdamW does to a parameter, whatever its size.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Update {
    /// Decay rates of the two moments, and what they lack to 1, computed in
    /// `f64` as PyTorch does.
    pub(crate) betas: [[f32; 2]; 2],
    /// Root of the bias correction of the second moment.
    pub(crate) correction: f32,
    /// Added to the root of the second moment.
    pub(crate) epsilon: f32,
    /// Learning rate over the bias correction of the first moment.
    pub(crate) step_size: f32,
    /// What is left of the parameter after weight decay.
    pub(crate) kept: f32,
}

impl Update {
    /// The parameter after the step, and the moments replaced; `None`, and
    /// nothing changed, when this is left to burn's operations. All tensors
    /// are without autodiff.
    pub(crate) fn apply<const D: usize>(
        &self,
        parameter: &Tensor<D>,
        gradient: &Tensor<1>,
        moments: [&mut Tensor<1>; 2],
    ) -> Option<Tensor<D>> {
        let on_cpu = |dtype, device: Device| dtype == DType::F32 && device == Device::flex();
        if !on_cpu(parameter.dtype(), parameter.device())
            || !on_cpu(gradient.dtype(), gradient.device())
        {
            return None;
        }
        let old = plain(parameter.clone().into_dispatch())?.to_contiguous();
        let gradient = plain(gradient.clone().into_dispatch())?.to_contiguous();
        // Taken out, so that they are written where they lie.
        let [first, second] = moments.map(|moment| {
            let nothing = Tensor::zeros([0], &Device::flex());
            (std::mem::replace(moment, nothing), moment)
        });
        let (mut first, first_place) = (plain(first.0.into_dispatch())?.to_contiguous(), first.1);
        let (mut second, second_place) =
            (plain(second.0.into_dispatch())?.to_contiguous(), second.1);
        let mut new = vec![0.0; elements(&old).len()];
        step(
            *self,
            elements(&old),
            elements(&gradient),
            first.storage_mut(),
            second.storage_mut(),
            &mut new,
        );
        *first_place = Tensor::from_primitive::<Flex>(first);
        *second_place = Tensor::from_primitive::<Flex>(second);
        let new = from_elements(new, parameter.shape());
        Some(Tensor::from_primitive::<Flex>(new))
    }
}

#[multiversion(targets = "simd")]
fn step(
    update: Update,
    old: &[f32],
    gradient: &[f32],
    first: &mut [f32],
    second: &mut [f32],
    new: &mut [f32],
) {
    let Update {
        betas: [[beta_1, rest_1], [beta_2, rest_2]],
        correction,
        epsilon,
        step_size,
        kept,
    } = update;
    for ((((old, gradient), first), second), new) in
        old.iter().zip(gradient).zip(first).zip(second).zip(new)
    {
        *first = *first * beta_1 + gradient * rest_1;
        *second = *second * beta_2 + gradient * gradient * rest_2;
        let denominator = second.sqrt() / correction + epsilon;
        *new = old * kept - *first / denominator * step_size;
    }
}
