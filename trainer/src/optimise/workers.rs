//! Who computes the shards of a batch.
//!
//! burn's CPU backend runs element-wise work on one thread and gains little
//! from a second one in its matrix products. A batch is therefore cut into
//! shards, and each worker computes whole shards on a thread of its own. Several
//! GPUs have a worker each, with a copy of the weights for each step.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use burn::module::Module;
use burn::tensor::Device;

use crate::device::Devices;
use crate::model::precision::Precision;

/// Threads that compute shards, each with a pool of one thread for burn, and
/// what they compute on.
#[derive(Debug)]
pub struct Workers {
    pools: Vec<rayon::ThreadPool>,
    devices: Devices,
    precision: Precision,
}

impl Workers {
    /// Starts `count` threads for the processor; 0 leaves all work to the calling
    /// thread and the backend's own threads.
    ///
    /// # Errors
    /// When the operating system refuses a thread.
    pub fn new(count: usize) -> Result<Self, rayon::ThreadPoolBuildError> {
        Self::on(Device::flex().into(), count, Precision::F32)
    }

    /// As [`Workers::new`], for these devices. Several have a thread each,
    /// whatever `count` says.
    ///
    /// # Errors
    /// When the operating system refuses a thread.
    pub fn on(
        devices: Devices,
        count: usize,
        precision: Precision,
    ) -> Result<Self, rayon::ThreadPoolBuildError> {
        let count = match devices.others.len() {
            0 => count,
            others => 1 + others,
        };
        let pools = (0..count)
            .map(|number| {
                rayon::ThreadPoolBuilder::new()
                    .num_threads(1)
                    .thread_name(move |_| format!("worker-{number}"))
                    .build()
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            pools,
            devices,
            precision,
        })
    }

    /// The device on which a network lies that learns, and its gradients are
    /// summed.
    pub fn device(&self) -> &Device {
        &self.devices.first
    }

    /// Computes `job(0)` to `job(jobs - 1)` and hands the results to `take`
    /// in that order, each as soon as it and all before it are there.
    pub fn in_order<T: Send>(
        &self,
        jobs: usize,
        job: impl Fn(usize) -> T + Sync,
        take: impl FnMut(T) + Send,
    ) {
        self.run(jobs, false, job, take);
    }

    /// Computes `job` for each of the shards of a batch, with a copy of `network`
    /// on a device, and hands the results to `take` in the order of the shards.
    ///
    /// The devices take turns, so that it follows from its number where a shard is
    /// computed. Each has its copy once for all its shards.
    pub fn in_shards<M: Module + Sync, T: Send>(
        &self,
        network: &M,
        shards: usize,
        job: impl Fn(&M, usize, &Device) -> T + Sync,
        take: impl FnMut(T) + Send,
    ) {
        let copies: Vec<(&Device, M)> = std::iter::once(&self.devices.first)
            .chain(&self.devices.others)
            .map(|device| (device, self.precision.copy(network, device)))
            .collect();
        let job = |shard: usize| {
            let (device, network) = &copies[shard % copies.len()];
            job(network, shard, device)
        };
        self.run(shards, copies.len() > 1, job, take);
    }

    /// With `turns`, worker `i` of `n` computes the jobs `i`, `i + n` and so on;
    /// else each takes the next one when it is free.
    fn run<T: Send>(
        &self,
        jobs: usize,
        turns: bool,
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
        let work = |worker: usize| {
            let mut own = (worker..jobs).step_by(self.pools.len());
            let free = || Some(next.fetch_add(1, Ordering::Relaxed)).filter(|next| *next < jobs);
            while let Some(number) = if turns { own.next() } else { free() } {
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
        let work = &work;
        std::thread::scope(|scope| {
            for (worker, pool) in self.pools.iter().enumerate() {
                scope.spawn(move || pool.install(|| work(worker)));
            }
        });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;
    use crate::model::layers::Linear;

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
    fn devices_take_turns() {
        let devices = Devices {
            first: Device::flex(),
            others: vec![Device::flex(); 2],
        };
        // One thread for each, however many are asked for.
        let workers = Workers::on(devices, 7, Precision::F32).unwrap();
        let network = Linear::new(2, 2, true, &Device::flex());
        let mut taken = Vec::new();
        workers.in_shards(
            &network,
            8,
            |_, shard, _| {
                let thread = std::thread::current();
                (shard, thread.name().map(ToOwned::to_owned))
            },
            |result| taken.push(result),
        );
        let expected: Vec<_> = (0..8)
            .map(|shard| (shard, Some(format!("worker-{}", shard % 3))))
            .collect();
        assert_eq!(taken, expected);
    }
}
