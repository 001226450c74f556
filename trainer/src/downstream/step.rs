//! Gradients of one batch, shared among worker threads.
//!
//! burn's CPU backend runs element-wise work on one thread and gains little
//! from a second one in its matrix products. A batch is therefore cut into
//! shards, and each worker computes whole shards on a thread of its own. The
//! shards are summed in their order, so that the result does not depend on
//! the number of workers.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor};

use crate::model::ModelError;

/// The gradient of each parameter, flattened, in the order of the network's
/// fields; `None` for a parameter that did not take part.
pub type Gradients = Vec<Option<Tensor<1>>>;

/// Threads that compute shards, each with a pool of one thread for burn.
#[derive(Debug)]
pub struct Workers {
    pools: Vec<rayon::ThreadPool>,
}

impl Workers {
    /// Starts `count` threads; 0 leaves all work to the calling thread and
    /// the backend's own threads.
    ///
    /// # Errors
    /// When the operating system refuses a thread.
    pub fn new(count: usize) -> Result<Self, rayon::ThreadPoolBuildError> {
        let pools = (0..count)
            .map(|number| {
                rayon::ThreadPoolBuilder::new()
                    .num_threads(1)
                    .thread_name(move |_| format!("worker-{number}"))
                    .build()
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { pools })
    }

    /// Computes `job(0)` to `job(jobs - 1)` and hands the results to `take`
    /// in that order, each as soon as it and all before it are there.
    pub fn in_order<T: Send>(
        &self,
        jobs: usize,
        job: impl Fn(usize) -> T + Sync,
        mut take: impl FnMut(T) + Send,
    ) {
        if self.pools.is_empty() {
            for number in 0..jobs {
                take(job(number));
            }
            return;
        }
        let next = AtomicUsize::new(0);
        let waiting = Mutex::new((0, BTreeMap::new(), take));
        let work = || {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= jobs {
                    return;
                }
                let result = job(number);
                let mut guard = waiting.lock().unwrap_or_else(PoisonError::into_inner);
                let (due, results, take) = &mut *guard;
                results.insert(number, result);
                while let Some(result) = results.remove(due) {
                    take(result);
                    *due += 1;
                }
            }
        };
        std::thread::scope(|scope| {
            for pool in &self.pools {
                scope.spawn(|| pool.install(work));
            }
        });
    }
}

/// Loss and gradients of a batch that is cut into `shards` pieces.
///
/// `loss` computes the part of the loss that one shard adds.
///
/// # Errors
/// When the device does not give the loss.
pub fn gradients<M: Module + Sync>(
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
    let squares = gradients
        .iter()
        .flatten()
        .fold(Tensor::<1>::zeros([1], device), |sum, gradient| {
            sum + gradient.clone().square().sum()
        });
    let norm = scalar(squares, "the norm of the gradients")?.sqrt();
    let scale = limit / (norm + 1e-6);
    if scale < 1.0 {
        for gradient in gradients.iter_mut().flatten() {
            *gradient = gradient.clone() * scale;
        }
    }
    Ok(norm)
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
    fn results_come_in_order_from_any_number_of_workers() {
        for count in [0, 1, 3] {
            let mut taken = Vec::new();
            Workers::new(count).unwrap().in_order(
                20,
                |number| {
                    std::thread::sleep(std::time::Duration::from_micros(number as u64 * 7 % 50));
                    number
                },
                |number| taken.push(number),
            );
            assert_eq!(taken, (0..20).collect::<Vec<_>>());
        }
    }

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
}
