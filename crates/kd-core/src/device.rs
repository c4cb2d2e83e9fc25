//! The choice of device by name.

use candle_core::Device;

use crate::{Error, Result};

/// Opens the device called `auto`, `cpu`, `cuda`, `cuda:N` or `metal`. `auto` takes CUDA, then Metal, where this build has
/// them and the machine too, and the CPU otherwise.
///
/// # Errors
/// Bad input when the name is unknown, when this build was made without the feature, or when the machine has no such device.
pub fn open(name: &str) -> Result<Device> {
    let missing = |feature: &str| Error::bad_input(format!("--device {name}: this program was built without `--features {feature}`"));
    let failed = |e: candle_core::Error| Error::bad_input(format!("--device {name}: {}", first_line(&e)));
    match name {
        "cpu" => Ok(Device::Cpu),
        "auto" if candle_core::utils::cuda_is_available() => Device::new_cuda(0).or(Ok(Device::Cpu)),
        "auto" if candle_core::utils::metal_is_available() => Device::new_metal(0).or(Ok(Device::Cpu)),
        "auto" => Ok(Device::Cpu),
        "metal" if !candle_core::utils::metal_is_available() => Err(missing("metal")),
        "metal" => Device::new_metal(0).map_err(failed),
        _ => {
            let ordinal = match name.strip_prefix("cuda") {
                Some("") => 0,
                Some(rest) => rest.strip_prefix(':').and_then(|n| n.parse().ok()).ok_or_else(|| unknown(name))?,
                None => return Err(unknown(name)),
            };
            if !candle_core::utils::cuda_is_available() {
                return Err(missing("cuda"));
            }
            Device::new_cuda(ordinal).map_err(failed)
        }
    }
}

/// The name that [`open`] would take for this device, as results record it.
pub fn name(device: &Device) -> String {
    match device.location() {
        candle_core::DeviceLocation::Cpu => "cpu".into(),
        candle_core::DeviceLocation::Cuda { gpu_id } => format!("cuda:{gpu_id}"),
        candle_core::DeviceLocation::Metal { .. } => "metal".into(),
    }
}

fn unknown(name: &str) -> Error {
    Error::bad_input(format!("--device {name}: expected auto, cpu, cuda, cuda:N or metal"))
}

fn first_line(e: &candle_core::Error) -> String {
    e.to_string().lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_or_absent_device_is_bad_input_that_names_the_choices() {
        for name in ["gpu", "cuda:x", "cudax", "tpu"] {
            let e = open(name).expect_err("no such device");
            assert!(e.is_bad_input() && e.to_string().contains("expected auto, cpu"), "{e}");
        }
        assert!(matches!(open("cpu"), Ok(Device::Cpu)));
    }
}
