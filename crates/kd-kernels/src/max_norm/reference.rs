//! [`super::max_norm`] from stock Candle ops.

use candle_core::{DType, Result, Tensor};

/// The twin of [`super::max_norm`], which returns the constrained weight; any device and float
/// dtype, rank at least 2.
///
/// Lengths are summed in f64, so that a row that was scaled is not found too long by the rounding
/// of a sum; on Metal, which has no f64, in the weight's own type, where a second application may
/// move a value by a rounding.
pub fn max_norm(weight: &Tensor, cap: f64) -> Result<Tensor> {
    let rows = weight.flatten_from(1)?;
    let dtype = if rows.device().is_metal() { rows.dtype() } else { DType::F64 };
    let wide = rows.to_dtype(dtype)?;
    let norms = wide.sqr()?.sum_keepdim(1)?.sqrt()?;
    let scaled =
        wide.broadcast_mul(&(norms.recip()? * (cap * super::MARGIN))?)?.to_dtype(rows.dtype())?;
    let longer = norms.gt(cap)?.broadcast_as(rows.shape())?;
    longer.where_cond(&scaled, &rows)?.reshape(weight.shape())
}
