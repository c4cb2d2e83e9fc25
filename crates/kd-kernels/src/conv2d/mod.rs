//! Convolution of images, with its gradients.
//!
//! `cpu.rs` chooses an algorithm for each of the three passes from the shape and from [`precision`]; each algorithm is a file beside it,
//! with the reason and the gain at its head.

mod cpu;
mod depthwise;
mod implicit;
mod places;
pub mod reference;
mod shape;
#[cfg(test)]
mod tests;
mod winograd;

use std::sync::atomic::{AtomicU8, Ordering};

use candle_core::{Result, Tensor};
use shape::Shape;

use crate::switch::takes_kernel;

/// How a kernel moves over an image: the same in both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Pixels between two places of the kernel.
    pub stride: usize,
    /// Rows and columns of zeros around the image.
    pub padding: usize,
    /// Groups of channels that do not see each other; the number of input channels makes the convolution depthwise.
    pub groups: usize,
}

/// How far a result may be from the exact one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// Errors of the order of a direct sum's: Winograd F(2×2, 3×3) and direct kernels.
    Precise,
    /// Winograd F(4×4, 3×3) as well: fewer multiplications, errors about ten times larger.
    Fast,
}

static PRECISION: AtomicU8 = AtomicU8::new(0);

/// The precision of convolutions; [`Precision::Precise`] until [`set_precision`] says otherwise.
pub fn precision() -> Precision {
    if PRECISION.load(Ordering::Relaxed) == 0 { Precision::Precise } else { Precision::Fast }
}

/// Sets the precision of all later convolutions of the process. One that ran before keeps its own for the backward pass.
pub fn set_precision(precision: Precision) {
    PRECISION.store(matches!(precision, Precision::Fast) as u8, Ordering::Relaxed)
}

/// y\[n, o, i, j\] = b\[o\] + Σ x\[n, c, i·stride + k − padding, j·stride + l − padding\] · w\[o, c, k, l\], over the channels c of o's group and
/// the kernel's k and l: PyTorch's `F.conv2d`, a cross-correlation. Pixels outside x are 0.
///
/// * `x`: `[batch, in, height, width]`, of any strides.
/// * `w`: `[out, in / groups, kernel height, kernel width]`.
/// * `b`: `[out]`.
/// * result: `[batch, out, (height + 2·padding − kernel height) / stride + 1, …]`, rounded down, contiguous.
///
/// Gradients flow to `x`, `w` and `b`, as far as each tracks one. `f32` tensors on the CPU run the kernels while
/// [`crate::kernels_enabled`], with the process's [`precision`]; all others run [`reference::conv2d`]. Results do not depend on the number of
/// threads. Fails on shapes that do not fit.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use kd_kernels::conv2d::{Geometry, conv2d};
///
/// let x = Tensor::new(&[[[[1f32, 2.0, 3.0]]]], &Device::Cpu)?;
/// let w = Tensor::new(&[[[[1f32, -1.0]]]], &Device::Cpu)?;
/// let y = conv2d(&x, &w, None, Geometry { stride: 1, padding: 0, groups: 1 })?;
/// assert_eq!(y.flatten_all()?.to_vec1::<f32>()?, [-1.0, -1.0]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn conv2d(x: &Tensor, w: &Tensor, b: Option<&Tensor>, geometry: Geometry) -> Result<Tensor> {
    let shape = Shape::of(x, w, b, geometry)?;
    let mut all = vec![x, w];
    all.extend(b);
    if takes_kernel(&all)? { cpu::conv2d(x, w, b, shape, precision()) } else { reference::conv2d(x, w, b, geometry) }
}
