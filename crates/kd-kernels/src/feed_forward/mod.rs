//! The position-wise feed-forward block of a Transformer.

pub mod reference;

use crate::Activation;
use crate::dropout::{Dropout, cpu::DropoutMask};
use crate::linear::{self, linear};
use crate::switch::takes_kernel;
use candle_core::{Result, Tensor};

/// y = dropout(max(x · w1ᵀ + b1, 0)) · w2ᵀ + b2.
///
/// * `x`: `[.., d]`; leading dimensions are batch.
/// * `w1`: `[hidden, d]`, `b1`: `[hidden]`, `w2`: `[d_out, hidden]`, `b2`: `[d_out]`, in the layout
///   of PyTorch's `nn.Linear`.
/// * `dropout`: as [`crate::dropout::dropout`] of the hidden layer `[.., hidden]`, bit for bit the
///   same mask; `None` in evaluation.
/// * result: `[.., d_out]`, contiguous.
///
/// Gradients flow to all tensors that track one. `f32` tensors on the CPU run the kernel while
/// [`crate::kernels_enabled`]; all others run [`reference::feed_forward`]. Fails on shapes that do
/// not fit and on p outside [0, 1).
pub fn feed_forward(
    x: &Tensor,
    w1: &Tensor,
    b1: &Tensor,
    w2: &Tensor,
    b2: &Tensor,
    dropout: Option<Dropout>,
) -> Result<Tensor> {
    Dropout::check(dropout, "feed_forward")?;
    if takes_kernel(&[x, w1, b1, w2, b2])? {
        let hidden = linear::relu_dropout(x, w1, b1, DropoutMask::of(dropout))?;
        linear(&hidden, w2, Some(b2), Activation::None)
    } else {
        reference::feed_forward(x, w1, b1, w2, b2, dropout)
    }
}
