//! [`super::softmax`], [`super::log_softmax`] and [`super::log_sum_exp`] from stock Candle ops.

use candle_core::{D, Result, Tensor};

/// The twin of [`super::softmax`]; any device and float dtype.
pub fn softmax(xs: &Tensor) -> Result<Tensor> {
    let exp = shifted(xs)?.exp()?;
    exp.broadcast_div(&exp.sum_keepdim(D::Minus1)?)
}

/// The twin of [`super::log_softmax`]; any device and float dtype.
pub fn log_softmax(xs: &Tensor) -> Result<Tensor> {
    let xs = shifted(xs)?;
    let log_sum = xs.exp()?.sum_keepdim(D::Minus1)?.log()?;
    xs.broadcast_sub(&log_sum)
}

/// The twin of [`super::log_sum_exp`]; any device and float dtype.
pub fn log_sum_exp(xs: &Tensor) -> Result<Tensor> {
    let max = xs.max_keepdim(D::Minus1)?.detach();
    let log_sum = xs.broadcast_sub(&max)?.exp()?.sum_keepdim(D::Minus1)?.log()?;
    (log_sum + max)?.squeeze(D::Minus1)
}

// The maximum cancels out of the result, so its gradient is 0 and it is left out of the graph.
fn shifted(xs: &Tensor) -> Result<Tensor> {
    xs.broadcast_sub(&xs.max_keepdim(D::Minus1)?.detach())
}
