//! Layer normalisation over the last dimension, alone and at the end of a residual block.

mod cpu;
pub mod reference;

use crate::dropout::{Dropout, cpu::DropoutMask};
use crate::switch::takes_kernel;
use candle_core::{Result, Tensor, bail};

/// y = (x − mean(x)) / √(var(x) + eps) ⊙ gain + bias, mean and variance over the last dimension,
/// the variance with 1/d.
///
/// * `xs`: `[.., d]`, of any strides, d ≥ 1.
/// * `gain`, `bias`: `[d]`.
/// * result: the shape of `xs`, contiguous.
///
/// Gradients flow to all three, as far as each tracks one. `f32` tensors on the CPU run the kernel
/// while [`crate::kernels_enabled`]; all others run [`reference::layer_norm`]. Fails on shapes that
/// do not fit.
///
/// Source: J. L. Ba, J. R. Kiros, G. E. Hinton, "Layer normalization", 2016; the numbers of
/// PyTorch's `nn.LayerNorm`.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use kd_kernels::layer_norm::layer_norm;
///
/// let x = Tensor::new(&[[1f32, 3.0]], &Device::Cpu)?;
/// let (gain, bias) = (Tensor::new(&[1f32, 1.0], &Device::Cpu)?, Tensor::new(&[0f32, 10.0], &Device::Cpu)?);
/// assert_eq!(layer_norm(&x, &gain, &bias, 0.0)?.to_vec2::<f32>()?, [[-1.0, 11.0]]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn layer_norm(xs: &Tensor, gain: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    check(xs, gain, bias, "layer_norm")?;
    if takes_kernel(&[xs, gain, bias])? {
        cpu::norm(xs, None, gain, bias, eps, None)
    } else {
        reference::layer_norm(xs, gain, bias, eps)
    }
}

/// [`layer_norm`] of x + dropout(sublayer): the end of a Transformer's block whose normalisation
/// comes last (post-norm).
///
/// * `x`: `[.., d]`, the block's input; `sublayer`: of the same shape, what attention or
///   feed-forward made of it.
/// * `gain`, `bias`: `[d]`.
/// * `dropout`: as [`crate::dropout::dropout`] of `sublayer`, bit for bit the same mask; `None` in
///   evaluation.
/// * result: `[.., d]`, contiguous.
///
/// Gradients flow to all four tensors. `f32` tensors on the CPU run the kernel while
/// [`crate::kernels_enabled`]; all others run [`reference::residual_norm`]. Fails on shapes that do
/// not fit and on p outside [0, 1).
pub fn residual_norm(
    x: &Tensor,
    sublayer: &Tensor,
    gain: &Tensor,
    bias: &Tensor,
    eps: f64,
    dropout: Option<Dropout>,
) -> Result<Tensor> {
    check(x, gain, bias, "residual_norm")?;
    Dropout::check(dropout, "residual_norm")?;
    if sublayer.dims() != x.dims() {
        bail!(
            "residual_norm: sublayer has shape {:?}, expected that of x, {:?}",
            sublayer.dims(),
            x.dims()
        )
    }
    if takes_kernel(&[x, sublayer, gain, bias])? {
        cpu::norm(x, Some(sublayer), gain, bias, eps, DropoutMask::of(dropout))
    } else {
        reference::residual_norm(x, sublayer, gain, bias, eps, dropout)
    }
}

fn check(x: &Tensor, gain: &Tensor, bias: &Tensor, op: &str) -> Result<()> {
    let d = match x.dims().last() {
        None | Some(0) => bail!("{op}: expected x [.., d] with d >= 1, got {:?}", x.dims()),
        Some(&d) => d,
    };
    for (what, t) in [("gain", gain), ("bias", bias)] {
        if t.dims() != [d] {
            bail!(
                "{op}: {what} has shape {:?}, expected [{d}] for x of shape {:?}",
                t.dims(),
                x.dims()
            )
        }
    }
    Ok(())
}
