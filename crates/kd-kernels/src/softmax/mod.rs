//! Softmax, log-softmax and log-sum-exp over the last dimension, with a backward.

mod cpu;
pub mod reference;

use candle_core::{Result, Tensor, bail};

use crate::switch::takes_kernel;

/// Softmax over the last dimension: y_j = e^(x_j) / Σ_k e^(x_k).
///
/// `xs` `[.., c]`, logits of any rank of at least 1, finite or −∞ (a row of nothing but −∞ gives
/// NaN) → the same shape. The row's largest value is taken off first, so that no logit overflows.
/// Candle's own fused softmax has no backward; this one has: ∂x = y ⊙ (∂y − Σ_k ∂y_k·y_k).
///
/// Errors: no dimension, or a last dimension of 0.
///
/// ```
/// use candle_core::{Device, Tensor};
/// let ys = kd_kernels::softmax::softmax(&Tensor::new(&[[0f32, 0.], [1000., 0.]], &Device::Cpu)?)?;
/// assert_eq!(ys.to_vec2::<f32>()?, [[0.5, 0.5], [1., 0.]]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn softmax(xs: &Tensor) -> Result<Tensor> {
    check(xs, "softmax")?;
    if takes_kernel(&[xs])? {
        xs.contiguous()?.apply_op1(cpu::Softmax)
    } else {
        reference::softmax(xs)
    }
}

/// Logarithm of the softmax over the last dimension: y_j = x_j − ln Σ_k e^(x_k).
///
/// `xs` `[.., c]`, logits as for [`softmax`] → the same shape. Backward: ∂x = ∂y − e^y · Σ_k ∂y_k.
///
/// Errors: no dimension, or a last dimension of 0.
pub fn log_softmax(xs: &Tensor) -> Result<Tensor> {
    check(xs, "log_softmax")?;
    if takes_kernel(&[xs])? {
        xs.contiguous()?.apply_op1(cpu::LogSoftmax)
    } else {
        reference::log_softmax(xs)
    }
}

/// Logarithm of the sum of exponentials over the last dimension, which is what [`log_softmax`]
/// takes off each logit: y = ln Σ_k e^(x_k).
///
/// `xs` `[.., c]`, logits as for [`softmax`] → `[..]`. For f32 on a CPU exponentials are taken in
/// f32 and summed in f64, to about 1e-6 of the sum: where only some of a row's log-probabilities
/// are looked at, this takes a fraction of the time of [`log_softmax`]. Backward: ∂x = e^(x − y) ·
/// ∂y.
///
/// Errors: no dimension, or a last dimension of 0.
pub fn log_sum_exp(xs: &Tensor) -> Result<Tensor> {
    check(xs, "log_sum_exp")?;
    if takes_kernel(&[xs])? {
        xs.contiguous()?.apply_op1(cpu::LogSumExp)
    } else {
        reference::log_sum_exp(xs)
    }
}

fn check(xs: &Tensor, op: &str) -> Result<()> {
    match xs.dims().last() {
        None | Some(0) => bail!("{op}: expected [.., c] with c >= 1, got {:?}", xs.dims()),
        Some(_) => Ok(()),
    }
}
