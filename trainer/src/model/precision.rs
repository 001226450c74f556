//! The number format in which a network learns.
//!
//! Weights, moments, gradients, losses and everything that is kept are `f32`. In
//! `bf16` a batch is computed with a copy of the weights in that format: images,
//! positions and factors of drop path take the format of the weights where they
//! meet them, and each loss takes its network's outputs back to `f32`.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{DType, Device, Tensor};
use serde::{Deserialize, Serialize};

/// The number format in which a network learns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32 bits, 24 of them significant.
    #[default]
    F32,
    /// 16 bits with the range of `f32`, 8 of them significant.
    Bf16,
}

impl Precision {
    /// The element type of burn.
    pub fn element(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::Bf16 => DType::BF16,
        }
    }

    /// A copy of a network in this format on a device. With autodiff its
    /// parameters are leaves of their own, which require a gradient where those of
    /// `network` do.
    pub fn copy<M: Module>(self, network: &M, device: &Device) -> M {
        let element = self.element();
        network.clone().map(&mut Copying { device, element })
    }
}

struct Copying<'a> {
    device: &'a Device,
    element: DType,
}

impl ModuleMapper for Copying<'_> {
    fn map_float<const D: usize>(&mut self, parameter: Param<Tensor<D>>) -> Param<Tensor<D>> {
        parameter.map(|value| {
            let (autodiff, required) = (value.is_autodiff(), value.is_require_grad());
            let value = value.inner().to_device(self.device).cast(self.element);
            if autodiff {
                Tensor::from_inner(value).set_require_grad(required)
            } else {
                value
            }
        })
    }
}
