//! Convolution of images, with its gradients.
//!
//! `cpu.rs` chooses an algorithm for each of the three passes from the shape and from the
//! [`Precision`]; each algorithm is a file beside it, with the reason and the gain at its head.

mod cpu;
mod depthwise;
mod epilogue;
mod implicit;
mod normalised;
mod places;
pub mod reference;
mod shape;
#[cfg(test)]
mod tests;
mod winograd;

use candle_core::{Result, Tensor};
pub use normalised::{StoredNorm, conv2d_normalised};
use shape::Shape;

use crate::Activation;
use crate::switch::takes_kernel;

/// How a kernel moves over an image: the same in both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Pixels between two places of the kernel.
    pub stride: usize,
    /// Rows and columns of zeros around the image.
    pub padding: usize,
    /// Groups of channels that do not see each other; the number of input channels makes the
    /// convolution depthwise.
    pub groups: usize,
}

/// How far the results of a convolution's three passes may be from the exact ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// Errors of the order of a direct sum's: Winograd F(2×2, 3×3) and direct kernels.
    Precise,
    /// Winograd F(4×4, 3×3) as well: fewer multiplications, errors about ten times larger.
    Fast,
}

/// y\[n, o, i, j\] = b\[o\] + Σ x\[n, c, i·stride + k − padding, j·stride + l − padding\] · w\[o,
/// c, k, l\], over the channels c of o's group and the kernel's k and l: PyTorch's `F.conv2d`, a
/// cross-correlation. Pixels outside x are 0.
///
/// * `x`: `[batch, in, height, width]`, of any strides.
/// * `w`: `[out, in / groups, kernel height, kernel width]`.
/// * `b`: `[out]`.
/// * result: `[batch, out, (height + 2·padding − kernel height) / stride + 1, …]`, rounded down,
///   contiguous.
///
/// Gradients flow to `x`, `w` and `b`, as far as each tracks one. `f32` tensors on the CPU run the
/// kernels while [`crate::kernels_enabled`], forward and backward with `precision`; all others run
/// [`reference::conv2d`], whose sums are direct. Results do not depend on the number of threads. A
/// batch of 0 gives an empty result, with gradients of 0 from the kernels and none from the twin.
/// Fails on shapes that do not fit.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use kd_kernels::conv2d::{Geometry, Precision, conv2d};
///
/// let x = Tensor::new(&[[[[1f32, 2.0, 3.0]]]], &Device::Cpu)?;
/// let w = Tensor::new(&[[[[1f32, -1.0]]]], &Device::Cpu)?;
/// let y = conv2d(&x, &w, None, Geometry { stride: 1, padding: 0, groups: 1 }, Precision::Precise)?;
/// assert_eq!(y.flatten_all()?.to_vec1::<f32>()?, [-1.0, -1.0]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn conv2d(
    x: &Tensor,
    w: &Tensor,
    b: Option<&Tensor>,
    geometry: Geometry,
    precision: Precision,
) -> Result<Tensor> {
    let shape = Shape::of(x, w, b, geometry)?;
    let mut all = vec![x, w];
    all.extend(b);
    if takes_kernel(&all)? {
        cpu::conv2d(x, w, b, shape, precision)
    } else {
        reference::conv2d(x, w, b, geometry)
    }
}
