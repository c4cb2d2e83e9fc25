//! Cross-entropy with soft targets.

use candle_core::{Result, Tensor};
use kd_kernels::softmax::{log_softmax, softmax};

use super::operands;

/// Cross-entropy of the student with the teacher's predictions:
///
/// `−1/b · Σ_i Σ_c p_ic · ln q_ic`, where `p = softmax(teacher/T)` and `q = softmax(student/T)`.
///
/// `student`, `teacher` `[b, c]`, logits, c ≥ 2; `temperature` T > 0 → scalar. The teacher is
/// detached. There is no factor T². It is [`softened_kl`](super::softened_kl) over T², more by the
/// entropy of p, so its gradient is that of the divergence.
///
/// # Errors
/// When the shapes do not fit, or T is not finite and above 0.
pub fn soft_cross_entropy(student: &Tensor, teacher: &Tensor, temperature: f64) -> Result<Tensor> {
    let teacher = operands::logits(student, teacher, "soft_cross_entropy")?;
    operands::temperature(temperature, "soft_cross_entropy")?;
    let (p, log_q) = (softmax(&(teacher / temperature)?)?, log_softmax(&(student / temperature)?)?);
    p.mul(&log_q)?.sum(1)?.mean_all()?.neg()
}

#[cfg(test)]
mod tests {
    use kd_kernels::softened_kl::softened_kl;

    use super::*;
    use crate::loss::testing::{differences_agree, flat, gradient, noise, refused, scalar};

    #[test]
    fn it_is_the_divergence_and_the_teachers_entropy() -> Result<()> {
        let (z, v) = ((noise(&[4, 7], 1)? * 3.)?, (noise(&[4, 7], 2)? * 3.)?);
        let entropy = flat(&softmax(&(&v / 4.)?)?)?.iter().map(|p| -p * p.ln()).sum::<f64>() / 4.;
        let (whole, kl) =
            (scalar(&soft_cross_entropy(&z, &v, 4.)?), scalar(&softened_kl(&z, &v, 4.)?) / 16.);
        assert!((whole - kl - entropy).abs() < 1e-5 && entropy > 0.5, "{whole} {kl} {entropy}");
        assert!((scalar(&soft_cross_entropy(&v, &v, 4.)?) - entropy).abs() < 1e-5);
        Ok(())
    }

    #[test]
    fn the_gradient_is_that_of_differences_and_none_reaches_the_teacher() -> Result<()> {
        let (z, v) = ((noise(&[4, 7], 1)? * 3.)?, (noise(&[4, 7], 2)? * 3.)?);
        differences_agree(&z, 1, |z| soft_cross_entropy(z, &v.to_dtype(z.dtype())?, 4.));
        assert!(gradient(&v, |v| soft_cross_entropy(&z, v, 4.)).is_none());
        Ok(())
    }

    #[test]
    fn what_does_not_fit_is_an_error_of_one_line() -> Result<()> {
        let z = noise(&[4, 7], 1)?;
        for (v, temperature) in [(&noise(&[4, 6], 1)?, 4.), (&z, 0.), (&z, f64::NAN)] {
            refused(soft_cross_entropy(&z, v, temperature), "soft_cross_entropy: expected");
        }
        Ok(())
    }
}
