//! The rectifier, with PyTorch's derivative at 0.

mod cpu;
pub mod reference;

use crate::switch::takes_kernel;
use candle_core::{Result, Tensor};

/// max(x, 0), by element, for `x` of any shape.
///
/// The derivative at 0 is 0, as in PyTorch; Candle's own `relu` takes 1 there. NaN stays NaN and
/// lets its gradient pass. `f32` tensors on the CPU run the kernel
/// while [`crate::kernels_enabled`]; all others run [`reference::relu`].
pub fn relu(x: &Tensor) -> Result<Tensor> {
    if takes_kernel(&[x])? { cpu::relu(x) } else { reference::relu(x) }
}
