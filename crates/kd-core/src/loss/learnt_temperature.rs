//! Soft targets whose temperature is a variable.

use candle_core::{Result, Tensor, bail};

use super::divergences::divergences;
use super::operands;

/// [`softened_kl`](super::softened_kl) at a temperature that is a tensor:
///
/// `T²/b · Σ_i KL(softmax(t_i/T) ‖ softmax(s_i/T))`.
///
/// `student` s, `teacher` t `[b, c]`, logits, c ≥ 2; `temperature` T `[1]`, above 0 → scalar. The
/// teacher is detached. The gradient flows to the student and to T, of both softmaxes and the
/// factor T².
///
/// # Errors
/// When the shapes do not fit.
pub fn softened_kl_at(student: &Tensor, teacher: &Tensor, temperature: &Tensor) -> Result<Tensor> {
    let teacher = operands::logits(student, teacher, "softened_kl_at")?;
    if temperature.dims() != [1] {
        bail!("softened_kl_at: expected a temperature [1], got {:?}", temperature.dims())
    }
    let over = |logits: &Tensor| logits.broadcast_div(temperature);
    let mean = divergences(&over(student)?, &over(&teacher)?)?.mean_keepdim(0)?;
    mean.mul(&temperature.sqr()?)?.sum_all()
}

/// `x` itself, with −`strength` times its gradient: what descends by the gradient of the result
/// ascends by its own (Ganin and Lempitsky 2015, section 3). At a strength of 0 no gradient flows.
///
/// # Errors
/// When a tensor cannot be computed.
pub fn reverse_gradient(x: &Tensor, strength: f64) -> Result<Tensor> {
    let value = x.detach();
    // The difference is 0, so that the value is x to the last bit.
    &value + ((x - &value)? * -strength)?
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};
    use kd_kernels::softened_kl::softened_kl;

    use super::*;
    use crate::loss::testing::{differences_agree, flat, gradient, noise, refused, scalar};

    fn at(t: f64, dtype: DType) -> Result<Tensor> {
        Tensor::new(&[t], &Device::Cpu)?.to_dtype(dtype)
    }

    #[test]
    fn it_is_the_divergence_at_a_temperature_that_is_a_number() -> Result<()> {
        let (z, v) = ((noise(&[4, 7], 1)? * 3.)?, (noise(&[4, 7], 2)? * 3.)?);
        for t in [1., 4., 16.] {
            let (ours, plain) = (
                scalar(&softened_kl_at(&z, &v, &at(t, DType::F32)?)?),
                scalar(&softened_kl(&z, &v, t)?),
            );
            assert!((ours - plain).abs() < 1e-4 * plain, "{t}: {ours} {plain}");
        }
        Ok(())
    }

    #[test]
    fn gradients_of_logits_and_temperature_are_those_of_differences_and_none_reaches_the_teacher()
    -> Result<()> {
        let (z, v) = ((noise(&[4, 7], 1)? * 3.)?, (noise(&[4, 7], 2)? * 3.)?);
        let (z, v) = (z.to_dtype(DType::F64)?, v.to_dtype(DType::F64)?);
        let four = at(4., DType::F64)?;
        differences_agree(&z, 1, |z| softened_kl_at(z, &v, &four));
        differences_agree(&four, 1, |t| softened_kl_at(&z, &v, t));
        assert!(gradient(&v, |v| softened_kl_at(&z, v, &four)).is_none());
        Ok(())
    }

    #[test]
    fn a_reversed_gradient_leaves_the_value_and_turns_the_gradient() -> Result<()> {
        let x = noise(&[5], 1)?;
        assert_eq!(flat(&reverse_gradient(&x, 0.3)?)?, flat(&x)?);
        let g = gradient(&x, |x| reverse_gradient(x, 0.25)?.sqr()?.sum_all()).expect("a gradient");
        let expected: Vec<f64> = flat(&x)?.iter().map(|x| -0.5 * x).collect();
        assert!(g.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-6), "{g:?} {expected:?}");
        let none = gradient(&x, |x| reverse_gradient(x, 0.)?.sqr()?.sum_all());
        assert!(none.is_none_or(|g| g.iter().all(|g| *g == 0.)));
        Ok(())
    }

    #[test]
    fn what_does_not_fit_is_an_error_of_one_line() -> Result<()> {
        let (z, t) = (noise(&[4, 7], 1)?, at(4., DType::F32)?);
        refused(softened_kl_at(&z, &noise(&[4, 6], 1)?, &t), "softened_kl_at: expected logits");
        refused(
            softened_kl_at(&z, &z, &t.squeeze(0)?),
            "softened_kl_at: expected a temperature [1], got []",
        );
        Ok(())
    }
}
