//! Decoupled knowledge distillation: the divergence of soft targets in two parts.

use candle_core::{Result, Tensor};
use kd_kernels::softened_kl::softened_kl;
use kd_kernels::softmax::log_sum_exp;

use super::operands;

/// What takes the place of a logit where only the others count: its probability is 0 at any
/// temperature that this project takes.
const NEVER: f64 = -1e30;

/// Divergence of how sure the two are of the true class (TCKD):
///
/// `T²/b · Σ_b KL([p_t, 1 − p_t] ‖ [q_t, 1 − q_t])`, where `p = softmax(teacher/T)`, `q =
/// softmax(student/T)` and t is the label.
///
/// `student`, `teacher` `[b, c]`, logits, c ≥ 2; `labels` u32 `[b]`; `temperature` T > 0 → scalar.
/// The teacher is detached. Both parts are computed from logarithms, so that 1 − q_t keeps its
/// digits where q_t is almost 1.
///
/// Source: Zhao et al. 2022, "Decoupled knowledge distillation", section 3. No deviation.
///
/// # Errors
/// When the shapes do not fit, a label is no class (those on an accelerator are not looked at), or T
/// is not finite and above 0.
pub fn target_class(
    student: &Tensor,
    teacher: &Tensor,
    labels: &Tensor,
    temperature: f64,
) -> Result<Tensor> {
    let (teacher, is_target) = check(student, teacher, labels, temperature)?;
    let pair = |logits: &Tensor| against_others(logits, labels, &is_target, temperature);
    softened_kl(&pair(student)?, &pair(&teacher)?, temperature)
}

/// Divergence among the classes that are not the true one (NCKD):
///
/// `T²/b · Σ_b KL(p̂ ‖ q̂)`, where p̂ and q̂ are the softmaxes of the teacher's and the student's
/// logits over T, the true class left out.
///
/// Shapes and errors are those of [`target_class`].
///
/// Source: Zhao et al. 2022, "Decoupled knowledge distillation", section 3. No deviation; the
/// official code leaves the true class out by subtracting 1000 from its logit over T, which is the
/// same for logits of a usual size.
pub fn non_target_class(
    student: &Tensor,
    teacher: &Tensor,
    labels: &Tensor,
    temperature: f64,
) -> Result<Tensor> {
    let (teacher, is_target) = check(student, teacher, labels, temperature)?;
    softened_kl(&without(student, &is_target)?, &without(&teacher, &is_target)?, temperature)
}

/// `alpha` · [`target_class`] + `beta` · [`non_target_class`]. With alpha = 1 and beta = 1 − p_t,
/// case by case, it would be [`softened_kl`].
///
/// # Errors
/// Those of [`target_class`].
pub fn decoupled(
    student: &Tensor,
    teacher: &Tensor,
    labels: &Tensor,
    temperature: f64,
    alpha: f64,
    beta: f64,
) -> Result<Tensor> {
    let target = target_class(student, teacher, labels, temperature)?;
    (target * alpha)? + (non_target_class(student, teacher, labels, temperature)? * beta)?
}

/// The logits of two classes, `[b, 2]`: that of `class`, u32 `[b]`, which `is_class` marks in `[b,
/// c]`, and all others together, of which the softmax over T is one less the probability of the
/// first.
pub(super) fn against_others(
    logits: &Tensor,
    class: &Tensor,
    is_class: &Tensor,
    temperature: f64,
) -> Result<Tensor> {
    let others = (log_sum_exp(&(without(logits, is_class)? / temperature)?)? * temperature)?;
    Tensor::cat(&[logits.gather(&class.unsqueeze(1)?, 1)?, others.unsqueeze(1)?], 1)
}

/// The logits with those that are marked out of reach.
pub(super) fn without(logits: &Tensor, marked: &Tensor) -> Result<Tensor> {
    marked.where_cond(
        &Tensor::full(NEVER, logits.shape(), logits.device())?.to_dtype(logits.dtype())?,
        logits,
    )
}

