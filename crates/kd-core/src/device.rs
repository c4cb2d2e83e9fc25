//! Devices by name.

use candle_core::{Device, DeviceLocation};

use crate::{Error, Result};

pub use kd_base::DeviceChoice;

/// Opens a device. [`DeviceChoice::Auto`] takes CUDA, then Metal, where this build has them and the
/// machine too, else the CPU.
///
/// # Errors
/// Bad input when this build was made without the feature, or the machine has no such device.
pub fn open(choice: DeviceChoice) -> Result<Device> {
    use candle_core::utils::{cuda_is_available, metal_is_available};
    check_build(choice)?;
    let failed = |e: candle_core::Error| {
        let text = e.to_string();
        Error::bad_input(format!("--device {choice}: {}", text.lines().next().unwrap_or_default()))
    };
    match choice {
        DeviceChoice::Auto if cuda_is_available() => Device::new_cuda(0).or(Ok(Device::Cpu)),
        DeviceChoice::Auto if metal_is_available() => Device::new_metal(0).or(Ok(Device::Cpu)),
        DeviceChoice::Auto | DeviceChoice::Cpu => Ok(Device::Cpu),
        DeviceChoice::Cuda(ordinal) => Device::new_cuda(ordinal).map_err(failed),
        DeviceChoice::Metal => Device::new_metal(0).map_err(failed),
    }
}

/// Whether this build can use a device at all, on a machine that has one.
///
/// # Errors
/// Bad input when it was made without the feature.
pub fn check_build(choice: DeviceChoice) -> Result<()> {
    use candle_core::utils::{cuda_is_available, metal_is_available};
    let missing = match choice {
        DeviceChoice::Cuda(_) if !cuda_is_available() => "cuda",
        DeviceChoice::Metal if !metal_is_available() => "metal",
        _ => return Ok(()),
    };
    Err(Error::bad_input(format!(
        "--device {choice}: this program was built without `--features {missing}`"
    )))
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
            for refused in [open(DeviceChoice::Metal).map(drop), check_build(DeviceChoice::Metal)] {
                let e = refused.expect_err("no Metal");
                assert!(e.is_bad_input() && e.to_string().contains("--device metal"), "{e}");
            }
        }
    }
}
