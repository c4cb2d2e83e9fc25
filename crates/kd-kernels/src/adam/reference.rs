//! [`super::AdamState::step`] from stock Candle ops.

use candle_core::{Result, Tensor};

use super::{AdamConfig, Decay, bias_corrections};

/// The twin of [`super::AdamState::step`], which returns the new weight and both moments after step
/// `t` >= 1; any device and float dtype.
pub fn step(
    weight: &Tensor,
    grad: &Tensor,
    m: &Tensor,
    v: &Tensor,
    t: u64,
    cfg: &AdamConfig,
) -> Result<(Tensor, Tensor, Tensor)> {
    let (weight, grad) = match cfg.decay {
        Decay::L2(decay) if decay != 0.0 => (weight.clone(), (grad + (weight * decay)?)?),
        Decay::L2(_) => (weight.clone(), grad.clone()),
        Decay::Decoupled(decay) => ((weight * (1.0 - cfg.lr * decay))?, grad.clone()),
    };
    let m = (m + ((&grad - m)? * (1.0 - cfg.beta1))?)?;
    let v = ((v * cfg.beta2)? + (grad.sqr()? * (1.0 - cfg.beta2))?)?;
    let (step_size, root_correction) = bias_corrections(cfg, t);
    let denominator = ((v.sqrt()? / root_correction)? + cfg.eps)?;
    let weight = (weight - ((&m / denominator)? * step_size)?)?;
    Ok((weight, m, v))
}
