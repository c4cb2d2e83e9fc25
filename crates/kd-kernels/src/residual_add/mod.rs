//! The sum at the end of a residual block, with dropout on what the block computed.

mod cpu;
pub mod reference;

use crate::dropout::{Dropout, cpu::DropoutMask};
use crate::switch::takes_kernel;
use candle_core::{Result, Tensor, bail};

/// x + dropout(sublayer): the end of a Transformer's block whose normalisation comes first
/// (pre-norm).
///
/// * `x`, `sublayer`: of the same shape, any strides.
/// * `dropout`: as [`crate::dropout::dropout`] of `sublayer`, bit for bit the same mask; `None` in
///   evaluation.
/// * result: the shape of `x`, contiguous.
///
/// `x` receives the gradient itself, `sublayer` the gradient through the mask, which is derived
/// again from the stream. `f32` tensors on the CPU run the kernel while [`crate::kernels_enabled`];
/// all others run [`reference::residual_add`]. Fails where the shapes differ and on p outside [0,
/// 1).
pub fn residual_add(x: &Tensor, sublayer: &Tensor, dropout: Option<Dropout>) -> Result<Tensor> {
    Dropout::check(dropout, "residual_add")?;
    if sublayer.dims() != x.dims() {
        bail!(
            "residual_add: sublayer has shape {:?}, expected that of x, {:?}",
            sublayer.dims(),
            x.dims()
        )
    }
    if !takes_kernel(&[x, sublayer])? {
        return reference::residual_add(x, sublayer, dropout);
    }
    match DropoutMask::of(dropout) {
        Some(dropout) => cpu::residual_add(x, sublayer, dropout),
        None => crate::add::add(x, sublayer),
    }
}
