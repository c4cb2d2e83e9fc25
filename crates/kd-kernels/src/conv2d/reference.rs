//! Convolution from stock Candle ops: the oracle of the kernels, and what runs on other devices and
//! types.

use super::shape::Shape;
use super::{Geometry, StoredNorm};
use crate::Activation;
use crate::batch_norm::Statistics;
use crate::batch_norm::reference::batch_norm;
use candle_core::{Result, Tensor};

/// The same function as [`super::conv2d`].
///
/// Candle's own convolution derives the gradient of x from the height alone, and fails or is wrong
/// where rows and columns differ; there the sum is taken as a matrix product of gathered pixels
/// instead.
pub fn conv2d(x: &Tensor, w: &Tensor, b: Option<&Tensor>, geometry: Geometry) -> Result<Tensor> {
    let s = Shape::of(x, w, b, geometry)?;
    if s.n == 0 {
        // Candle's convolution panics. There is nothing to derive a gradient from.
        return Tensor::zeros((0, s.cout, s.ho, s.wo), x.dtype(), x.device());
    }
    let square = s.h == s.w && s.kh == s.kw;
    // Candle's backward pass takes 2·padding from this, and panics where that is less than 0.
    let reach = |out: usize, kernel: usize| (out - 1) * geometry.stride + kernel;
    let reached =
        reach(s.ho, s.kh) >= 2 * geometry.padding && reach(s.wo, s.kw) >= 2 * geometry.padding;
    let y = if reached && (geometry.stride == 1 || square) {
        x.contiguous()?.conv2d(
            &w.contiguous()?,
            geometry.padding,
            geometry.stride,
            1,
            geometry.groups,
        )?
    } else {
        gathered(&s, x, w)?
    };
    match b {
        Some(b) => y.broadcast_add(&b.reshape((1, s.cout, 1, 1))?),
        None => Ok(y),
    }
}

fn gathered(s: &Shape, x: &Tensor, w: &Tensor) -> Result<Tensor> {
    let Geometry { stride, padding, groups } = s.geometry;
    let x = x.pad_with_zeros(2, padding, padding)?.pad_with_zeros(3, padding, padding)?;
    let places = |first: usize, count: usize| -> Result<Tensor> {
        Tensor::from_iter((0..count).map(|i| (first + i * stride) as u32), x.device())
    };
    let mut under = Vec::with_capacity(s.kh * s.kw);
    for k in 0..s.kh {
        let rows = x.index_select(&places(k, s.ho)?, 2)?;
        for l in 0..s.kw {
            under.push(rows.index_select(&places(l, s.wo)?, 3)?);
        }
    }
    let (cin, cout, pixels) = (s.cin / groups, s.cout / groups, s.ho * s.wo);
    let columns = Tensor::stack(&under, 2)?.reshape((s.n, groups, cin * s.kh * s.kw, pixels))?;
    let w = w.reshape((1, groups, cout, cin * s.kh * s.kw))?.broadcast_as((
        s.n,
        groups,
        cout,
        cin * s.kh * s.kw,
    ))?;
    w.contiguous()?.matmul(&columns)?.reshape((s.n, s.cout, s.ho, s.wo))
}

/// The same function as [`super::conv2d_normalised`], as the two ops that it stands for.
pub fn conv2d_normalised(
    x: &Tensor,
    w: &Tensor,
    norm: StoredNorm,
    residual: Option<&Tensor>,
    act: Activation,
    geometry: Geometry,
) -> Result<Tensor> {
    let StoredNorm { weight, bias, mean, var, eps } = norm;
    let z = conv2d(&x.detach(), &w.detach(), None, geometry)?;
    let stored = Statistics::Stored { mean, var };
    let residual = residual.map(Tensor::detach);
    let (weight, bias) = (weight.detach(), bias.detach());
    batch_norm(&z, &weight, &bias, eps, stored, residual.as_ref(), act)
}
