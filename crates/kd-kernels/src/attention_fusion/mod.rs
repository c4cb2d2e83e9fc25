//! Two maps mixed by two gates per pixel that are computed from both.

mod cpu;
pub mod reference;

use crate::switch::takes_kernel;
use candle_core::{Result, Tensor, bail};

/// out\[n, c, i, j\] = x\[n, c, i, j\] · a\[n, i, j\] + y'\[n, c, i, j\] · b\[n, i, j\], where y' is
/// y resized to x by [`crate::upsample::upsample_nearest`] and (a, b) = sigmoid(weight · \[x; y'\] +
/// bias): the attention-based fusion of "Distilling Knowledge via Knowledge Review" (Chen et al.
/// 2021), section 3.3, between its other convolutions.
///
/// * `x`: `[n, c, h, w]`.
/// * `y`: `[n, c, h', w']` with h' and w' of at least 1.
/// * `weight`: `[2, 2c]`: of both gates, the weights of x's channels and then those of y's.
/// * `bias`: `[2]`.
/// * result: `[n, c, h, w]`, contiguous.
///
/// Gradients flow to all four. `f32` tensors on the CPU run the kernel while
/// [`crate::kernels_enabled`]; all others run [`reference::attention_fusion`]. Results do not
/// depend on the number of threads. Fails on shapes that do not fit.
pub fn attention_fusion(x: &Tensor, y: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    check(x, y, weight, bias)?;
    if takes_kernel(&[x, y, weight, bias])? {
        cpu::attention_fusion(x, y, weight, bias)
    } else {
        reference::attention_fusion(x, y, weight, bias)
    }
}

fn check(x: &Tensor, y: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<()> {
    let &[n, c, _, _] = x.dims() else {
        bail!("attention_fusion: x has shape {:?}, expected [n, c, h, w]", x.dims())
    };
    match y.dims() {
        &[of_y, channels, h, w] if (of_y, channels) == (n, c) && h > 0 && w > 0 => {}
        dims => bail!(
            "attention_fusion: y has shape {dims:?}, expected [{n}, {c}, h', w'] with h', w' >= 1"
        ),
    }
    if weight.dims() != [2, 2 * c] {
        bail!(
            "attention_fusion: weight has shape {:?}, expected [2, {}] for x of shape {:?}",
            weight.dims(),
            2 * c,
            x.dims()
        )
    }
    if bias.dims() != [2] {
        bail!("attention_fusion: bias has shape {:?}, expected [2]", bias.dims())
    }
    Ok(())
}
