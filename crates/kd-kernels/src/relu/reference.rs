//! The rectifier from stock Candle ops: the oracle of the kernel, and what runs on other devices
//! and types.

use candle_core::{Result, Tensor};

/// The same function as [`super::relu`].
pub fn relu(x: &Tensor) -> Result<Tensor> {
    // Not Candle's `relu`: its gradient at 0 is 1. `le` lets NaN pass, forward and backward, as
    // PyTorch does.
    let zeros = x.zeros_like()?;
    x.le(&zeros)?.where_cond(&zeros, x)
}
