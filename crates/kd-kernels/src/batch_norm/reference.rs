//! Batch normalisation from stock Candle ops: the oracle of the kernel, and what runs on other
//! devices and types.

use super::{Sizes, Statistics};
use crate::Activation;
use crate::relu;
use candle_core::{Result, Tensor};

/// The same function as [`super::batch_norm`].
pub fn batch_norm(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    eps: f64,
    statistics: Statistics,
    residual: Option<&Tensor>,
    act: Activation,
) -> Result<Tensor> {
    let sizes = Sizes::of(x, weight, bias, &statistics, residual)?;
    let Sizes { n, c, pixels } = sizes;
    let per_channel = |t: &Tensor| t.reshape((1, c, 1));
    let flat = x.reshape((n, c, pixels))?;
    let (centred, var) = match statistics {
        Statistics::Batch(running) => {
            let mean = flat.mean_keepdim((0, 2))?;
            let centred = flat.broadcast_sub(&mean)?;
            let var = centred.sqr()?.mean_keepdim((0, 2))?;
            if let Some(running) = running {
                running.update(&mean.flatten_all()?, &var.flatten_all()?, sizes.count())?;
            }
            (centred, var)
        }
        Statistics::Stored { mean, var } => {
            (flat.broadcast_sub(&per_channel(&mean.detach())?)?, per_channel(&var.detach())?)
        }
    };
    let normal = centred.broadcast_div(&(var + eps)?.sqrt()?)?;
    let mut y = normal
        .broadcast_mul(&per_channel(weight)?)?
        .broadcast_add(&per_channel(bias)?)?
        .reshape(x.dims())?;
    if let Some(residual) = residual {
        y = (y + residual)?;
    }
    match act {
        Activation::None => Ok(y),
        Activation::Relu => relu::reference::relu(&y),
    }
}
