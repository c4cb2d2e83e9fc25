//! [`super::max_norm`] from stock Candle ops.

use candle_core::{Result, Tensor};

/// The twin of [`super::max_norm`], which returns the constrained weight; any device and float dtype, rank at least 2.
pub fn max_norm(weight: &Tensor, cap: f64) -> Result<Tensor> {
    let rows = weight.flatten_from(1)?;
    let norms = rows.sqr()?.sum_keepdim(1)?.sqrt()?;
    let scaled = rows.broadcast_mul(&(norms.recip()? * (cap * super::MARGIN))?)?;
    let longer = norms.gt(cap)?.broadcast_as(rows.shape())?;
    longer.where_cond(&scaled, &rows)?.reshape(weight.shape())
}
