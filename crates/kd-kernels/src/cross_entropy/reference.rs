//! [`super::cross_entropy`] from stock Candle ops.

use candle_core::{Result, Tensor};

/// The twin of [`super::cross_entropy`]; any device and float dtype, labels in range.
pub fn cross_entropy(logits: &Tensor, labels: &Tensor) -> Result<Tensor> {
    let log_probs = crate::softmax::reference::log_softmax(logits)?;
    let picked = log_probs.gather(&labels.unsqueeze(1)?.contiguous()?, 1)?;
    picked.mean_all()?.neg()
}
