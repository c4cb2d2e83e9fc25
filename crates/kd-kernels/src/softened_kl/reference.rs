//! [`super::softened_kl`] from stock Candle ops.

use candle_core::{Result, Tensor};

/// The twin of [`super::softened_kl`]; any device and float dtype. In f32 the factor T² raises the
/// rounding of the divergence with it.
pub fn softened_kl(student: &Tensor, teacher: &Tensor, temperature: f64) -> Result<Tensor> {
    use crate::softmax::reference::log_softmax;
    let log_q = log_softmax(&(student / temperature)?)?;
    let log_p = log_softmax(&(teacher.detach() / temperature)?)?;
    let kl = log_p.exp()?.mul(&(log_p - log_q)?)?.sum_all()?;
    kl * (temperature * temperature / student.dim(0)? as f64)
}
