//! The fusion from stock Candle ops: the oracle of the kernel, and what runs on other devices and
//! types.

use candle_core::{Result, Tensor};

use crate::upsample::reference::upsample_nearest;

/// The same function as [`super::attention_fusion`].
pub fn attention_fusion(x: &Tensor, y: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    super::check(x, y, weight, bias)?;
    let (n, c, h, w) = x.dims4()?;
    let y = if y.dims() == x.dims() { y.clone() } else { upsample_nearest(y, (h, w))? };
    let both = Tensor::cat(&[x, &y], 1)?.reshape((n, 2 * c, h * w))?;
    let logits = weight
        .broadcast_left(n)?
        .contiguous()?
        .matmul(&both)?
        .broadcast_add(&bias.reshape((1, 2, 1))?)?
        .reshape((n, 2, h, w))?;
    // The sigmoid, in a form whose gradient is finite everywhere.
    let gates = ((logits * 0.5)?.tanh()? * 0.5)?.affine(1.0, 0.5)?;
    x.broadcast_mul(&gates.narrow(1, 0, 1)?)? + y.broadcast_mul(&gates.narrow(1, 1, 1)?)?
}
