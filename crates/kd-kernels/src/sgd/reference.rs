//! [`super::SgdState::step`] from stock Candle ops.

use candle_core::{Result, Tensor};

use super::SgdConfig;

/// The twin of [`super::SgdState::step`], which returns the new weight and momentum; any device and
/// float dtype.
pub fn step(
    weight: &Tensor,
    grad: &Tensor,
    momentum: &Tensor,
    cfg: &SgdConfig,
) -> Result<(Tensor, Tensor)> {
    let grad =
        if cfg.weight_decay == 0.0 { grad.clone() } else { (grad + (weight * cfg.weight_decay)?)? };
    let momentum =
        if cfg.momentum == 0.0 { momentum.clone() } else { ((momentum * cfg.momentum)? + &grad)? };
    let direction = match (cfg.momentum == 0.0, cfg.nesterov) {
        (true, _) => grad,
        (false, false) => momentum.clone(),
        (false, true) => (grad + (&momentum * cfg.momentum)?)?,
    };
    let weight = (weight - (direction * cfg.lr)?)?;
    let weight = match cfg.max_norm {
        Some(cap) => crate::max_norm::reference::max_norm(&weight, cap)?,
        None => weight,
    };
    Ok((weight, momentum))
}
