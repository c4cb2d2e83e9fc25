//! The cross-entropies from stock Candle ops: the oracle of the kernels, and what runs on other
//! devices and types.

use candle_core::{D, Device, Result, Tensor};

use super::{CrossEntropySums, Targets};
use crate::linear::reference::product;
use crate::softmax::reference::log_softmax;

/// The same function as [`super::label_smoothed_cross_entropy`].
pub fn label_smoothed_cross_entropy(
    logits: &Tensor,
    targets: &Tensor,
    epsilon: f64,
    ignore: Option<u32>,
) -> Result<CrossEntropySums> {
    of_targets(logits, &Targets::of_logits(logits, targets, epsilon, ignore)?)
}

/// The same function as [`super::projected_cross_entropy`].
pub fn projected_cross_entropy(
    hidden: &Tensor,
    table: &Tensor,
    targets: &Tensor,
    epsilon: f64,
    ignore: Option<u32>,
) -> Result<CrossEntropySums> {
    let targets = Targets::of_projection(hidden, table, targets, epsilon, ignore)?;
    of_targets(&product(hidden, &table.t()?)?, &targets)
}

fn of_targets(
    logits: &Tensor,
    Targets { ids, rows, epsilon }: &Targets,
) -> Result<CrossEntropySums> {
    let log_probs = log_softmax(logits)?;
    let picked: Vec<u32> = ids.iter().map(|y| y.unwrap_or(0)).collect();
    let picked = Tensor::from_vec(picked, (ids.len(), 1), logits.device())?;
    let counts: Vec<bool> = ids.iter().map(Option::is_some).collect();
    let weights = weights(&counts, logits)?;
    let nll = (log_probs.gather(&picked, 1)?.squeeze(1)? * &weights)?.sum_all()?.neg()?;
    let smooth = (log_probs.mean(D::Minus1)? * weights)?.sum_all()?.neg()?;
    Ok(CrossEntropySums {
        loss: ((&nll * (1.0 - epsilon))? + (smooth * *epsilon)?)?,
        nll: nll.detach(),
        rows: *rows,
    })
}

/// The same function as [`super::soft_cross_entropy`], which checks the shapes.
pub fn soft_cross_entropy(
    logits: &Tensor,
    teacher: &Tensor,
    counts: Option<&[bool]>,
) -> Result<Tensor> {
    let q = log_softmax(&teacher.detach())?.exp()?;
    let rows = q.mul(&log_softmax(logits)?)?.sum(D::Minus1)?.neg()?;
    match counts {
        Some(counts) => rows.mul(&weights(counts, logits)?)?.sum_all(),
        None => rows.sum_all(),
    }
}

/// 1 for each row that counts and 0 for others, on the device and of the type of `like`.
fn weights(counts: &[bool], like: &Tensor) -> Result<Tensor> {
    let weights: Vec<f32> = counts.iter().map(|&c| if c { 1.0 } else { 0.0 }).collect();
    Tensor::from_vec(weights, counts.len(), &Device::Cpu)?
        .to_device(like.device())?
        .to_dtype(like.dtype())
}
