//! The dense layer from stock Candle ops: the oracle, and the path on CUDA and Metal.

use candle_core::{Result, Tensor};

use super::Activation;

/// As [`super::linear`], for any device and float type.
///
/// # Errors
/// Shapes that do not fit.
pub fn linear(x: &Tensor, w: &Tensor, b: Option<&Tensor>, activation: Activation) -> Result<Tensor> {
    // A matrix times a matrix whatever the rank: Candle's batched product would copy `w` for each leading index.
    let (outputs, inputs) = w.dims2()?;
    let y = x.reshape((x.elem_count() / inputs.max(1), inputs))?.matmul(&w.t()?)?;
    let y = match b {
        Some(b) => y.broadcast_add(b)?,
        None => y,
    };
    let y = match activation {
        Activation::None => y,
        Activation::Relu => y.relu()?,
    };
    let mut dims = x.dims().to_vec();
    dims.pop();
    dims.push(outputs);
    y.reshape(dims)
}
