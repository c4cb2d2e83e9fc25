//! Matching a teacher whose probabilities are raised to a power, without a temperature of the
//! student's.

use candle_core::{Result, Tensor, bail};
use kd_kernels::softmax::log_sum_exp;

use super::divergences::divergences;
use super::operands;

/// Divergence of the student from the transformed teacher (TTM):
///
/// `1/b · Σ_i KL(p̂_i ‖ softmax(s_i))`, where `p̂ = p^γ / Σ_c p_c^γ` and `p = softmax(t)`.
///
/// `student` s, `teacher` t `[b, c]`, logits, c ≥ 2; `exponent` γ, finite and at least 0 → scalar.
/// The teacher is detached. p̂ is the softmax of γ·t, that of temperature 1/γ; there is neither a
/// temperature of the student nor a factor T².
///
/// Source: Zheng and Yang 2024, "Knowledge distillation based on transformed teacher matching".
/// No deviation.
///
/// # Errors
/// When the shapes do not fit, or γ is no finite number of at least 0.
pub fn transformed_teacher(student: &Tensor, teacher: &Tensor, exponent: f64) -> Result<Tensor> {
    let teacher = check(student, teacher, exponent)?;
    divergences(student, &(teacher * exponent)?)?.mean_all()
}

/// The same, each case weighed by what the powers add up to, which is the larger the less sure the
/// teacher is (WTTM): `1/b · Σ_i U_i · KL(p̂_i ‖ softmax(s_i))`, where `U_i = Σ_c p_c^γ`.
///
/// Shapes and errors are those of [`transformed_teacher`]. Where γ < 1, the weight is from 1, for a
/// teacher that is sure, to c^(1 − γ).
///
/// Source: the same. No deviation.
pub fn weighted_transformed_teacher(
    student: &Tensor,
    teacher: &Tensor,
    exponent: f64,
) -> Result<Tensor> {
    let teacher = check(student, teacher, exponent)?;
    let powered = (&teacher * exponent)?;
    let log_weights = (log_sum_exp(&powered)? - (log_sum_exp(&teacher)? * exponent)?)?;
    divergences(student, &powered)?.mul(&log_weights.exp()?)?.mean_all()
}

/// The detached teacher.
fn check(student: &Tensor, teacher: &Tensor, exponent: f64) -> Result<Tensor> {
    if !(exponent.is_finite() && exponent >= 0.) {
        bail!("transformed_teacher: expected a finite exponent of at least 0, got {exponent}")
    }
    operands::logits(student, teacher, "transformed_teacher")
}

#[cfg(test)]
mod tests {
    use kd_kernels::softened_kl::softened_kl;

    use super::*;
    use crate::loss::testing::{differences_agree, finite, gradient, noise, refused, scalar};

    type Loss = fn(&Tensor, &Tensor, f64) -> Result<Tensor>;

    const BOTH: [Loss; 2] = [transformed_teacher, weighted_transformed_teacher];

    #[test]
    fn at_the_exponent_one_both_are_the_divergence_at_temperature_one() -> Result<()> {
        let (z, v) = ((noise(&[4, 7], 1)? * 3.)?, (noise(&[4, 7], 2)? * 3.)?);
        let plain = scalar(&softened_kl(&z, &v, 1.)?);
        for loss in BOTH {
            let value = scalar(&loss(&z, &v, 1.)?);
            assert!((value - plain).abs() < 1e-5 * plain, "{value} {plain}");
        }
        Ok(())
    }

    #[test]
    fn both_are_zero_for_a_student_that_is_the_transformed_teacher_and_ignore_shifts() -> Result<()>
    {
        let (z, v) = ((noise(&[4, 7], 1)? * 3.)?, (noise(&[4, 7], 2)? * 3.)?);
        for loss in BOTH {
            assert!(scalar(&loss(&(&v * 0.3)?, &v, 0.3)?).abs() < 1e-5);
            let (a, b) =
                (scalar(&loss(&z, &v, 0.3)?), scalar(&loss(&(&z + 5.)?, &(&v - 3.)?, 0.3)?));
            assert!(a > 1e-2 && (a - b).abs() < 1e-5 * a, "{a} {b}");
        }
        Ok(())
    }

    #[test]
    fn a_case_weighs_from_one_where_the_teacher_is_sure_to_the_number_of_classes_where_it_is_not()
    -> Result<()> {
        // One case at a time: the second loss over the first is its weight.
        let z = noise(&[1, 7], 1)?;
        let mut sure = vec![0f32; 7];
        sure[3] = 60.;
        let sure = Tensor::from_vec(sure, (1, 7), z.device())?;
        let unsure = sure.zeros_like()?;
        let weight = |v: &Tensor, exponent| -> Result<f64> {
            let plain = scalar(&transformed_teacher(&z, v, exponent)?);
            Ok(scalar(&weighted_transformed_teacher(&z, v, exponent)?) / plain)
        };
        assert!((weight(&sure, 0.8)? - 1.).abs() < 1e-3);
        assert!((weight(&unsure, 0.2)? - 7f64.powf(0.8)).abs() < 1e-4);
        assert!((weight(&sure, 0.)? - 7.).abs() < 1e-4);
        Ok(())
    }

    #[test]
    fn extreme_logits_give_numbers() -> Result<()> {
        let z = Tensor::new(&[[900f32, -900., 3.], [0., 0., 0.]], &candle_core::Device::Cpu)?;
        let v = Tensor::new(&[[-900f32, 900., 3.], [600., 0., 0.]], &candle_core::Device::Cpu)?;
        for exponent in [0., 0.1, 1., 5.] {
            for loss in BOTH {
                finite(&z, |z| loss(z, &v, exponent));
            }
        }
        Ok(())
    }

    #[test]
    fn gradients_are_those_of_differences_and_none_reaches_the_teacher() -> Result<()> {
        let (z, v) = ((noise(&[4, 7], 1)? * 3.)?, (noise(&[4, 7], 2)? * 3.)?);
        for loss in BOTH {
            differences_agree(&z, 1, |z| loss(z, &v.to_dtype(z.dtype())?, 0.3));
            assert!(gradient(&v, |v| loss(&z, v, 0.3)).is_none());
        }
        Ok(())
    }

    #[test]
    fn what_does_not_fit_is_an_error_of_one_line() -> Result<()> {
        let z = noise(&[4, 7], 1)?;
        for loss in BOTH {
            refused(loss(&z, &noise(&[4, 6], 1)?, 0.1), "transformed_teacher: expected logits");
            for exponent in [-0.1, f64::NAN, f64::INFINITY] {
                refused(loss(&z, &z, exponent), "transformed_teacher: expected a finite exponent");
            }
        }
        Ok(())
    }
}
