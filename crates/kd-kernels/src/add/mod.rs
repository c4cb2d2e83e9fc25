//! The sum of two tensors of the same shape.

mod cpu;
pub mod reference;

use crate::switch::takes_kernel;
use candle_core::{Result, Tensor, bail};

/// x + y, by element, for `x` and `y` of the same shape: the sum at the end of a residual block
/// that does not end in a normalisation.
///
/// Both receive the gradient itself; Candle's own sum copies it for each. `f32` tensors on the CPU
/// run the kernel while [`crate::kernels_enabled`]; all others run [`reference::add`]. Fails where
/// the shapes differ.
pub fn add(x: &Tensor, y: &Tensor) -> Result<Tensor> {
    if x.dims() != y.dims() {
        bail!("add: y has shape {:?}, expected that of x, {:?}", y.dims(), x.dims())
    }
    if takes_kernel(&[x, y])? { cpu::add(x, y) } else { reference::add(x, y) }
}
