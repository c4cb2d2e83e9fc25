//! [`super::noise_contrast`] from stock Candle ops: the oracle of the kernel, and what runs on
//! other devices and types.

use super::{EPSILON, Pairs};
use candle_core::{Result, Tensor};

/// The twin of [`super::noise_contrast`], which checks its arguments first. Keeps several matrices
/// of anchors by memory.
pub fn noise_contrast(
    anchors: &Tensor,
    memory: &Tensor,
    pairs: &Pairs,
    normaliser: f64,
) -> Result<Tensor> {
    super::check(anchors, memory, pairs)?;
    let (n, m) = (memory.dim(0)? as f64, pairs.negatives.count(0) as f64);
    let noise = m / n;
    // A copy, since the memory may move in place before the backward pass reads it.
    let density = (exponentials(anchors, &memory.copy()?.detach(), pairs)? / normaliser)?;
    let positive = density.gather(&positives(pairs, anchors)?, 1)?;
    let kept = positive.log()?.sub(&(&positive + (noise + EPSILON))?.log()?)?.sum_all()?;
    let rejected = ((density + (noise + EPSILON))?.log()?.neg()? + noise.ln())?;
    let rejected = rejected.mul(&mask(pairs, anchors)?)?.sum_all()?;
    kept.add(&rejected)? * (-1.0 / pairs.positives.len() as f64)
}

/// The twin of [`super::normaliser`].
pub fn normaliser(anchors: &Tensor, memory: &Tensor, pairs: &Pairs) -> Result<f64> {
    super::check(anchors, memory, pairs)?;
    let scores = exponentials(&anchors.detach(), &memory.detach(), pairs)?;
    let positive = scores.gather(&positives(pairs, anchors)?, 1)?.sum_all()?;
    let total = scores
        .mul(&mask(pairs, anchors)?)?
        .sum_all()?
        .add(&positive)?
        .to_dtype(candle_core::DType::F64)?
        .to_scalar::<f64>()?;
    let count = pairs.positives.len() * (1 + pairs.negatives.count(0));
    Ok(total / count as f64 * memory.dim(0)? as f64)
}

fn exponentials(anchors: &Tensor, memory: &Tensor, pairs: &Pairs) -> Result<Tensor> {
    (anchors.matmul(&memory.t()?)? / pairs.temperature)?.exp()
}

fn positives(pairs: &Pairs, like: &Tensor) -> Result<Tensor> {
    Tensor::from_vec(pairs.positives.to_vec(), (pairs.positives.len(), 1), like.device())
}

fn mask(pairs: &Pairs, like: &Tensor) -> Result<Tensor> {
    pairs.negatives.mask(like.device())?.to_dtype(like.dtype())
}
