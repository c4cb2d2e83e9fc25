//! Cross-entropy of logits with class labels.

mod cpu;
pub mod reference;

use candle_core::{DType, Result, Tensor, bail};

use crate::operand::logits_dims;
use crate::switch::takes_kernel;

/// Cross-entropy: (1/b) · Σ_i (ln Σ_k e^(z_ik) − z_i,y_i), the mean over the batch, in nats.
///
/// `logits` `[b, c]` (not probabilities), `labels` u32 `[b]` → scalar of the logits' dtype.
/// Backward: (softmax(z_i) − onehot(y_i))/b, computed in the forward pass where a gradient can be
/// asked for; the kernel gives 0 for parts below 1e-24. The labels get none.
///
/// Errors: shapes that do not fit, labels that are not u32, and a label of c or more, naming its
/// index. Labels on an accelerator are not looked at, since a read would wait for all that the
/// device has to do: what the loss is there of labels out of range is not defined.
///
/// ```
/// use candle_core::{Device, Tensor};
/// let logits = Tensor::zeros((3, 4), candle_core::DType::F32, &Device::Cpu)?;
/// let loss = kd_kernels::cross_entropy::cross_entropy(&logits, &Tensor::new(&[0u32, 3, 1], &Device::Cpu)?)?;
/// assert!((loss.to_scalar::<f32>()? - 4f32.ln()).abs() < 1e-6);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn cross_entropy(logits: &Tensor, labels: &Tensor) -> Result<Tensor> {
    let (b, c) = logits_dims(logits, "cross_entropy", "logits")?;
    if labels.dtype() != DType::U32 || labels.dims() != [b] {
        bail!(
            "cross_entropy: expected labels u32 [{b}], got {:?} {:?}",
            labels.dtype(),
            labels.dims()
        );
    }
    if !labels.device().is_cpu() {
        return reference::cross_entropy(logits, labels);
    }
    let host = labels.to_vec1::<u32>()?;
    if let Some((i, y)) = host.iter().enumerate().find(|&(_, &y)| y as usize >= c) {
        bail!("cross_entropy: label {y} at index {i} is out of range for {c} classes");
    }
    if takes_kernel(&[logits])? {
        logits.contiguous()?.apply_op1(cpu::CrossEntropy::new(host, logits.track_op()))
    } else {
        reference::cross_entropy(logits, labels)
    }
}
