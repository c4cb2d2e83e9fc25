//! Variational information distillation.

use candle_core::{Result, Tensor, bail};
use kd_kernels::softmax::log_sum_exp;
use kd_kernels::squared_distance::channel_distance;

use super::operands;

/// Negative log-likelihood of the teacher's features under normal distributions, one variance a
/// channel, without the constant ½·ln 2π:
///
/// `1/(b·c·hw) · Σ ½ · ((μ − t)² / v_c + ln v_c)`, where `v_c = ln(1 + e^{a_c}) + eps`.
///
/// `mean` μ and `teacher` `[b, c, h, w]`, `log_scale` a `[c]` → scalar. Gradients flow to mean and
/// log-scale; the teacher is detached. The loss has no lower bound of 0: at `v → 0` with μ = t it
/// falls with ln v, and `eps` is what bounds it.
///
/// Source: Ahn et al. 2019, "Variational information distillation for knowledge transfer", section
/// 2. No deviation.
///
/// # Errors
/// When the shapes do not fit.
pub fn variational_information(
    mean: &Tensor,
    log_scale: &Tensor,
    teacher: &Tensor,
    eps: f64,
) -> Result<Tensor> {
    let teacher = operands::alike(mean, teacher, "variational_information")?;
    let &[_, c, _, _] = mean.dims() else {
        bail!("variational_information: expected maps [b, c, h, w], got {:?}", mean.dims())
    };
    if log_scale.dims() != [c] {
        bail!(
            "variational_information: expected a log-scale [{c}], one for each channel of the teacher, got {:?}",
            log_scale.dims()
        )
    }
    let variance = (softplus(log_scale)? + eps)?;
    // Over a channel the variance is one number, so that only the mean squared distance of each is
    // taken from the maps.
    (channel_distance(mean, &teacher)?.div(&variance)? + variance.log()?)?.mean_all()? * 0.5
}

/// The log-scale at which `v = variance`, which is above eps: `ln(e^{variance − eps} − 1)`.
pub fn log_scale_of(variance: f64, eps: f64) -> f64 {
    let above = variance - eps;
    // ln(e^x − 1) = x + ln(1 − e^−x), which does not overflow.
    above + (-(-above).exp_m1()).ln()
}

/// ln(1 + e^x), which does not overflow for large x.
fn softplus(x: &Tensor) -> Result<Tensor> {
    log_sum_exp(&Tensor::stack(&[x, &x.zeros_like()?], 1)?)
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::*;
    use crate::loss::testing::{differences_agree, finite, gradient, noise, refused, scalar};

    #[test]
    fn between_equals_half_the_mean_log_variance_is_left() -> Result<()> {
        let x = noise(&[2, 3, 2, 2], 1)?;
        for variance in [0.5, 1., 5., 1e4] {
            let a = Tensor::full(log_scale_of(variance, 1e-5) as f32, 3, &Device::Cpu)?;
            let value = scalar(&variational_information(&x, &a, &x, 1e-5)?);
            assert!((value - 0.5 * variance.ln()).abs() < 2e-6, "{value} at {variance}");
        }
        Ok(())
    }

    #[test]
    fn the_best_variance_of_a_channel_is_its_mean_squared_distance() -> Result<()> {
        let (x, t) = (
            noise(&[4, 1, 3, 3], 1)?.to_dtype(DType::F64)?,
            noise(&[4, 1, 3, 3], 2)?.to_dtype(DType::F64)?,
        );
        let best = scalar(&(&x - &t)?.sqr()?.mean_all()?);
        let at = |variance: f64| -> Result<f64> {
            Ok(scalar(&variational_information(
                &x,
                &Tensor::new(&[log_scale_of(variance, 0.)], &Device::Cpu)?,
                &t,
                0.,
            )?))
        };
        assert!(at(best)? < at(best * 1.01)? && at(best)? < at(best * 0.99)?);
        Ok(())
    }

    #[test]
    fn log_scales_of_any_size_give_numbers() -> Result<()> {
        let (x, t) = (noise(&[2, 4, 2, 2], 1)?, noise(&[2, 4, 2, 2], 2)?);
        let a = Tensor::new(&[-200f32, 0., 89., 1e4], &Device::Cpu)?;
        finite(&x, |x| variational_information(x, &a, &t, 1e-5));
        let (_, g) = finite(&a, |a| variational_information(&x, a, &t, 1e-5));
        assert!(g[0] == 0. && g[1] != 0. && g[2] > 0. && g[3] > 0., "{g:?}");
        Ok(())
    }

    #[test]
    fn gradients_of_mean_and_log_scale_are_those_of_differences_and_none_reaches_the_teacher()
    -> Result<()> {
        let double = |dims: &[usize], seed| noise(dims, seed)?.to_dtype(DType::F64);
        let (x, t, a) = (double(&[2, 3, 2, 2], 1)?, double(&[2, 3, 2, 2], 2)?, double(&[3], 3)?);
        differences_agree(&x, 1, |x| variational_information(x, &a, &t, 1e-5));
        differences_agree(&a, 1, |a| variational_information(&x, a, &t, 1e-5));
        assert!(gradient(&t, |t| variational_information(&x, &a, t, 1e-5)).is_none());
        Ok(())
    }

    #[test]
    fn shapes_that_do_not_fit_are_errors_of_one_line() -> Result<()> {
        let (x, a) = (noise(&[2, 3, 2, 2], 1)?, noise(&[3], 1)?);
        for (x, a, t) in
            [(&x, &a, &noise(&[2, 4, 2, 2], 1)?), (&x, &noise(&[2], 1)?, &x), (&a, &a, &a)]
        {
            refused(variational_information(x, a, t, 1e-5), "variational_information: ");
        }
        Ok(())
    }
}
