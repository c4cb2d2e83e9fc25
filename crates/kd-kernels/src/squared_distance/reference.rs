//! [`super::channel_distance`] from stock Candle ops.

use candle_core::{Result, Tensor};

/// The twin of [`super::channel_distance`]; any device and float dtype.
pub fn channel_distance(x: &Tensor, y: &Tensor) -> Result<Tensor> {
    super::check(x, y)?;
    let (n, c) = (x.dim(0)?, x.dim(1)?);
    (x - y)?.sqr()?.reshape((n, c, x.elem_count() / (n * c)))?.mean((0, 2))
}
