//! Gradients of one batch, summed over its shards in their order, so that the
//! result depends neither on the number of workers nor on the devices that share
//! them.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{DType, Device, Tensor};

use super::workers::Workers;
use crate::model::ModelError;

/// The gradient of each parameter, flattened, in the order of the network's
/// fields; `None` for a parameter that did not take part.
pub type Gradients = Vec<Option<Tensor<1>>>;

/// Loss and gradients of a batch that is cut into `shards` pieces.
///
/// `loss` computes the part of the loss that one shard adds, in `f32`, with a copy
/// of the network on the device (with autodiff) that it is told. The gradients are
/// in `f32` on the first of the devices.
///
/// # Errors
/// When the device does not give the loss.
pub fn summed<M: Module + Sync>(
    network: &M,
    workers: &Workers,
    shards: usize,
    loss: impl Fn(&M, usize, &Device) -> Tensor<1> + Sync,
) -> Result<(f64, Gradients), ModelError> {
    let shard = |network: &M, number: usize, device: &Device| {
        // Own leaves: shards that shared them would share one graph and its
        // lock.
        let network = network.clone().map(&mut OwnLeaves);
        let loss = loss(&network, number, &device.clone().autodiff());
        let mut collect = Collect {
            gradients: loss.backward(),
            device: workers.device(),
            flat: Vec::new(),
        };
        network.visit(&mut collect);
        (scalar(loss.inner(), "the loss"), collect.flat)
    };
    let mut total = Ok(0.0);
    let mut sum: Gradients = Vec::new();
    workers.in_shards(network, shards, shard, |(loss, gradients)| {
        match (&mut total, loss) {
            (Ok(total), Ok(loss)) => *total += loss,
            (Ok(_), Err(error)) => total = Err(error),
            (Err(_), _) => {}
        }
        add(&mut sum, gradients);
    });
    total.map(|total| (total, sum))
}

fn add(sum: &mut Gradients, gradients: Gradients) {
    if sum.is_empty() {
        *sum = gradients;
        return;
    }
    for (sum, gradient) in sum.iter_mut().zip(gradients) {
        *sum = match (sum.take(), gradient) {
            (Some(sum), Some(gradient)) => Some(sum + gradient),
            (one, other) => one.or(other),
        };
    }
}

fn scalar(tensor: Tensor<1>, what: &str) -> Result<f64, ModelError> {
    tensor
        .try_into_scalar::<f32>()
        .map(f64::from)
        .map_err(|error| ModelError::Device {
            what: what.into(),
            reason: format!("{error:?}"),
        })
}

/// Scales the gradients so that their common norm is at most `limit`, as
/// `torch.nn.utils.clip_grad_norm_`; gives the norm before.
///
/// # Errors
/// When the device does not give the norm.
pub fn clip(gradients: &mut Gradients, limit: f64, device: &Device) -> Result<f64, ModelError> {
    let norm = norm(gradients, device)?;
    let scale = limit / (norm + 1e-6);
    if scale < 1.0 {
        for gradient in gradients.iter_mut().flatten() {
            *gradient = gradient.clone() * scale;
        }
    }
    Ok(norm)
}

/// Scales each gradient so that its own norm is at most `limit`, as
/// `utils.clip_gradients` of facebookresearch/dino; gives the norms before.
pub fn clip_each(gradients: &mut Gradients, limit: f64) -> Gradients {
    gradients
        .iter_mut()
        .map(|gradient| {
            let whole = gradient.take()?;
            let norm = whole.clone().square().sum().sqrt();
            // A factor of 1 changes nothing, and the device is not waited for.
            let scale = (norm.clone() + 1e-6).recip() * limit;
            *gradient = Some(whole * scale.clamp_max(1.0));
            Some(norm)
        })
        .collect()
}

/// The norm of all gradients together.
///
/// # Errors
/// When the device does not give it.
pub fn norm(gradients: &Gradients, device: &Device) -> Result<f64, ModelError> {
    let squares = gradients
        .iter()
        .flatten()
        .fold(Tensor::<1>::zeros([1], device), |sum, gradient| {
            sum + gradient.clone().square().sum()
        });
    Ok(scalar(squares, "the norm of the gradients")?.sqrt())
}

struct OwnLeaves;

impl ModuleMapper for OwnLeaves {
    fn map_float<const D: usize>(&mut self, parameter: Param<Tensor<D>>) -> Param<Tensor<D>> {
        parameter.map(|value| {
            let required = value.is_require_grad();
            Tensor::from_inner(value.inner()).set_require_grad(required)
        })
    }
}

struct Collect<'a> {
    gradients: burn::tensor::Gradients,
    device: &'a Device,
    flat: Gradients,
}

impl ModuleVisitor for Collect<'_> {
    fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
        let gradient = parameter.val().grad_remove(&mut self.gradients);
        self.flat.push(gradient.map(|gradient| {
            let moved = gradient.reshape([-1]).to_device(self.device);
            moved.cast(DType::F32)
        }));
    }
}

#[cfg(test)]
mod tests;
