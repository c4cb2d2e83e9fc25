//! Normalised knowledge distillation: cross-entropy with the teacher's prediction of the true
//! class, and with those of the others brought to a sum of 1.

use candle_core::{Result, Tensor};
use kd_kernels::softmax::{log_softmax, softmax};

use super::decoupled::without;
use super::operands;
use super::soft_cross_entropy::soft_cross_entropy;

/// Cross-entropy with the labels, each case weighed by what the teacher gives the true class:
///
/// `−1/b · Σ_i p_iy · ln q_iy`, where `p = softmax(teacher)`, `q = softmax(student)`, and y is the
/// label.
///
/// `student`, `teacher` `[b, c]`, logits, c ≥ 2; `labels` u32 `[b]` → scalar. The teacher is
/// detached.
///
/// Source: Yang et al. 2023, "From knowledge distillation to self-knowledge distillation: a unified
/// approach with normalized loss and customized soft labels". No deviation.
///
/// # Errors
/// When the shapes do not fit, or a label is no class.
pub fn trusted_labels(student: &Tensor, teacher: &Tensor, labels: &Tensor) -> Result<Tensor> {
    let teacher = operands::logits(student, teacher, "trusted_labels")?;
    operands::true_class(labels, student, "trusted_labels")?;
    let of_label = |x: Tensor| x.gather(&labels.unsqueeze(1)?, 1);
    of_label(softmax(&teacher)?)?.mul(&of_label(log_softmax(student)?)?)?.mean_all()?.neg()
}

/// Cross-entropy with the teacher among the classes that are not the true one:
///
/// `−T²/b · Σ_i Σ_{c≠y} p̂_ic · ln q̂_ic`, where p̂ and q̂ are the softmaxes of the teacher's and the
/// student's logits over T, the true class left out.
///
/// `temperature` T > 0; else shapes, source and errors are those of [`trusted_labels`].
pub fn other_classes(
    student: &Tensor,
    teacher: &Tensor,
    labels: &Tensor,
    temperature: f64,
) -> Result<Tensor> {
    let teacher = operands::logits(student, teacher, "other_classes")?;
    let is_label = operands::true_class(labels, student, "other_classes")?;
    let entropy = soft_cross_entropy(
        &without(student, &is_label)?,
        &without(&teacher, &is_label)?,
        temperature,
    )?;
    entropy * (temperature * temperature)
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::*;
    use crate::loss::decoupled::non_target_class;
    use crate::loss::testing::{differences_agree, finite, gradient, noise, refused, scalar};

    fn case() -> Result<(Tensor, Tensor, Tensor)> {
        let labels = Tensor::new(&[2u32, 0, 6, 3], &Device::Cpu)?;
        Ok(((noise(&[4, 7], 1)? * 3.)?, (noise(&[4, 7], 2)? * 3.)?, labels))
    }

    #[test]
    fn a_teacher_that_is_sure_of_the_labels_leaves_the_cross_entropy_with_them() -> Result<()> {
        let (z, _, y) = case()?;
        let classes = Tensor::arange(0u32, 7, &Device::Cpu)?.unsqueeze(0)?;
        let sure = (y.unsqueeze(1)?.broadcast_eq(&classes)?.to_dtype(DType::F32)? * 90.)?;
        let plain = scalar(&kd_kernels::cross_entropy::cross_entropy(&z, &y)?);
        assert!((scalar(&trusted_labels(&z, &sure, &y)?) - plain).abs() < 1e-5 * plain);
        let unsure = scalar(&trusted_labels(&z, &sure.zeros_like()?, &y)?);
        assert!((unsure - plain / 7.).abs() < 1e-5 * plain, "{unsure} {plain}");
        Ok(())
    }

    #[test]
    fn the_others_have_the_gradient_of_their_divergence_and_the_true_class_none() -> Result<()> {
        let (z, v, y) = case()?;
        let g = gradient(&z, |z| other_classes(z, &v, &y, 4.)).expect("a gradient");
        let kl = gradient(&z, |z| non_target_class(z, &v, &y, 4.)).expect("a gradient");
        assert!(g.iter().zip(&kl).all(|(a, b)| (a - b).abs() < 1e-6), "{g:?} {kl:?}");
        for (i, label) in y.to_vec1::<u32>()?.into_iter().enumerate() {
            assert_eq!(g[i * 7 + label as usize], 0.);
        }
        Ok(())
    }

    #[test]
    fn extreme_logits_and_temperatures_give_numbers() -> Result<()> {
        let z = Tensor::new(&[[90f32, -90., 3.], [-80., 80., 0.], [0., 0., 0.]], &Device::Cpu)?;
        let v = Tensor::new(&[[-90f32, 90., 3.], [80., -80., 0.], [60., 0., 0.]], &Device::Cpu)?;
        let y = Tensor::new(&[0u32, 0, 0], &Device::Cpu)?;
        finite(&z, |z| trusted_labels(z, &v, &y));
        for temperature in [1e-3, 1., 4., 1e6] {
            finite(&z, |z| other_classes(z, &v, &y, temperature));
        }
        Ok(())
    }

    #[test]
    fn gradients_are_those_of_differences_and_none_reaches_the_teacher() -> Result<()> {
        let (z, v, y) = case()?;
        differences_agree(&z, 1, |z| trusted_labels(z, &v.to_dtype(z.dtype())?, &y));
        differences_agree(&z, 1, |z| other_classes(z, &v.to_dtype(z.dtype())?, &y, 4.));
        assert!(gradient(&v, |v| trusted_labels(&z, v, &y)).is_none());
        assert!(gradient(&v, |v| other_classes(&z, v, &y, 4.)).is_none());
        Ok(())
    }

    #[test]
    fn what_does_not_fit_is_an_error_of_one_line() -> Result<()> {
        let (z, _, y) = case()?;
        let large = Tensor::new(&[2u32, 0, 7, 3], &Device::Cpu)?;
        for (v, y) in [(&noise(&[4, 6], 1)?, &y), (&z, &large), (&z, &y.narrow(0, 0, 3)?)] {
            refused(trusted_labels(&z, v, y), "trusted_labels: expected");
            refused(other_classes(&z, v, y, 4.), "other_classes: expected");
        }
        assert!(other_classes(&z, &z, &y, 0.).is_err());
        Ok(())
    }
}
