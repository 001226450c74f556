//! Gradients of one batch, summed over its shards in their order, so that the
//! result does not depend on the number of workers.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor};

use super::workers::Workers;
use crate::model::ModelError;

/// The gradient of each parameter, flattened, in the order of the network's
/// fields; `None` for a parameter that did not take part.
pub type Gradients = Vec<Option<Tensor<1>>>;

/// Loss and gradients of a batch that is cut into `shards` pieces.
///
/// `loss` computes the part of the loss that one shard adds.
///
/// # Errors
/// When the device does not give the loss.
pub fn summed<M: Module + Sync>(
    network: &M,
    workers: &Workers,
    shards: usize,
    loss: impl Fn(&M, usize) -> Tensor<1> + Sync,
) -> Result<(f64, Gradients), ModelError> {
    let shard = |number: usize| {
        // Own leaves: shards that shared them would share one graph and its
        // lock.
        let network = network.clone().map(&mut OwnLeaves);
        let loss = loss(&network, number);
        let mut collect = Collect {
            gradients: loss.backward(),
            flat: Vec::new(),
        };
        network.visit(&mut collect);
        (scalar(loss.inner(), "the loss"), collect.flat)
    };
    let mut total = Ok(0.0);
    let mut sum: Gradients = Vec::new();
    workers.in_order(shards, shard, |(loss, gradients)| {
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

struct Collect {
    gradients: burn::tensor::Gradients,
    flat: Gradients,
}

impl ModuleVisitor for Collect {
    fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
        let gradient = parameter.val().grad_remove(&mut self.gradients);
        self.flat
            .push(gradient.map(|gradient| gradient.reshape([-1])));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn clipping_scales_to_the_common_norm() {
        let device = Device::flex();
        let tensor = |values: [f32; 2]| Some(Tensor::<1>::from_floats(values, &device));
        let mut gradients = vec![tensor([3.0, 0.0]), None, tensor([0.0, 4.0])];
        assert_eq!(clip(&mut gradients, 10.0, &device).unwrap(), 5.0);
        assert_eq!(clip(&mut gradients, 1.0, &device).unwrap(), 5.0);
        let norm = clip(&mut gradients, 1.0, &device).unwrap();
        assert!((norm - 1.0).abs() < 1e-5, "{norm}");
    }

    #[test]
    fn each_gradient_may_be_clipped_by_itself() {
        let device = Device::flex();
        let tensor = |values: [f32; 2]| Some(Tensor::<1>::from_floats(values, &device));
        let mut gradients = vec![
            tensor([3.0, 4.0]),
            None,
            tensor([0.0, 0.5]),
            tensor([0.0; 2]),
        ];
        let norms = clip_each(&mut gradients, 1.0);
        let values = |gradients: &Gradients| -> Vec<Option<Vec<f32>>> {
            let read = |gradient: &Tensor<1>| gradient.clone().try_into_vec_as::<f32>().unwrap();
            let all = gradients.iter().map(|one| one.as_ref().map(read));
            all.collect()
        };
        let norms = values(&norms);
        assert_eq!(norms[0], Some(vec![5.0]));
        assert_eq!(norms[1..], [None, Some(vec![0.5]), Some(vec![0.0])]);
        let clipped = values(&gradients);
        let first = clipped[0].as_ref().unwrap();
        assert!((first[0] - 0.6).abs() < 1e-6 && (first[1] - 0.8).abs() < 1e-6);
        assert_eq!(clipped[2..], [Some(vec![0.0, 0.5]), Some(vec![0.0; 2])]);
    }
}
