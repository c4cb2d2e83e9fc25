//! Soft targets of a teacher that may be wrong: how sure it is, and how it ranks the classes that
//! it holds for less likely than the true one.

use candle_core::{Result, Tensor};
use kd_kernels::softened_kl::softened_kl;

use super::decoupled::{against_others, without};
use super::operands;

/// Divergence of how sure the student is of the true class from how sure the teacher is of the one
/// that it takes (SCD):
///
/// `T²/b · Σ_i KL([p_max, 1 − p_max] ‖ [q_y, 1 − q_y])`, where `p = softmax(teacher/T)`, `q =
/// softmax(student/T)`, p_max is the largest of p_i, and y the label.
///
/// `student`, `teacher` `[b, c]`, logits, c ≥ 2; `labels` u32 `[b]`; `temperature` T > 0 → scalar.
/// The teacher is detached. Where the teacher is right, it is
/// [`target_class`](super::decoupled::target_class).
///
/// Source: Sun et al. 2025, "Knowledge distillation with refined
/// logits". No deviation.
///
/// # Errors
/// When the shapes do not fit, a label is no class, or T is not finite and above 0.
pub fn sample_confidence(
    student: &Tensor,
    teacher: &Tensor,
    labels: &Tensor,
    temperature: f64,
) -> Result<Tensor> {
    let teacher = operands::logits(student, teacher, "sample_confidence")?;
    let is_label = operands::true_class(labels, student, "sample_confidence")?;
    operands::temperature(temperature, "sample_confidence")?;
    let taken = teacher.argmax(1)?;
    let is_taken = operands::true_class(&taken, &teacher, "sample_confidence")?;
    softened_kl(
        &against_others(student, labels, &is_label, temperature)?,
        &against_others(&teacher, &taken, &is_taken, temperature)?,
        temperature,
    )
}

/// Divergence among the classes that the teacher holds for less likely than the true one (MCD):
///
/// `T²/b · Σ_i KL(p̂_i ‖ q̂_i)`, where p̂ and q̂ are the softmaxes of the teacher's and the student's
/// logits over T, only classes of which the teacher's logit is below that of the label counted. A
/// case that has none costs nothing.
///
/// Shapes, source and errors are those of [`sample_confidence`]. Where the teacher is right, it is
/// [`non_target_class`](super::decoupled::non_target_class).
pub fn masked_correlation(
    student: &Tensor,
    teacher: &Tensor,
    labels: &Tensor,
    temperature: f64,
) -> Result<Tensor> {
    let teacher = operands::logits(student, teacher, "masked_correlation")?;
    operands::true_class(labels, student, "masked_correlation")?;
    operands::temperature(temperature, "masked_correlation")?;
    let masked = teacher.broadcast_ge(&teacher.gather(&labels.unsqueeze(1)?, 1)?)?;
    softened_kl(&without(student, &masked)?, &without(&teacher, &masked)?, temperature)
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::*;
    use crate::loss::decoupled::{non_target_class, target_class};
    use crate::loss::testing::{differences_agree, finite, gradient, noise, refused, scalar};

    type Loss = fn(&Tensor, &Tensor, &Tensor, f64) -> Result<Tensor>;

    const BOTH: [Loss; 2] = [sample_confidence, masked_correlation];

    fn logits() -> Result<(Tensor, Tensor)> {
        Ok(((noise(&[4, 7], 1)? * 3.)?, (noise(&[4, 7], 2)? * 3.)?))
    }

    #[test]
    fn where_the_teacher_is_right_they_are_the_parts_of_decoupled_soft_targets() -> Result<()> {
        let (z, v) = logits()?;
        let right = v.argmax(1)?;
        for (loss, plain) in [(BOTH[0], target_class as Loss), (BOTH[1], non_target_class)] {
            let (ours, plain) =
                (scalar(&loss(&z, &v, &right, 4.)?), scalar(&plain(&z, &v, &right, 4.)?));
            assert!(plain > 1e-2 && (ours - plain).abs() < 1e-5 * plain, "{ours} {plain}");
        }
        Ok(())
    }

    #[test]
    fn a_wrong_teacher_says_how_sure_it_is_and_not_of_what() -> Result<()> {
        // The teacher takes class 1 and the label is 0: a student that is as sure of 0 costs
        // nothing, and one like the teacher does.
        let v = Tensor::new(&[[1f32, 5., 0., -1.]], &Device::Cpu)?;
        let z = Tensor::new(&[[5f32, 1., 0., -1.]], &Device::Cpu)?;
        let y = Tensor::new(&[0u32], &Device::Cpu)?;
        assert!(scalar(&sample_confidence(&z, &v, &y, 1.)?).abs() < 1e-6);
        assert!(scalar(&sample_confidence(&v, &v, &y, 1.)?) > 1.);
        // Only classes 2 and 3 are below the label.
        let g = gradient(&z, |z| masked_correlation(z, &(&v * 2.)?, &y, 1.)).expect("a gradient");
        assert!(g[..2] == [0., 0.] && g[2] != 0. && g[3] != 0., "{g:?}");
        Ok(())
    }

    #[test]
    fn a_case_whose_label_is_the_teachers_last_costs_nothing() -> Result<()> {
        let (z, v) = (noise(&[1, 4], 1)?, Tensor::new(&[[1f32, 5., -3., -1.]], &Device::Cpu)?);
        let y = Tensor::new(&[2u32], &Device::Cpu)?;
        let (value, g) = finite(&z, |z| masked_correlation(z, &v, &y, 4.));
        assert!(value == 0. && g == vec![0.; 4], "{value} {g:?}");
        Ok(())
    }

    #[test]
    fn extreme_logits_and_temperatures_give_numbers() -> Result<()> {
        let z = Tensor::new(&[[90f32, -90., 3.], [-80., 80., 0.], [0., 0., 0.]], &Device::Cpu)?;
        let v = Tensor::new(&[[-90f32, 90., 3.], [80., -80., 0.], [60., 0., 0.]], &Device::Cpu)?;
        let y = Tensor::new(&[0u32, 0, 0], &Device::Cpu)?;
        for temperature in [1e-3, 1., 4., 1e6] {
            for loss in BOTH {
                finite(&z, |z| loss(z, &v, &y, temperature));
            }
        }
        Ok(())
    }

    #[test]
    fn gradients_are_those_of_differences_and_none_reaches_the_teacher() -> Result<()> {
        let ((z, v), y) = (logits()?, Tensor::new(&[2u32, 0, 6, 3], &Device::Cpu)?);
        for loss in BOTH {
            differences_agree(&z, 1, |z| loss(z, &v.to_dtype(z.dtype())?, &y, 4.));
            assert!(gradient(&v, |v| loss(&z, v, &y, 4.)).is_none());
        }
        Ok(())
    }

    #[test]
    fn what_does_not_fit_is_an_error_of_one_line() -> Result<()> {
        let ((z, v), y) = (logits()?, Tensor::new(&[2u32, 0, 6, 3], &Device::Cpu)?);
        let large = Tensor::new(&[2u32, 0, 7, 3], &Device::Cpu)?;
        for (loss, name) in BOTH.iter().zip(["sample_confidence", "masked_correlation"]) {
            for (v, y, temperature) in [
                (&noise(&[4, 6], 1)?, &y, 4.),
                (&v, &large, 4.),
                (&v, &y.narrow(0, 0, 3)?, 4.),
                (&v, &y.to_dtype(DType::I64)?, 4.),
                (&v, &y, 0.),
            ] {
                refused(loss(&z, v, y, temperature), &format!("{name}: expected"));
            }
        }
        Ok(())
    }
}
