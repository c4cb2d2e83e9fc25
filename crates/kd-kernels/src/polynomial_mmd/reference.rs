//! [`super::polynomial_mmd`] from stock Candle ops.

use candle_core::{D, Result, Tensor};

/// The twin of [`super::polynomial_mmd`]; any device and float dtype.
pub fn polynomial_mmd(x: &Tensor, y: &Tensor) -> Result<Tensor> {
    super::check(x, y)?;
    let (x, y) = (directions(x)?, directions(&y.detach())?);
    let kernel = |a: &Tensor, b: &Tensor| a.matmul(&b.t()?)?.sqr()?.mean_all();
    (kernel(&x, &x)? + kernel(&y, &y)?)? - (kernel(&x, &y)? * 2.0)?
}

/// `[n, c, ..]` → `[n, c, places]`, channels over their lengths.
fn directions(x: &Tensor) -> Result<Tensor> {
    let (n, c) = (x.dim(0)?, x.dim(1)?);
    let x = x.reshape((n, c, x.elem_count() / (n * c)))?;
    let squares = x.sqr()?.sum_keepdim(D::Minus1)?;
    let long = squares.gt(super::SHORTEST_SQUARED)?.to_dtype(x.dtype())?;
    x.broadcast_mul(&(squares.maximum(super::SHORTEST_SQUARED)?.sqrt()?.recip()? * long)?)
}
