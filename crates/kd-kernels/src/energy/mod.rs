//! Where a map has its energy.

mod cpu;
pub mod reference;

use candle_core::{Result, Tensor, bail};

use crate::switch::takes_kernel;

/// y\[n, p\] = 1/c · Σ_c x\[n, c, p\]², over the channels at each pixel p: the attention map of
/// "Paying more attention to attention" (Zagoruyko and Komodakis 2017) before it is brought to
/// length 1.
///
/// * `x`: `[n, c, h, w]` with c of at least 1.
/// * result: `[n, h·w]`, contiguous.
///
/// Backward: ∂x = 2/c · x · ∂y. `f32` tensors on the CPU run the kernel while
/// [`crate::kernels_enabled`]; all others run [`reference::channel_energy`]. Fails on other shapes.
pub fn channel_energy(x: &Tensor) -> Result<Tensor> {
    check(x)?;
    if takes_kernel(&[x])? { cpu::channel_energy(x) } else { reference::channel_energy(x) }
}

fn check(x: &Tensor) -> Result<()> {
    match x.dims() {
        &[_, c, _, _] if c > 0 => Ok(()),
        dims => bail!("channel_energy: x has shape {dims:?}, expected [n, c, h, w] with c >= 1"),
    }
}
