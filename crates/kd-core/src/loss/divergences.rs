//! The divergence of soft targets case by case, for losses that weigh their cases or give each a
//! temperature of its own.

use candle_core::{Result, Tensor};
use kd_kernels::softmax::log_softmax;

/// Kullback-Leibler divergence of each case, in nats:
///
/// `Σ_c p_c · ln(p_c / q_c)`, where `p = softmax(teacher)` and `q = softmax(student)`.
///
/// `student`, `teacher` `[b, c]`, logits over their temperature → `[b]`. Gradients flow to
/// **both**, since a temperature may train; a caller with a fixed teacher detaches it. Where all
/// cases have one temperature and one weight, [`softened_kl`](super::softened_kl) is the mean of
/// it, times T².
///
/// # Errors
/// When the shapes differ or are not `[b, c]`.
pub fn divergences(student: &Tensor, teacher: &Tensor) -> Result<Tensor> {
    let log_p = log_softmax(teacher)?;
    log_p.exp()?.mul(&(&log_p - log_softmax(student)?)?)?.sum(1)
}

#[cfg(test)]
mod tests {
    use kd_kernels::softened_kl::softened_kl;

    use super::*;
    use crate::loss::testing::{differences_agree, flat, gradient, noise, scalar};

    #[test]
    fn their_mean_is_the_divergence_of_soft_targets() -> Result<()> {
        let (z, v) = ((noise(&[4, 7], 1)? * 3.)?, (noise(&[4, 7], 2)? * 3.)?);
        let mean = |z: &Tensor| divergences(&(z / 4.)?, &(&v / 4.)?)?.mean_all()? * 16.;
        let (ours, whole) = (scalar(&mean(&z)?), scalar(&softened_kl(&z, &v, 4.)?));
        assert!((ours - whole).abs() < 1e-5 * whole, "{ours} {whole}");
        let g = gradient(&z, |z| mean(z)).expect("a gradient");
        let whole = gradient(&z, |z| softened_kl(z, &v, 4.)).expect("a gradient");
        assert!(g.iter().zip(&whole).all(|(a, b)| (a - b).abs() < 1e-6), "{g:?} {whole:?}");
        Ok(())
    }

    #[test]
    fn they_are_zero_between_equals_and_above_it_elsewhere() -> Result<()> {
        let (z, v) = (noise(&[4, 7], 1)?, noise(&[4, 7], 2)?);
        assert!(flat(&divergences(&z, &(&z + 3.)?)?)?.iter().all(|d| d.abs() < 1e-6));
        assert!(flat(&divergences(&z, &v)?)?.iter().all(|d| *d > 0.1));
        Ok(())
    }

    #[test]
    fn gradients_of_both_are_those_of_differences() -> Result<()> {
        let (z, v) = (noise(&[4, 7], 1)?, noise(&[4, 7], 2)?);
        differences_agree(&z, 1, |z| divergences(z, &v.to_dtype(z.dtype())?)?.mean_all());
        differences_agree(&v, 1, |v| divergences(&z.to_dtype(v.dtype())?, v)?.mean_all());
        Ok(())
    }

    #[test]
    fn shapes_that_differ_are_an_error() -> Result<()> {
        assert!(divergences(&noise(&[4, 7], 1)?, &noise(&[4, 6], 1)?).is_err());
        Ok(())
    }
}
