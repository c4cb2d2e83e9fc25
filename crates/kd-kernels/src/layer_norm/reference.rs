//! Layer normalisation from stock Candle ops: the oracle of the kernel, and what runs on other
//! devices and types.

use candle_core::{D, Result, Tensor};

use crate::dropout::{self, Dropout};

/// The same function as [`super::layer_norm`], which checks the shapes first.
pub fn layer_norm(xs: &Tensor, gain: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    let centred = xs.broadcast_sub(&xs.mean_keepdim(D::Minus1)?)?;
    let std = (centred.sqr()?.mean_keepdim(D::Minus1)? + eps)?.sqrt()?;
    centred.broadcast_div(&std)?.broadcast_mul(gain)?.broadcast_add(bias)
}

/// The same function as [`super::residual_norm`], which checks the arguments first.
pub fn residual_norm(
    x: &Tensor,
    sublayer: &Tensor,
    gain: &Tensor,
    bias: &Tensor,
    eps: f64,
    dropout: Option<Dropout>,
) -> Result<Tensor> {
    layer_norm(&x.add(&dropout::reference_of(sublayer, dropout)?)?, gain, bias, eps)
}
