//! Where the network is computed.

use std::str::FromStr;

use burn::tensor::{Device, FloatDType};

use crate::TrainError;
use crate::model::precision::Precision;

/// Where a batch is computed; the devices are without autodiff.
#[derive(Debug, Clone)]
pub struct Devices {
    /// Where the weights lie, steps are made and everything but training is
    /// computed.
    pub first: Device,
    /// More devices for the shards of a batch.
    pub others: Vec<Device>,
}

impl From<Device> for Devices {
    fn from(first: Device) -> Self {
        Self {
            first,
            others: Vec::new(),
        }
    }
}

/// Devices as named on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The processor, with burn's `flex` backend.
    Cpu,
    /// NVIDIA GPUs.
    Cuda(Gpus),
}

/// Numbers of one GPU or several, as CUDA counts them. The lowest one is the
/// first device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gpus {
    first: u32,
    /// Bit `n` is set for each further GPU `n`.
    others: u64,
}

impl Gpus {
    /// The numbers of more GPUs than the first one, rising.
    fn others(self) -> impl Iterator<Item = u32> {
        (0..u64::BITS).filter(move |number| self.others >> number & 1 == 1)
    }
}

impl FromStr for Gpus {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut all = 0u64;
        for part in text.split(',') {
            let bit = part
                .parse()
                .ok()
                .and_then(|number| 1u64.checked_shl(number))
                .ok_or_else(|| format!("`{part}` is not a device number"))?;
            if all & bit != 0 {
                return Err(format!("the device number {part} is there twice"));
            }
            all |= bit;
        }
        Ok(Self {
            first: all.trailing_zeros(),
            // The lowest bit is taken away.
            others: all & all.wrapping_sub(1),
        })
    }
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "cpu" => Ok(Self::Cpu),
            None if text == "cuda" => "0".parse().map(Self::Cuda),
            Some(("cuda", numbers)) => numbers.parse().map(Self::Cuda),
            _ => Err("expected `cpu`, `cuda`, `cuda:N` or several GPUs, `cuda:0,1`".into()),
        }
    }
}

impl DeviceChoice {
    /// Whether batches are best cut into shards for worker threads.
    pub fn wants_shards(self) -> bool {
        self == Self::Cpu
    }

    /// Number of devices.
    pub fn count(self) -> usize {
        match self {
            Self::Cpu => 1,
            Self::Cuda(gpus) => 1 + gpus.others().count(),
        }
    }

    /// The first device, without autodiff.
    ///
    /// # Errors
    /// When the program was built without CUDA, or there is no such GPU.
    pub fn open(self) -> Result<Device, TrainError> {
        match self {
            Self::Cpu => Ok(Device::flex()),
            Self::Cuda(gpus) => cuda(gpus.first),
        }
    }

    /// All devices, for training in this precision.
    ///
    /// # Errors
    /// When the program was built without CUDA, there is no such GPU, or one lacks
    /// the precision.
    pub fn open_all(self, precision: Precision) -> Result<Devices, TrainError> {
        let others = match self {
            Self::Cpu if precision == Precision::Bf16 => {
                return Err(TrainError::Device(
                    "--precision bf16 is for a GPU (--device cuda); the processor computes \
                     in f32"
                        .into(),
                ));
            }
            Self::Cpu => Vec::new(),
            Self::Cuda(gpus) => gpus.others().map(cuda).collect::<Result<_, _>>()?,
        };
        let first = self.open()?;
        if precision == Precision::Bf16
            && let Some(lacks) = std::iter::once(&first)
                .chain(&others)
                .find(|device| !device.supports_dtype(FloatDType::BF16))
        {
            return Err(TrainError::Device(format!(
                "{lacks:?} does not compute in bf16; leave --precision out"
            )));
        }
        Ok(Devices { first, others })
    }
}

#[cfg(feature = "cuda")]
fn cuda(number: u32) -> Result<Device, TrainError> {
    use burn::tensor::DeviceType;
    // Asked first: without a driver, using the device panics on a thread that
    // nobody waits for.
    let found = Device::enumerate(DeviceType::Cuda).into_iter().count();
    if (number as usize) < found {
        return Ok(Device::cuda(number as usize));
    }
    Err(TrainError::Device(if found == 0 {
        "no CUDA device was found: is the NVIDIA driver installed? `nvidia-smi` should list \
         the GPU; --device cpu works without one"
            .into()
    } else {
        format!(
            "there is no CUDA device {number}; the {found} that were found have the numbers 0 to {}",
            found - 1
        )
    }))
}

#[cfg(not(feature = "cuda"))]
fn cuda(_number: u32) -> Result<Device, TrainError> {
    Err(TrainError::Device(
        "this program was built without CUDA; build it with `cargo build --release \
         -p millsight-trainer --features cuda`, or use --device cpu"
            .into(),
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn names_are_read() {
        let numbers = |text: &str| match text.parse() {
            Ok(DeviceChoice::Cuda(gpus)) => {
                Some(std::iter::once(gpus.first).chain(gpus.others()).collect())
            }
            _ => None::<Vec<u32>>,
        };
        assert_eq!("cpu".parse(), Ok(DeviceChoice::Cpu));
        assert_eq!(numbers("cuda"), Some(vec![0]));
        assert_eq!(numbers("cuda:3"), Some(vec![3]));
        assert_eq!(numbers("cuda:5,0,63,2"), Some(vec![0, 2, 5, 63]));
        for wrong in [
            "gpu", "cpu:1", "cuda:x", "cuda:64", "cuda:", "cuda:1,", "cuda:1,1", "cuda:-1", "",
        ] {
            assert!(wrong.parse::<DeviceChoice>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn devices_are_counted() {
        let count = |text: &str| text.parse().map(DeviceChoice::count);
        assert_eq!(count("cpu"), Ok(1));
        assert_eq!(count("cuda:2"), Ok(1));
        assert_eq!(count("cuda:2,3,7"), Ok(3));
    }

    #[test]
    fn bf16_is_refused_on_the_processor() {
        let refused = DeviceChoice::Cpu.open_all(Precision::Bf16);
        let message = refused.map_err(|error| error.to_string());
        assert!(message.is_err_and(|message| message.contains("--device cuda")));
        assert!(DeviceChoice::Cpu.open_all(Precision::F32).is_ok());
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn a_build_without_cuda_says_how_to_get_it() {
        let choice: DeviceChoice = "cuda:0,1".parse().unwrap();
        let first = choice.open().map(|_| ());
        let all = choice.open_all(Precision::F32).map(|_| ());
        for result in [first, all] {
            let message = result.map_err(|error| error.to_string());
            assert!(message.is_err_and(|message| message.contains("--features cuda")));
        }
    }
}
