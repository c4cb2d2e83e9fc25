//! The feed-forward block from stock Candle ops: the oracle of the kernel, and what runs on other
//! devices and types.

use candle_core::{Result, Tensor};

use crate::Activation;
use crate::dropout::{self, Dropout};
use crate::linear::reference::linear;

/// The same function as [`super::feed_forward`], which checks p first.
pub fn feed_forward(
    x: &Tensor,
    w1: &Tensor,
    b1: &Tensor,
    w2: &Tensor,
    b2: &Tensor,
    dropout: Option<Dropout>,
) -> Result<Tensor> {
    let hidden = dropout::reference_of(&linear(x, w1, Some(b1), Activation::Relu)?, dropout)?;
    linear(&hidden, w2, Some(b2), Activation::None)
}
