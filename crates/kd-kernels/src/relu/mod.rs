//! The rectifier, with PyTorch's derivative at 0.

pub mod reference;

use candle_core::{Result, Tensor};

/// max(x, 0), by element, for `x` of any shape.
///
/// The derivative at 0 is 0, as in PyTorch; Candle's own `relu` takes 1 there. NaN stays NaN and lets its gradient pass.
pub fn relu(x: &Tensor) -> Result<Tensor> {
    reference::relu(x)
}
