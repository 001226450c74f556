//! What a run is computed with.

use crate::TrainError;
use crate::device::DeviceChoice;
use crate::model::precision::Precision;
use crate::optimise::workers::Workers;

/// What a run is computed with. Workers and cache decide the time alone;
/// another device also rounds in other places.
#[derive(Debug, Clone, Copy)]
pub struct Machine {
    /// Where the network is computed.
    pub device: DeviceChoice,
    /// Threads that compute and threads that decode.
    pub workers: usize,
    /// Memory for decoded tiles, in bytes.
    pub cache_bytes: usize,
    /// Steps after which a checkpoint is written inside an epoch; 0 for none but
    /// that at its end.
    pub checkpoint_steps: usize,
}

impl Machine {
    /// All processors, 2 GiB for decoded tiles, and a checkpoint at least
    /// every 500 steps.
    pub fn cpu() -> Self {
        Self {
            device: DeviceChoice::Cpu,
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            cache_bytes: 2 << 30,
            checkpoint_steps: 500,
        }
    }

    /// Who computes shards for a network that does not learn, on one device.
    pub(crate) fn compute(&self) -> Result<Workers, TrainError> {
        let device = self.device.open()?;
        Ok(Workers::on(device.into(), self.threads(), Precision::F32)?)
    }

    /// Who computes shards for a network that learns, on all devices.
    ///
    /// # Errors
    /// When a device is not there or lacks the precision, or the operating system
    /// refuses a thread.
    pub(crate) fn training_workers(&self, precision: Precision) -> Result<Workers, TrainError> {
        let devices = self.device.open_all(precision)?;
        Ok(Workers::on(devices, self.threads(), precision)?)
    }

    /// Threads that compute; none where the device does it alone.
    fn threads(&self) -> usize {
        if self.device.wants_shards() {
            self.workers.max(1)
        } else {
            0
        }
    }

    /// Threads that decode.
    pub(crate) fn loaders(&self) -> Result<rayon::ThreadPool, TrainError> {
        Ok(rayon::ThreadPoolBuilder::new()
            .num_threads(self.workers.max(1))
            .thread_name(|number| format!("loader-{number}"))
            .build()?)
    }
}