/// The detached teacher, and u8 `[b, c]`, 1 at the true class.
fn check(
    student: &Tensor,
    teacher: &Tensor,
    labels: &Tensor,
    temperature: f64,
) -> Result<(Tensor, Tensor)> {
    let teacher = operands::logits(student, teacher, "decoupled")?;
    let is_target = operands::true_class(labels, student, "decoupled")?;
    operands::temperature(temperature, "decoupled")?;
    Ok((teacher, is_target))
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::*;
    use crate::loss::testing::{differences_agree, finite, gradient, noise, refused, scalar};

    fn labels() -> Result<Tensor> {
        Tensor::new(&[2u32, 0, 6, 3], &Device::Cpu)
    }

    #[test]
    fn both_are_zero_between_equals_and_ignore_a_shift_of_each_case() -> Result<()> {
        let (z, v, y) = ((noise(&[4, 7], 1)? * 3.)?, (noise(&[4, 7], 2)? * 3.)?, labels()?);
        for loss in [target_class, non_target_class] {
            assert!(scalar(&loss(&z, &z, &y, 4.)?).abs() < 1e-6);
            let (a, b) =
                (scalar(&loss(&z, &v, &y, 4.)?), scalar(&loss(&(&z + 5.)?, &(&v - 3.)?, &y, 4.)?));
            assert!(a > 1e-2 && (a - b).abs() < 1e-5 * a, "{a} {b}");
        }
        Ok(())
    }

    #[test]
    fn with_the_teachers_doubt_as_beta_they_make_up_the_divergence_of_soft_targets() -> Result<()> {
        let (z, v) = ((noise(&[1, 7], 1)? * 3.)?, (noise(&[1, 7], 2)? * 3.)?);
        let (z, v, y) =
            (z.to_dtype(DType::F64)?, v.to_dtype(DType::F64)?, Tensor::new(&[4u32], &Device::Cpu)?);
        let doubt = 1. - kd_kernels::softmax::softmax(&(&v / 4.)?)?.to_vec2::<f64>()?[0][4];
        let (whole, parts) =
            (scalar(&softened_kl(&z, &v, 4.)?), scalar(&decoupled(&z, &v, &y, 4., 1., doubt)?));
        assert!((whole - parts).abs() < 1e-12, "{whole} {parts}");
        Ok(())
    }

    #[test]
    fn the_true_class_moves_only_the_first_and_the_others_ratios_only_the_second() -> Result<()> {
        let (z, v, y) = ((noise(&[4, 7], 1)? * 3.)?, (noise(&[4, 7], 2)? * 3.)?, labels()?);
        let g = gradient(&z, |z| non_target_class(z, &v, &y, 4.)).expect("a gradient");
        for (i, label) in y.to_vec1::<u32>()?.into_iter().enumerate() {
            assert_eq!(g[i * 7 + label as usize], 0.);
        }
        // Students that are as sure as the teacher, whatever they think of the others.
        let flat = target_class(&v, &v, &y, 4.)?;
        assert!(scalar(&flat) < 1e-6);
        Ok(())
    }

    #[test]
    fn extreme_logits_and_temperatures_give_numbers() -> Result<()> {
        let z = Tensor::new(&[[90f32, -90., 3.], [-80., 80., 0.], [0., 0., 0.]], &Device::Cpu)?;
        let v = Tensor::new(&[[-90f32, 90., 3.], [80., -80., 0.], [60., 0., 0.]], &Device::Cpu)?;
        let y = Tensor::new(&[0u32, 0, 0], &Device::Cpu)?;
        for temperature in [1e-3, 1., 4., 1e6] {
            finite(&z, |z| target_class(z, &v, &y, temperature));
            finite(&z, |z| non_target_class(z, &v, &y, temperature));
        }
        Ok(())
    }

    #[test]
    fn gradients_are_those_of_differences_and_none_reaches_the_teacher() -> Result<()> {
        let (z, v, y) = ((noise(&[4, 7], 1)? * 3.)?, (noise(&[4, 7], 2)? * 3.)?, labels()?);
        for loss in [target_class, non_target_class] {
            differences_agree(&z, 1, |z| loss(z, &v.to_dtype(z.dtype())?, &y, 4.));
            assert!(gradient(&v, |v| loss(&z, v, &y, 4.)).is_none());
        }
        Ok(())
    }

    #[test]
    fn what_does_not_fit_is_an_error_of_one_line() -> Result<()> {
        let (z, y) = (noise(&[4, 7], 1)?, labels()?);
        let large = Tensor::new(&[2u32, 0, 7, 3], &Device::Cpu)?;
        for (v, y, t) in [
            (&noise(&[4, 6], 1)?, &y, 4.),
            (&z, &large, 4.),
            (&z, &y.narrow(0, 0, 3)?, 4.),
            (&z, &y.to_dtype(DType::I64)?, 4.),
            (&z, &y, 0.),
            (&z, &y, f64::NAN),
        ] {
            for loss in [target_class, non_target_class] {
                refused(loss(&z, v, y, t), "decoupled: ");
            }
        }
        assert!(
            target_class(
                &noise(&[4, 1], 1)?,
                &noise(&[4, 1], 1)?,
                &Tensor::zeros(4, DType::U32, &Device::Cpu)?,
                4.
            )
            .is_err()
        );
        Ok(())
    }
}
