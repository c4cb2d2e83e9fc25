//! Two images mixed by two gates per pixel.

mod cpu;
pub mod reference;

use crate::switch::takes_kernel;
use candle_core::{Result, Tensor, bail};

/// out\[n, c, i, j\] = x\[n, c, i, j\] · gates\[n, 0, i, j\] + y\[n, c, i, j\] · gates\[n, 1, i,
/// j\]: the mix of the attention-based fusion of "Distilling Knowledge via Knowledge Review" (Chen
/// et al. 2021).
///
/// * `x`, `y`: `[n, c, h, w]`.
/// * `gates`: `[n, 2, h, w]`.
/// * result: `[n, c, h, w]`, contiguous.
///
/// Gradients flow to all three. `f32` tensors on the CPU run the kernel while
/// [`crate::kernels_enabled`]; all others run [`reference::gated_sum`]. Fails on shapes that do not
/// fit.
pub fn gated_sum(x: &Tensor, y: &Tensor, gates: &Tensor) -> Result<Tensor> {
    check(x, y, gates)?;
    if takes_kernel(&[x, y, gates])? {
        cpu::gated_sum(x, y, gates)
    } else {
        reference::gated_sum(x, y, gates)
    }
}

fn check(x: &Tensor, y: &Tensor, gates: &Tensor) -> Result<()> {
    let &[n, _, h, w] = x.dims() else {
        bail!("gated_sum: x has shape {:?}, expected [n, c, h, w]", x.dims())
    };
    if y.dims() != x.dims() {
        bail!("gated_sum: y has shape {:?}, expected that of x, {:?}", y.dims(), x.dims())
    }
    if gates.dims() != [n, 2, h, w] {
        bail!(
            "gated_sum: gates have shape {:?}, expected [{n}, 2, {h}, {w}] for x of shape {:?}",
            gates.dims(),
            x.dims()
        )
    }
    Ok(())
}
