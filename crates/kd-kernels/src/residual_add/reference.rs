//! The residual sum from stock Candle ops: the oracle of the kernel, and what runs on other devices
//! and types.

use candle_core::{Result, Tensor};

use crate::dropout::{self, Dropout};

/// The same function as [`super::residual_add`], which checks the arguments first.
pub fn residual_add(x: &Tensor, sublayer: &Tensor, dropout: Option<Dropout>) -> Result<Tensor> {
    x.add(&dropout::reference_of(sublayer, dropout)?)
}
