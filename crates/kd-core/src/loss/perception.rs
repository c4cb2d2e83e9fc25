//! Logits as a class sees them: how much above its usual one each is.

use candle_core::{Result, Tensor};
use kd_kernels::softened_kl::softened_kl;

use super::operands;

/// What is added to a variance.
const EPSILON: f64 = 1e-5;

/// Divergence of soft targets of the perceptions of student and teacher:
///
/// `1/b · Σ_i KL(softmax(P(t)_i/T) ‖ softmax(P(s)_i/T))`, where
/// `P(z)_ic = (z_ic − m_c) / √(v_c + 1e-5)` and m_c and v_c are mean and variance (over b) of the
/// logits of class c in the batch.
///
/// `student` s, `teacher` t `[b, c]`, logits, c ≥ 2; `temperature` T > 0 → scalar. The teacher is
/// detached; the student's gradient flows through mean and variance too. There is no factor T². A
/// class whose logits are all equal has the perception 0, so that a batch of one costs nothing.
///
/// Source: Hossain et al. 2025, "LumiNet: perception-driven knowledge distillation via statistical
/// logit calibration". No deviation.
///
/// # Errors
/// When the shapes do not fit, or T is not finite and above 0.
pub fn perception_divergence(
    student: &Tensor,
    teacher: &Tensor,
    temperature: f64,
) -> Result<Tensor> {
    let teacher = operands::logits(student, teacher, "perception_divergence")?;
    operands::temperature(temperature, "perception_divergence")?;
    let divergence = softened_kl(&perception(student)?, &perception(&teacher)?, temperature)?;
    divergence * (1. / (temperature * temperature))
}

fn perception(logits: &Tensor) -> Result<Tensor> {
    let centred = logits.broadcast_sub(&logits.mean_keepdim(0)?)?;
    let variance = centred.sqr()?.mean_keepdim(0)?;
    centred.broadcast_div(&(variance + EPSILON)?.sqrt()?)
}

#[cfg(test)]
mod tests {
    use candle_core::DType;

    use super::*;
    use crate::loss::testing::{differences_agree, finite, gradient, noise, refused, scalar};

    #[test]
    fn it_is_zero_between_equals_and_ignores_shift_and_scale_of_a_class() -> Result<()> {
        let (z, v) = ((noise(&[5, 7], 1)? * 3.)?, (noise(&[5, 7], 2)? * 3.)?);
        assert!(scalar(&perception_divergence(&z, &z, 4.)?).abs() < 1e-7);
        let factors = (noise(&[1, 7], 3)?.abs()? + 1.)?;
        let moved = z.broadcast_mul(&factors)?.broadcast_add(&noise(&[1, 7], 4)?)?;
        let (a, b) = (
            scalar(&perception_divergence(&z, &v, 4.)?),
            scalar(&perception_divergence(&moved, &v, 4.)?),
        );
        assert!(a > 1e-2 && (a - b).abs() < 1e-4 * a, "{a} {b}");
        Ok(())
    }

    #[test]
    fn a_case_is_seen_beside_the_others_of_its_batch() -> Result<()> {
        let (z, v) = (noise(&[5, 7], 1)?.to_dtype(DType::F64)?, noise(&[5, 7], 2)?);
        let v = v.to_dtype(DType::F64)?;
        let part = |x: &Tensor, from, rows| x.narrow(0, from, rows);
        let parts = [(0, 2), (2, 3)]
            .map(|(from, rows)| -> Result<f64> {
                let (z, v) = (part(&z, from, rows)?, part(&v, from, rows)?);
                Ok(scalar(&perception_divergence(&z, &v, 4.)?) * rows as f64)
            })
            .into_iter()
            .sum::<Result<f64>>()?;
        assert!((parts - 5. * scalar(&perception_divergence(&z, &v, 4.)?)).abs() > 1e-2);
        Ok(())
    }

    #[test]
    fn a_batch_of_one_costs_nothing() -> Result<()> {
        let (value, g) =
            finite(&noise(&[1, 7], 1)?, |z| perception_divergence(z, &noise(&[1, 7], 2)?, 4.));
        assert!(value == 0. && g.iter().all(|g| *g == 0.), "{value} {g:?}");
        Ok(())
    }

    #[test]
    fn the_gradient_is_that_of_differences_and_none_reaches_the_teacher() -> Result<()> {
        let (z, v) = ((noise(&[5, 7], 1)? * 3.)?, (noise(&[5, 7], 2)? * 3.)?);
        differences_agree(&z, 1, |z| perception_divergence(z, &v.to_dtype(z.dtype())?, 4.));
        assert!(gradient(&v, |v| perception_divergence(&z, v, 4.)).is_none());
        Ok(())
    }

    #[test]
    fn what_does_not_fit_is_an_error_of_one_line() -> Result<()> {
        let z = noise(&[4, 7], 1)?;
        for (v, temperature) in [(&noise(&[4, 6], 1)?, 4.), (&z, 0.), (&z, f64::NAN)] {
            refused(perception_divergence(&z, v, temperature), "perception_divergence: expected");
        }
        Ok(())
    }
}
