//! Pooling from stock Candle ops: the oracle of the kernels, and what runs on other devices and
//! types.
//!
//! Candle's own pooling scales the gradient of a maximum wrongly and has none for windows that
//! overlap. Here the pixels under each place of the window are gathered side by side, and reduced.

use super::Windows;
use candle_core::{DType, Result, Tensor};

/// The same function as [`super::max_pool2d`].
pub fn max_pool2d(x: &Tensor, kernel: usize, stride: usize, padding: usize) -> Result<Tensor> {
    let windows = Windows::of(x, kernel, stride, padding, "max_pool2d")?;
    let under = gathered(x, &windows, f64::NEG_INFINITY)?;
    if under.elem_count() == 0 {
        return under.narrow(2, 0, 1)?.squeeze(2);
    }
    // Not `max`: its gradient goes to every maximum. The index is that of the first one.
    let first = under.detach().argmax_keepdim(2)?;
    under.gather(&first, 2)?.squeeze(2)
}

/// The same function as [`super::avg_pool2d`].
pub fn avg_pool2d(
    x: &Tensor,
    kernel: usize,
    stride: usize,
    padding: usize,
    count_include_pad: bool,
) -> Result<Tensor> {
    let windows = Windows::of(x, kernel, stride, padding, "avg_pool2d")?;
    let sums = gathered(x, &windows, 0.0)?.sum(2)?;
    if count_include_pad || padding == 0 {
        return sums * (1.0 / (kernel * kernel) as f64);
    }
    let shares = Tensor::from_vec(
        windows.shares(false),
        (1, 1, windows.ho, windows.wo),
        &candle_core::Device::Cpu,
    )?;
    sums.broadcast_mul(&shares.to_dtype(x.dtype())?.to_device(x.device())?)
}

/// The same function as [`super::global_avg_pool`].
pub fn global_avg_pool(x: &Tensor) -> Result<Tensor> {
    super::check_pixels(x)?;
    x.mean((2, 3))
}

/// `[n, c, kernel², ho, wo]`: the pixels of every window, row by row, with `outside` around the
/// image.
fn gathered(x: &Tensor, windows: &Windows, outside: f64) -> Result<Tensor> {
    let &Windows { kernel, stride, padding, ho, wo, .. } = windows;
    let x = framed(&framed(x, 2, padding, outside)?, 3, padding, outside)?;
    let places = |first: usize, count: usize| -> Result<Tensor> {
        Tensor::from_iter((0..count).map(|i| (first + i * stride) as u32), x.device())
    };
    let mut under = Vec::with_capacity(kernel * kernel);
    for k in 0..kernel {
        let rows = x.index_select(&places(k, ho)?, 2)?;
        for l in 0..kernel {
            under.push(rows.index_select(&places(l, wo)?, 3)?);
        }
    }
    Tensor::stack(&under, 2)
}

/// x between `width` constants on either side of dimension `dim`.
fn framed(x: &Tensor, dim: usize, width: usize, value: f64) -> Result<Tensor> {
    if width == 0 {
        return x.contiguous();
    }
    let mut dims = x.dims().to_vec();
    dims[dim] = width;
    let frame = Tensor::full(value, dims, &candle_core::Device::Cpu)?.to_dtype(DType::F64)?;
    let frame = frame.to_dtype(x.dtype())?.to_device(x.device())?;
    Tensor::cat(&[&frame, x, &frame], dim)?.contiguous()
}
