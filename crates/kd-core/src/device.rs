//! The choice of a device by name.

use std::fmt;
use std::str::FromStr;

use candle_core::{Device, DeviceLocation};

use crate::{Error, Result};

/// What `--device` asks for. See [`open`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceChoice {
    /// The first accelerator that the build supports and the machine has, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The CUDA device with this ordinal.
    Cuda(usize),
    /// The first Metal device.
    Metal,
}

impl FromStr for DeviceChoice {
    type Err = String;

    /// Reads `auto`, `cpu`, `cuda`, `cuda:N` or `metal`.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("expected auto, cpu, cuda, cuda:N or metal, got `{text}`");
        match text {
            "auto" => Ok(DeviceChoice::Auto),
            "cpu" => Ok(DeviceChoice::Cpu),
            "cuda" => Ok(DeviceChoice::Cuda(0)),
            "metal" => Ok(DeviceChoice::Metal),
            other => other.strip_prefix("cuda:").and_then(|n| n.parse().ok()).map(DeviceChoice::Cuda).ok_or_else(wrong),
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceChoice::Auto => f.write_str("auto"),
            DeviceChoice::Cpu => f.write_str("cpu"),
            DeviceChoice::Cuda(ordinal) => write!(f, "cuda:{ordinal}"),
            DeviceChoice::Metal => f.write_str("metal"),
        }
    }
}

/// Opens a device. [`DeviceChoice::Auto`] takes CUDA, then Metal, where this build has them and the machine too, else the CPU.
///
/// # Errors
/// Bad input when this build was made without the feature, or the machine has no such device.
pub fn open(choice: DeviceChoice) -> Result<Device> {
    use candle_core::utils::{cuda_is_available, metal_is_available};
    let missing =
        |feature: &str| Err(Error::bad_input(format!("--device {choice}: this program was built without `--features {feature}`")));
    let failed = |e: candle_core::Error| {
        let text = e.to_string();
        Error::bad_input(format!("--device {choice}: {}", text.lines().next().unwrap_or_default()))
    };
    match choice {
        DeviceChoice::Auto if cuda_is_available() => Device::new_cuda(0).or(Ok(Device::Cpu)),
        DeviceChoice::Auto if metal_is_available() => Device::new_metal(0).or(Ok(Device::Cpu)),
        DeviceChoice::Auto | DeviceChoice::Cpu => Ok(Device::Cpu),
        DeviceChoice::Cuda(_) if !cuda_is_available() => missing("cuda"),
        DeviceChoice::Cuda(ordinal) => Device::new_cuda(ordinal).map_err(failed),
        DeviceChoice::Metal if !metal_is_available() => missing("metal"),
        DeviceChoice::Metal => Device::new_metal(0).map_err(failed),
    }
}

/// The name of a device, as results record it: `cpu`, `cuda:N` or `metal`.
pub fn name(device: &Device) -> String {
    match device.location() {
        DeviceLocation::Cpu => "cpu".into(),
        DeviceLocation::Cuda { gpu_id } => format!("cuda:{gpu_id}"),
        DeviceLocation::Metal { .. } => "metal".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_this_build_or_machine_lacks_is_bad_input_that_names_it() {
        assert!(matches!(open(DeviceChoice::Cpu), Ok(Device::Cpu)));
        if !candle_core::utils::metal_is_available() {
            let e = open(DeviceChoice::Metal).expect_err("no Metal");
            assert!(e.is_bad_input() && e.to_string().contains("--device metal"), "{e}");
        }
    }

    #[test]
    fn devices_are_read_back_from_their_names_and_others_are_refused() {
        for device in [DeviceChoice::Auto, DeviceChoice::Cpu, DeviceChoice::Cuda(3), DeviceChoice::Metal] {
            assert_eq!(device.to_string().parse(), Ok(device));
        }
        assert_eq!("cuda".parse(), Ok(DeviceChoice::Cuda(0)));
        for text in ["gpu", "cuda:", "cuda:-1", ""] {
            assert!(text.parse::<DeviceChoice>().is_err(), "{text}");
        }
    }
}
