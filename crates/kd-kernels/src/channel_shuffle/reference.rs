//! The channel shuffle from stock Candle ops: the oracle of the kernel, and what runs on other
//! devices and types.

use candle_core::{Result, Tensor};

/// The same function as [`super::channel_shuffle`].
pub fn channel_shuffle(x: &Tensor, groups: usize) -> Result<Tensor> {
    super::check(x, groups)?;
    let (n, c, h, w) = x.dims4()?;
    x.reshape((n, groups, c / groups, h * w))?.transpose(1, 2)?.contiguous()?.reshape((n, c, h, w))
}
