//! [`super::weighted_sum`] from stock Candle ops.

use candle_core::{Result, Tensor};

/// The twin of [`super::weighted_sum`]; any device and float dtype.
pub fn weighted_sum(xs: &Tensor, weights: &Tensor) -> Result<Tensor> {
    super::check(xs, weights)?;
    let (k, shape) = (xs.dim(0)?, &xs.dims()[1..]);
    weights
        .reshape((1, k))?
        .matmul(&xs.reshape((k, shape.iter().product::<usize>()))?)?
        .reshape(shape)
}
