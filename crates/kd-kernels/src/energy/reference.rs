//! [`super::channel_energy`] from stock Candle ops.

use candle_core::{Result, Tensor};

/// The twin of [`super::channel_energy`]; any device and float dtype.
pub fn channel_energy(x: &Tensor) -> Result<Tensor> {
    super::check(x)?;
    x.sqr()?.mean(1)?.flatten_from(1)
}
