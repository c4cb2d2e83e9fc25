//! The switch between the kernels and their twins from stock Candle ops.

use candle_core::{DType, Tensor};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

fn switch() -> &'static AtomicBool {
    static SWITCH: OnceLock<AtomicBool> = OnceLock::new();
    SWITCH.get_or_init(|| AtomicBool::new(std::env::var("KD_KERNELS").map_or(true, |v| v != "off")))
}

/// Whether ops on `f32` CPU tensors run this crate's kernels; true unless the environment says `KD_KERNELS=off` or
/// [`set_kernels_enabled`] said otherwise.
pub fn kernels_enabled() -> bool {
    switch().load(Ordering::Relaxed)
}

/// Turns the kernels on or off for the whole process. Ops that ran before keep the backward pass they were recorded with.
pub fn set_kernels_enabled(enabled: bool) {
    switch().store(enabled, Ordering::Relaxed)
}

/// Whether an op on these tensors can take its kernel: the kernels are on, and every tensor is `f32` on the CPU.
pub(crate) fn takes_kernel(tensors: &[&Tensor]) -> bool {
    kernels_enabled() && tensors.iter().all(|t| t.device().is_cpu() && t.dtype() == DType::F32)
}
