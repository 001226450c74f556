//! What to compute with: options of several commands.

use clap::Args;
use miette::{IntoDiagnostic, Result};
use millsight_trainer::device::DeviceChoice;
use millsight_trainer::machine::Machine;

/// Tiles that a processor best computes at a time, of a Vision Transformer.
pub const SHARD_SIZE: usize = 4;

/// What to compute with. Workers and cache decide the time alone; another
/// device also rounds in other places.
#[derive(Debug, Args)]
#[command(next_help_heading = "Machine")]
pub struct MachineArgs {
    /// `cpu`, `cuda` (the same as `cuda:0`) or `cuda:N`; or several GPUs that
    /// share each batch of training, `cuda:0,1`.
    #[arg(long, default_value = "cpu")]
    device: DeviceChoice,
    /// Threads that compute and decode [default: all processors].
    #[arg(long, value_name = "N")]
    workers: Option<usize>,
    /// Memory for decoded tiles in MiB; a grey tile of 224 pixels takes 49 KiB.
    /// Tiles are kept as large as the network takes them, those that parts are
    /// cut out of as large as they are stored. What has no room is decoded again
    /// in each epoch.
    #[arg(long, value_name = "MIB", default_value_t = 2048)]
    cache_mib: usize,
}

impl MachineArgs {
    pub fn machine(&self) -> Machine {
        Machine {
            device: self.device,
            workers: self.workers.unwrap_or(Machine::cpu().workers),
            cache_bytes: self.cache_mib << 20,
            ..Machine::cpu()
        }
    }

    /// Tiles that are computed at a time: those `given`, else `best` where the
    /// device wants shards, and the whole batch elsewhere.
    pub fn shard_size(&self, given: Option<usize>, best: usize, batch_size: usize) -> usize {
        match given {
            Some(given) => given,
            None if self.device.wants_shards() => best,
            None => batch_size.div_ceil(self.device.count()).max(1),
        }
    }
}

/// What to compute with, and how often a run is made safe.
#[derive(Debug, Args)]
#[command(next_help_heading = "Machine")]
pub struct TrainingMachineArgs {
    #[command(flatten)]
    pub computing: MachineArgs,
    /// Steps after which a checkpoint is written inside an epoch; 0 for none
    /// but that at its end.
    #[arg(long, value_name = "STEPS", default_value_t = 500)]
    checkpoint_steps: usize,
}

impl TrainingMachineArgs {
    pub fn machine(&self) -> Machine {
        Machine {
            checkpoint_steps: self.checkpoint_steps,
            ..self.computing.machine()
        }
    }
}

/// How many threads read images.
#[derive(Debug, Args)]
pub struct ReaderArgs {
    /// Threads that read and decode [default: all processors].
    #[arg(long, value_name = "N")]
    workers: Option<usize>,
}

impl ReaderArgs {
    pub fn threads(&self) -> Result<rayon::ThreadPool> {
        rayon::ThreadPoolBuilder::new()
            .num_threads(self.workers.unwrap_or(Machine::cpu().workers).max(1))
            .build()
            .into_diagnostic()
    }
}
