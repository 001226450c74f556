//! Where the network is computed.

use std::str::FromStr;

use burn::tensor::Device;

use crate::TrainError;

/// A device as named on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The processor, with burn's `flex` backend.
    Cpu,
    /// The NVIDIA GPU of this number.
    Cuda(usize),
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "cpu" => Ok(Self::Cpu),
            None if text == "cuda" => Ok(Self::Cuda(0)),
            Some(("cuda", number)) => number
                .parse()
                .map(Self::Cuda)
                .map_err(|_| format!("`{number}` is not a device number")),
            _ => Err("expected `cpu`, `cuda` or `cuda:N`".into()),
        }
    }
}

impl DeviceChoice {
    /// Whether batches are best cut into shards for worker threads.
    pub fn wants_shards(self) -> bool {
        self == Self::Cpu
    }

    /// The device, without autodiff.
    ///
    /// # Errors
    /// When the program was built without CUDA, or there is no such GPU.
    pub fn open(self) -> Result<Device, TrainError> {
        match self {
            Self::Cpu => Ok(Device::flex()),
            Self::Cuda(number) => cuda(number),
        }
    }
}

#[cfg(feature = "cuda")]
fn cuda(number: usize) -> Result<Device, TrainError> {
    use burn::tensor::DeviceType;
    // Asked first: without a driver, using the device panics on a thread that
    // nobody waits for.
    let found = Device::enumerate(DeviceType::Cuda).into_iter().count();
    if number < found {
        return Ok(Device::cuda(number));
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
fn cuda(_number: usize) -> Result<Device, TrainError> {
    Err(TrainError::Device(
        "this program was built without CUDA; build it with `cargo build --release \
         -p millsight-trainer --features cuda`, or use --device cpu"
            .into(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read() {
        assert_eq!("cpu".parse(), Ok(DeviceChoice::Cpu));
        assert_eq!("cuda".parse(), Ok(DeviceChoice::Cuda(0)));
        assert_eq!("cuda:3".parse(), Ok(DeviceChoice::Cuda(3)));
        for wrong in ["gpu", "cpu:1", "cuda:x", ""] {
            assert!(wrong.parse::<DeviceChoice>().is_err(), "{wrong}");
        }
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn a_build_without_cuda_says_how_to_get_it() {
        let message = DeviceChoice::Cuda(0)
            .open()
            .map_err(|error| error.to_string());
        assert!(message.is_err_and(|message| message.contains("--features cuda")));
    }
}
