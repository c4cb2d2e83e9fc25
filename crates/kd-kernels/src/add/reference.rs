//! The sum from stock Candle ops: the oracle of the kernel, and what runs on other devices and
//! types.

use candle_core::{Result, Tensor};

/// The same function as [`super::add`].
pub fn add(x: &Tensor, y: &Tensor) -> Result<Tensor> {
    x.add(y)
}
