//! The α-β-divergence of soft targets.

use candle_core::{Result, Tensor, bail};
use kd_kernels::softmax::log_softmax;

use super::operands;

/// A family of divergences that says how much a class matters by how likely the teacher holds it,
/// and how much by how likely the student does:
///
/// `−1/(α·β·b) · Σ_i Σ_c [p^α·q^β − α/(α+β) · p^(α+β) − β/(α+β) · q^(α+β)]`, where `p =
/// softmax(teacher/T)` and `q = softmax(student/T)`.
///
/// `student`, `teacher` `[b, c]`, logits, c ≥ 2; `alpha`, `beta` above 0; `temperature` T > 0 →
/// scalar, at least 0, without a factor T². The teacher is detached. α = 1 and β → 0 is the
/// Kullback-Leibler divergence of [`softened_kl`](super::softened_kl), α → 0 and β = 1 its reverse,
/// α = β = 1 half the squared distance, and α = β = 1/2 four times the squared Hellinger distance.
///
/// Source: Wang et al. 2025, "ABKD: pursuing a proper allocation of the probability mass in
/// knowledge distillation via α-β-divergence". Deviation: exponents of 0 or less, whose
/// limits have formulas of their own, are refused.
///
/// # Errors
/// When the shapes do not fit, or an exponent or T is not finite and above 0.
pub fn alpha_beta_divergence(
    student: &Tensor,
    teacher: &Tensor,
    alpha: f64,
    beta: f64,
    temperature: f64,
) -> Result<Tensor> {
    const NAME: &str = "alpha_beta_divergence";
    let teacher = operands::logits(student, teacher, NAME)?;
    operands::temperature(temperature, NAME)?;
    if !(alpha > 0. && beta > 0. && (alpha + beta).is_finite()) {
        bail!("{NAME}: expected finite exponents above 0, got alpha {alpha}, beta {beta}")
    }
    let (log_p, log_q) =
        (log_softmax(&(teacher / temperature)?)?, log_softmax(&(student / temperature)?)?);
    let sum = alpha + beta;
    let both = ((&log_p * alpha)? + (&log_q * beta)?)?.exp()?;
    let own = ((log_p * sum)?.exp()? * (alpha / sum))? + ((log_q * sum)?.exp()? * (beta / sum))?;
    (own? - both)?.sum(1)?.mean_all()? * (1. / (alpha * beta))
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};
    use kd_kernels::softened_kl::softened_kl;
    use kd_kernels::softmax::softmax;

    use super::*;
    use crate::loss::testing::{differences_agree, finite, gradient, noise, refused, scalar};

    fn logits() -> Result<(Tensor, Tensor)> {
        let f64s = |seed| (noise(&[4, 7], seed)?.to_dtype(DType::F64)? * 3.)?.copy();
        Ok((f64s(1)?, f64s(2)?))
    }

    #[test]
    fn it_is_zero_between_equals_above_it_elsewhere_and_ignores_a_shift_of_each_case() -> Result<()>
    {
        let (z, v) = logits()?;
        for (alpha, beta) in [(0.8, 0.3), (0.2, 0.7), (1.5, 0.5)] {
            let loss = |z: &Tensor, v: &Tensor| -> Result<f64> {
                Ok(scalar(&alpha_beta_divergence(z, v, alpha, beta, 4.)?))
            };
            assert!(loss(&z, &z)?.abs() < 1e-12);
            let (a, b) = (loss(&z, &v)?, loss(&(&z + 5.)?, &(&v - 3.)?)?);
            assert!(a > 1e-2 && (a - b).abs() < 1e-9 * a, "{a} {b}");
        }
        Ok(())
    }

    #[test]
    fn its_corners_are_the_divergences_that_have_names() -> Result<()> {
        let (z, v) = logits()?;
        let ours = |z: &Tensor, v: &Tensor, alpha, beta| -> Result<f64> {
            Ok(scalar(&alpha_beta_divergence(z, v, alpha, beta, 4.)?))
        };
        let (p, q) = (softmax(&(&v / 4.)?)?, softmax(&(&z / 4.)?)?);
        let squares = |x: Tensor| -> Result<f64> { Ok(scalar(&x.sqr()?.sum_all()?) / 4.) };
        let euclid = squares((&p - &q)?)? / 2.;
        let hellinger = squares((p.sqrt()? - q.sqrt()?)?)? / 2.;
        let (kl, reverse) =
            (scalar(&softened_kl(&z, &v, 4.)?) / 16., scalar(&softened_kl(&v, &z, 4.)?) / 16.);
        for (alpha, beta, expected, tolerance) in [
            (1., 1., euclid, 1e-12),
            (0.5, 0.5, 4. * hellinger, 1e-12),
            (1., 1e-5, kl, 1e-3),
            (1e-5, 1., reverse, 1e-3),
        ] {
            let value = ours(&z, &v, alpha, beta)?;
            assert!(
                (value - expected).abs() < tolerance * expected,
                "{alpha} {beta}: {value}, expected {expected}"
            );
        }
        assert!((ours(&z, &v, 0.8, 0.3)? - ours(&v, &z, 0.3, 0.8)?).abs() < 1e-12);
        Ok(())
    }

    #[test]
    fn extreme_logits_give_numbers() -> Result<()> {
        let z = Tensor::new(&[[900f32, -900., 3.], [0., 0., 0.]], &Device::Cpu)?;
        let v = Tensor::new(&[[-900f32, 900., 3.], [600., 0., 0.]], &Device::Cpu)?;
        for (alpha, beta) in [(0.8, 0.3), (1e-3, 1e-3), (5., 5.)] {
            finite(&z, |z| alpha_beta_divergence(z, &v, alpha, beta, 1.));
        }
        Ok(())
    }

    #[test]
    fn the_gradient_is_that_of_differences_and_none_reaches_the_teacher() -> Result<()> {
        let (z, v) = logits()?;
        for (alpha, beta) in [(0.8, 0.3), (0.3, 1.2)] {
            differences_agree(&z, 1, |z| alpha_beta_divergence(z, &v, alpha, beta, 4.));
            assert!(gradient(&v, |v| alpha_beta_divergence(&z, v, alpha, beta, 4.)).is_none());
        }
        Ok(())
    }

    #[test]
    fn what_does_not_fit_is_an_error_of_one_line() -> Result<()> {
        let (z, small) = (noise(&[4, 7], 1)?, noise(&[4, 6], 1)?);
        for (v, alpha, beta, temperature) in [
            (&small, 0.8, 0.3, 4.),
            (&z, 0., 0.3, 4.),
            (&z, 0.8, -0.3, 4.),
            (&z, f64::NAN, 0.3, 4.),
            (&z, 0.8, f64::INFINITY, 4.),
            (&z, 0.8, 0.3, 0.),
        ] {
            refused(
                alpha_beta_divergence(&z, v, alpha, beta, temperature),
                "alpha_beta_divergence: expected",
            );
        }
        Ok(())
    }
}
