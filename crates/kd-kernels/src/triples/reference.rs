//! Distances and angles from stock Candle ops.

use candle_core::{Result, Tensor};

/// The twin of [`super::squared_distances`]; any device and float dtype.
pub fn squared_distances(x: &Tensor) -> Result<Tensor> {
    super::check_vectors(x)?;
    x.unsqueeze(0)?.broadcast_sub(&x.unsqueeze(1)?)?.sqr()?.sum(2)
}

/// The twin of [`super::angle_distance`]; any device and float dtype.
pub fn angle_distance(squares: &Tensor, target: &Tensor) -> Result<Tensor> {
    super::check_squares(squares, target)?;
    let gap = (cosines(squares)? - cosines(&target.detach())?)?;
    // With c = the gap cut to [−1, 1], the value is c·gap − ½c² and the derivative c, so that c may
    // be taken for a constant.
    let cut = gap.detach().clamp(-1.0, 1.0)?;
    (gap.mul(&cut)? - (cut.sqr()? * 0.5)?)?.mean_all()
}

/// Squared distances `[b, b]` → cosines `[b, b, b]`.
fn cosines(squares: &Tensor) -> Result<Tensor> {
    let apart = squares.gt(super::NEAREST_SQUARED)?.to_dtype(squares.dtype())?;
    let inverse = (squares.maximum(super::NEAREST_SQUARED)?.sqrt()?.recip()? * apart)?;
    let legs = squares
        .unsqueeze(2)?
        .broadcast_add(&squares.unsqueeze(1)?)?
        .broadcast_sub(&squares.unsqueeze(0)?)?;
    legs.broadcast_mul(&inverse.unsqueeze(2)?)?.broadcast_mul(&inverse.unsqueeze(1)?)? * 0.5
}
