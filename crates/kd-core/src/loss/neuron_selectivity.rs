//! Neuron selectivity transfer.

use candle_core::{Result, Tensor};
use kd_kernels::polynomial_mmd::polynomial_mmd;

use super::operands;

/// Squared maximum mean discrepancy between where the channels of student and teacher respond,
/// under the kernel `k(x, y) = (xᵀy)²`, mean over the batch:
///
/// `1/b · Σ_b [ 1/c'² · Σ_ij k(t_i, t_j) + 1/c² · Σ_ij k(s_i, s_j) − 2/(c·c') · Σ_ij k(s_i, t_j)
/// ]`, where `s_i` is channel i of the student's map, flattened and brought to length 1, and `t_j`
/// the teacher's.
///
/// `student` `[b, c, h, w]`, `teacher` `[b, c', h', w']` → scalar: one pair of maps; a method sums
/// over pairs. The larger map is average-pooled to the size of the smaller. The teacher is
/// detached. A channel that is 0 everywhere stays 0, with gradient 0. Below 0 only by rounding.
///
/// Source: Huang and Wang 2017, "Like what you like: knowledge distill via neuron selectivity
/// transfer", section 4 (polynomial kernel, d = 2, c = 0). No deviation.
///
/// # Errors
/// When the shapes do not fit.
pub fn neuron_selectivity(student: &Tensor, teacher: &Tensor) -> Result<Tensor> {
    let (student, teacher) = operands::maps(student, teacher, "neuron_selectivity")?;
    polynomial_mmd(&student, &teacher)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loss::testing::{differences_agree, finite, gradient, noise, refused, scalar};

    #[test]
    fn it_is_zero_between_equals_and_above_zero_between_others() -> Result<()> {
        let x = noise(&[2, 3, 4, 4], 1)?;
        assert!(scalar(&neuron_selectivity(&x, &x)?).abs() < 1e-7);
        for seed in 2..12 {
            assert!(scalar(&neuron_selectivity(&x, &noise(&[2, 5, 4, 4], seed)?)?) > 1e-2);
        }
        Ok(())
    }

    #[test]
    fn it_ignores_the_order_the_signs_and_the_sizes_of_channels() -> Result<()> {
        let (x, t) = (noise(&[2, 3, 4, 4], 1)?, noise(&[2, 5, 4, 4], 2)?);
        let other = Tensor::cat(&[&(x.narrow(1, 1, 2)? * -3.)?, &(x.narrow(1, 0, 1)? * 0.5)?], 1)?;
        let (a, b) =
            (scalar(&neuron_selectivity(&x, &t)?), scalar(&neuron_selectivity(&other, &t)?));
        assert!((a - b).abs() < 1e-6, "{a} {b}");
        Ok(())
    }

    #[test]
    fn it_is_the_distance_of_the_mean_second_moments_of_the_channels() -> Result<()> {
        let (x, t) = (noise(&[2, 3, 2, 2], 1)?, noise(&[2, 5, 2, 2], 2)?);
        let moments = |x: &Tensor| -> Result<Tensor> {
            let unit = operands::unit(&x.flatten_from(2)?)?;
            unit.t()?.matmul(&unit)? * (1. / x.dim(1)? as f64)
        };
        let expected = scalar(&((moments(&x)? - moments(&t)?)?.sqr()?.sum_all()? * 0.5)?);
        let value = scalar(&neuron_selectivity(&x, &t)?);
        assert!((value - expected).abs() < 1e-6, "{value} {expected}");
        Ok(())
    }

    #[test]
    fn channels_of_zeros_give_numbers_in_value_and_gradient() -> Result<()> {
        let (x, t) = (noise(&[2, 3, 2, 2], 1)?, noise(&[2, 5, 2, 2], 2)?);
        let some_zero = Tensor::cat(&[&x.narrow(1, 0, 2)?, &x.narrow(1, 2, 1)?.zeros_like()?], 1)?;
        for student in [some_zero, x.zeros_like()?] {
            let (_, g) = finite(&student, |s| neuron_selectivity(s, &t));
            assert!(g.iter().all(|g| g.abs() < 1e3), "{g:?}");
            finite(&student, |s| neuron_selectivity(s, &t.zeros_like()?));
        }
        Ok(())
    }

    #[test]
    fn the_gradient_is_that_of_differences_and_none_reaches_the_teacher() -> Result<()> {
        let (x, t) = (noise(&[2, 3, 4, 4], 1)?, noise(&[2, 5, 2, 2], 2)?);
        differences_agree(&x, 1, |s| neuron_selectivity(s, &t.to_dtype(s.dtype())?));
        assert!(gradient(&t, |t| neuron_selectivity(&x, t)).is_none());
        Ok(())
    }

    #[test]
    fn shapes_that_do_not_fit_are_errors_of_one_line() -> Result<()> {
        for t in [noise(&[3, 3, 4, 4], 1)?, noise(&[2, 3, 3, 3], 1)?, noise(&[2, 3, 16], 1)?] {
            refused(neuron_selectivity(&noise(&[2, 3, 4, 4], 1)?, &t), "neuron_selectivity: ");
        }
        Ok(())
    }
}
