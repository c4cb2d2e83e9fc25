//! Pooling of images, with its gradients.

mod cpu;
pub mod reference;

use crate::switch::takes_kernel;
use candle_core::{Result, Tensor, bail};

/// out\[n, c, i, j\] = max of x\[n, c, i·stride + k − padding, j·stride + l − padding\] over k, l <
/// kernel: PyTorch's `F.max_pool2d`. Pixels outside x are −∞.
///
/// * `x`: `[n, c, h, w]`.
/// * result: `[n, c, (h + 2·padding − kernel) / stride + 1, …]`, rounded down, contiguous.
///
/// Windows may overlap. The gradient of a window goes to the first of its maxima, row by row.
/// Candle's own `max_pool2d` scales gradients by 1 / kernel², and has none for windows that
/// overlap. `f32` tensors on the CPU run the kernel while [`crate::kernels_enabled`]; all others
/// run the twins in [`mod@reference`]. Fails on other shapes, where the kernel does not fit, and,
/// as PyTorch, on a padding of more than half the kernel.
pub fn max_pool2d(x: &Tensor, kernel: usize, stride: usize, padding: usize) -> Result<Tensor> {
    let windows = Windows::of(x, kernel, stride, padding, "max_pool2d")?;
    if takes_kernel(&[x])? && kernel <= cpu::LARGEST {
        cpu::max_pool2d(x, windows)
    } else {
        reference::max_pool2d(x, kernel, stride, padding)
    }
}

/// The mean of x over the windows of [`max_pool2d`]: PyTorch's `F.avg_pool2d`. The sum is divided
/// by kernel² where `count_include_pad`, and otherwise by the number of pixels of the window that
/// lie in x; pixels outside x add 0.
///
/// Shapes and errors are those of [`max_pool2d`].
pub fn avg_pool2d(
    x: &Tensor,
    kernel: usize,
    stride: usize,
    padding: usize,
    count_include_pad: bool,
) -> Result<Tensor> {
    let windows = Windows::of(x, kernel, stride, padding, "avg_pool2d")?;
    if takes_kernel(&[x])? {
        cpu::avg_pool2d(
            x,
            windows,
            windows.shares(count_include_pad).iter().map(|share| *share as f32).collect(),
        )
    } else {
        reference::avg_pool2d(x, kernel, stride, padding, count_include_pad)
    }
}

/// The mean over the pixels of each channel: `[n, c, h, w]`, with h and w of at least 1, to `[n,
/// c]`. Fails on other shapes.
pub fn global_avg_pool(x: &Tensor) -> Result<Tensor> {
    check_pixels(x)?;
    if takes_kernel(&[x])? { cpu::global_avg_pool(x) } else { reference::global_avg_pool(x) }
}

/// The sizes of one pooling, which fit each other.
#[derive(Clone, Copy, Debug)]
struct Windows {
    kernel: usize,
    stride: usize,
    padding: usize,
    h: usize,
    w: usize,
    ho: usize,
    wo: usize,
}

impl Windows {
    fn of(x: &Tensor, kernel: usize, stride: usize, padding: usize, op: &str) -> Result<Self> {
        let &[_, _, h, w] = x.dims() else {
            bail!("{op}: x has shape {:?}, expected [n, c, h, w]", x.dims())
        };
        if kernel == 0 || stride == 0 || padding > kernel / 2 {
            bail!(
                "{op}: expected kernel, stride >= 1 and padding <= kernel / 2, got kernel {kernel}, stride {stride}, padding {padding}"
            )
        }
        let out =
            |size: usize| (size + 2 * padding).checked_sub(kernel).map(|room| room / stride + 1);
        match (out(h), out(w)) {
            (Some(ho), Some(wo)) if h > 0 && w > 0 => {
                Ok(Self { kernel, stride, padding, h, w, ho, wo })
            }
            _ => bail!(
                "{op}: a kernel of {kernel}x{kernel} does not fit in {h}x{w} with padding {padding}"
            ),
        }
    }

    /// One over the divisor of each window of a plane.
    fn shares(&self, count_include_pad: bool) -> Vec<f64> {
        let count = |i: usize, size: usize| {
            if count_include_pad { self.kernel } else { self.inside(i, size).len() }
        };
        let row = |i: usize| {
            (0..self.wo).map(move |j| 1.0 / (count(i, self.h) * count(j, self.w)) as f64)
        };
        (0..self.ho).flat_map(row).collect()
    }

    /// The pixels of `size` that lie under window `i` of a row or a column.
    fn inside(&self, i: usize, size: usize) -> std::ops::Range<usize> {
        let start = i * self.stride;
        start.saturating_sub(self.padding)
            ..(start + self.kernel).saturating_sub(self.padding).min(size)
    }
}

/// Fails unless x is `[n, c, h, w]` with pixels.
fn check_pixels(x: &Tensor) -> Result<()> {
    match x.dims() {
        &[_, _, h, w] if h > 0 && w > 0 => Ok(()),
        dims => {
            bail!("global_avg_pool: x has shape {dims:?}, expected [n, c, h, w] with h, w >= 1")
        }
    }
}
