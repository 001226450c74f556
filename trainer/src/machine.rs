//! What a run is computed with.

use crate::TrainError;
use crate::device::DeviceChoice;
use crate::optimise::workers::Workers;

/// What a run is computed with. Workers and cache decide the time alone;
/// another device also rounds in other places.
#[derive(Debug, Clone, Copy)]
pub struct Machine {
    /// Where the network is computed.
    pub device: DeviceChoice,
    /// Threads that compute and threads that decode.
    pub workers: usize,
    /// Memory for prepared tiles, in bytes.
    pub cache_bytes: usize,
    /// Steps after which a checkpoint is written inside an epoch.
    pub checkpoint_steps: usize,
}

impl Machine {
    /// All processors, 2 GiB for prepared tiles, and a checkpoint at least
    /// every 500 steps.
    pub fn cpu() -> Self {
        Self {
            device: DeviceChoice::Cpu,
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            cache_bytes: 2 << 30,
            checkpoint_steps: 500,
        }
    }

    /// Threads that compute shards; none where the device does it alone.
    pub(crate) fn compute(&self) -> Result<Workers, TrainError> {
        let count = if self.device.wants_shards() {
            self.workers.max(1)
        } else {
            0
        };
        Ok(Workers::new(count)?)
    }

    /// Threads that decode.
    pub(crate) fn loaders(&self) -> Result<rayon::ThreadPool, TrainError> {
        Ok(rayon::ThreadPoolBuilder::new()
            .num_threads(self.workers.max(1))
            .thread_name(|number| format!("loader-{number}"))
            .build()?)
    }
}
