//! The dense layer from stock Candle ops: the oracle of the kernel, and what runs on other devices and types.

use super::Activation;
use candle_core::{Result, Tensor};

/// The same function as [`super::linear`], which checks the shapes first.
pub fn linear(x: &Tensor, w: &Tensor, b: Option<&Tensor>, act: Activation) -> Result<Tensor> {
    super::check(x, w, b)?;
    let mut shape = x.dims().to_vec();
    let inner = shape.pop().unwrap_or(0);
    let rows: usize = shape.iter().product();
    shape.push(w.dim(0)?);
    let flat = x.reshape((rows, inner))?;
    let mut z = flat.matmul(&w.t()?)?;
    if let Some(b) = b {
        z = z.broadcast_add(b)?;
    }
    let y = match act {
        Activation::None => z,
        // Not `relu`: its gradient at 0 is 1. `le` lets NaN pass, forward and backward, as PyTorch does.
        Activation::Relu => z.le(&z.zeros_like()?)?.where_cond(&z.zeros_like()?, &z)?,
    };
    y.reshape(shape)
}
