//! The distillation loss of Hinton, Vinyals and Dean: Kullback-Leibler divergence of softened
//! distributions.

mod cpu;
pub mod reference;

use candle_core::{Result, Tensor, bail};

use crate::operand::logits_dims;
use crate::switch::takes_kernel;

/// Softened Kullback-Leibler divergence: (T²/b) · Σ_i Σ_j p_ij · ln(p_ij / q_ij), with p =
/// softmax(teacher/T) and q = softmax(student/T).
///
/// `student` `[b, c]` and `teacher` `[b, c]`, finite logits (not probabilities), `temperature` T >
/// 0 → scalar of the student's dtype, in nats: the mean over the batch, the sum over the classes,
/// times T². Backward: T·(q − p)/b for the student, computed in the forward pass where a gradient
/// can be asked for. The teacher gets no gradient, even where it has a graph.
///
/// The factor T² keeps the gradient's size as T grows: it tends to ((z − z̄) − (v − v̄))/(b·c) for
/// student z and teacher v. The paper's cross-entropy with soft targets differs from this
/// divergence by the teacher's entropy, a constant.
///
/// Errors: shapes that do not fit, and a temperature that is not finite and above 0.
///
/// Source: G. Hinton, O. Vinyals, J. Dean, "Distilling the knowledge in a neural network", 2015,
/// section 2.
///
/// ```
/// use candle_core::{Device, Tensor};
/// let zs = Tensor::new(&[[1f32, 2., 3.]], &Device::Cpu)?;
/// assert_eq!(kd_kernels::softened_kl::softened_kl(&zs, &zs, 4.0)?.to_scalar::<f32>()?, 0.0);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn softened_kl(student: &Tensor, teacher: &Tensor, temperature: f64) -> Result<Tensor> {
    let dims = logits_dims(student, "softened_kl", "student logits")?;
    if logits_dims(teacher, "softened_kl", "teacher logits")? != dims {
        bail!(
            "softened_kl: expected teacher logits {:?} as the student's, got {:?}",
            student.dims(),
            teacher.dims()
        );
    }
    if !(temperature.is_finite() && temperature > 0.0) {
        bail!("softened_kl: expected a finite temperature above 0, got {temperature}");
    }
    let teacher = teacher.detach();
    if takes_kernel(&[student, &teacher])? {
        let op = cpu::SoftenedKl::new(temperature, student.track_op());
        student.contiguous()?.apply_op2(&teacher.contiguous()?, op)
    } else {
        reference::softened_kl(student, &teacher, temperature)
    }
}
