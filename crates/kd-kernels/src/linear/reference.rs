//! The dense layer from stock Candle ops: the oracle of the kernel, and what runs on other devices
//! and types.

use crate::Activation;
use crate::Precision;
use candle_core::{DType, Result, Tensor};

/// The same function as [`super::linear`], which checks the shapes first.
pub fn linear(x: &Tensor, w: &Tensor, b: Option<&Tensor>, act: Activation) -> Result<Tensor> {
    super::check(x, w, b)?;
    let mut shape = x.dims().to_vec();
    let inner = shape.pop().unwrap_or(0);
    let rows: usize = shape.iter().product();
    shape.push(w.dim(0)?);
    let flat = x.reshape((rows, inner))?;
    let mut z = product(&flat, &w.t()?)?;
    if let Some(b) = b {
        z = z.broadcast_add(b)?;
    }
    let y = match act {
        Activation::None => z,
        // Not `relu`: its gradient at 0 is 1. `le` lets NaN pass, forward and backward, as PyTorch
        // does.
        Activation::Relu => z.le(&z.zeros_like()?)?.where_cond(&z.zeros_like()?, &z)?,
    };
    y.reshape(shape)
}

/// The product in the current precision. On the CPU, operands rounded to bfloat16 are multiplied in
/// `f32`, since that is what the kernel does; other devices have their own product of such tensors.
/// Gradients are rounded on their way through the conversions.
pub(crate) fn product(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let rounded = |x: &Tensor| x.to_dtype(DType::BF16);
    match Precision::current() {
        Precision::Bfloat16 if a.dtype() == DType::F32 && a.device().is_cpu() => {
            rounded(a)?.to_dtype(DType::F32)?.matmul(&rounded(b)?.to_dtype(DType::F32)?)
        }
        Precision::Bfloat16 if a.dtype() == DType::F32 => {
            rounded(a)?.matmul(&rounded(b)?)?.to_dtype(DType::F32)
        }
        _ => a.matmul(b),
    }
}
