//! [`super::multiply_add`] and [`super::tanh_multiply_add`] from stock Candle ops.

use candle_core::{Result, Tensor};

/// The twin of [`super::multiply_add`]; any device and float dtype.
pub fn multiply_add(x: &Tensor, scale: &Tensor, shift: &Tensor) -> Result<Tensor> {
    super::check("multiply_add", x, scale, shift)?;
    (scale * x)? + shift
}

/// The twin of [`super::tanh_multiply_add`]; any device and float dtype.
pub fn tanh_multiply_add(x: &Tensor, scale: &Tensor, shift: &Tensor) -> Result<Tensor> {
    super::check("tanh_multiply_add", x, scale, shift)?;
    (scale * x.tanh()?)? + shift
}
