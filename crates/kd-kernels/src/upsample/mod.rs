//! Enlarging or shrinking images by repeating the nearest pixel.

mod cpu;
pub mod reference;

use crate::switch::takes_kernel;
use candle_core::{Result, Tensor, bail};

/// out\[n, c, i, j\] = x\[n, c, ⌊i · h / height⌋, ⌊j · w / width⌋\]: PyTorch's
/// `F.interpolate(mode="nearest")` with a size, in exact arithmetic (PyTorch rounds h / height to
/// f32 first, which for some sizes takes the pixel before).
///
/// * `x`: `[n, c, h, w]` with h and w of at least 1.
/// * `size`: `(height, width)` of the result, larger or smaller than x by any factor.
/// * result: `[n, c, height, width]`; x itself where the size is that of x.
///
/// The gradient of a pixel is the sum over its copies. Candle's own `upsample_nearest2d` loses the
/// gradients of x's other consumers and has none for factors that are not whole. `f32` tensors on
/// the CPU run the kernel while [`crate::kernels_enabled`]; all others
/// run [`reference::upsample_nearest`]. Fails on other shapes.
pub fn upsample_nearest(x: &Tensor, size: (usize, usize)) -> Result<Tensor> {
    if check(x)? == size {
        return Ok(x.clone());
    }
    if takes_kernel(&[x])? {
        cpu::upsample_nearest(x, size)
    } else {
        reference::upsample_nearest(x, size)
    }
}

/// The height and width of x.
fn check(x: &Tensor) -> Result<(usize, usize)> {
    match x.dims() {
        &[_, _, h, w] if h > 0 && w > 0 => Ok((h, w)),
        dims => {
            bail!("upsample_nearest: x has shape {dims:?}, expected [n, c, h, w] with h, w >= 1")
        }
    }
}

/// The pixel of `from` that each of `to` pixels copies.
pub(crate) fn sources(from: usize, to: usize) -> Vec<u32> {
    (0..to).map(|i| (i * from / to) as u32).collect()
}
