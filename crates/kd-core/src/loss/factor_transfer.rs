//! Factor transfer: the distance of the translator's factors from the paraphraser's.

use candle_core::{Result, Tensor, bail};

use super::operands;

/// Distance of two normalised factors:
///
/// `1/(b·hw) · Σ_b Σ_p |a_S(b, p) − a_T(b, p)|^norm`, where `a(b, ·)` is the map `1/c · Σ_c x(b, c,
/// p)^power` over its Euclidean length, p a pixel.
///
/// `student` `[b, c, h, w]`, the translator's output, `teacher` `[b, c', h', w']`, the
/// paraphraser's → scalar. The larger map is average-pooled to the size of the smaller. `power` (2
/// in the published runs) and `norm` (1) are at least 1. The teacher is detached. A factor that is
/// 0 everywhere stays 0, and the derivative of |x| at 0 is 0.
///
/// Source: Kim, Park and Kwak 2018, "Paraphrasing complex network: network compression via factor
/// transfer", equation 3. Deviations, RepDistiller's, which the published numbers are of: channels
/// are averaged away by their squares before factors are normalised, and the mean is taken over
/// batch and pixels.
///
/// The paraphraser learns by the mean squared distance of its reconstruction from its input
/// (equation 1), which is [`hint`](super::hint()).
///
/// # Errors
/// When the shapes do not fit, or `power` or `norm` is 0.
pub fn factor_transfer(
    student: &Tensor,
    teacher: &Tensor,
    power: u32,
    norm: u32,
) -> Result<Tensor> {
    if power == 0 || norm == 0 {
        bail!(
            "factor_transfer: expected power and norm of at least 1, got power {power}, norm {norm}"
        )
    }
    let (student, teacher) = operands::maps(student, teacher, "factor_transfer")?;
    let distance = (factor(&student, power)? - factor(&teacher, power)?)?;
    if norm.is_multiple_of(2) {
        return raised(&distance, norm)?.mean_all();
    }
    raised(&operands::size(&distance)?, norm)?.mean_all()
}

/// `[b, c, h, w]` → `[b, h·w]`, rows of length 1.
fn factor(x: &Tensor, power: u32) -> Result<Tensor> {
    operands::unit(&raised(x, power)?.mean(1)?.flatten_from(1)?)
}

/// xⁿ by products, so that negative values and zeros have the gradient n·xⁿ⁻¹.
fn raised(x: &Tensor, n: u32) -> Result<Tensor> {
    (1..n).try_fold(x.clone(), |product, at| if at == 1 { x.sqr() } else { product.mul(x) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loss::testing::{differences_agree, finite, gradient, noise, refused, scalar};

    #[test]
    fn it_is_zero_with_gradient_zero_between_equals_and_ignores_the_size_of_factors() -> Result<()>
    {
        let (x, t) = (noise(&[3, 5, 4, 4], 1)?, noise(&[3, 7, 4, 4], 2)?);
        for norm in [1, 2, 3] {
            let (value, g) = finite(&x, |s| factor_transfer(s, &x, 2, norm));
            assert!(value == 0. && g.iter().all(|g| *g == 0.), "norm {norm}: {value}");
            let plain = scalar(&factor_transfer(&x, &t, 2, norm)?);
            assert!(
                (scalar(&factor_transfer(&(&x * 3.)?, &t, 2, norm)?) - plain).abs() < 1e-5 * plain
            );
            assert!(plain > 1e-6, "norm {norm}: {plain}");
        }
        Ok(())
    }

    #[test]
    fn with_norm_two_it_is_attention_transfer_s_distance_of_maps_written_out() -> Result<()> {
        let (x, t) = (noise(&[2, 3, 4, 4], 1)?, noise(&[2, 5, 2, 2], 2)?);
        let map = |x: &Tensor| -> Result<Tensor> {
            let a = x.sqr()?.mean(1)?.flatten_from(1)?;
            a.broadcast_div(&a.sqr()?.sum_keepdim(1)?.sqrt()?)
        };
        let want = scalar(&(map(&x.avg_pool2d(2)?)? - map(&t)?)?.sqr()?.mean_all()?);
        let got = scalar(&factor_transfer(&x, &t, 2, 2)?);
        assert!(want > 1e-4 && (got - want).abs() < 1e-5 * want, "{got} {want}");
        Ok(())
    }

    #[test]
    fn maps_of_zeros_give_numbers_in_value_and_gradient() -> Result<()> {
        let (x, t) = (noise(&[2, 5, 4, 4], 1)?, noise(&[2, 3, 4, 4], 2)?);
        finite(&x.zeros_like()?, |s| factor_transfer(s, &t, 2, 1));
        finite(&x, |s| factor_transfer(s, &t.zeros_like()?, 2, 1));
        Ok(())
    }

    #[test]
    fn the_gradient_is_that_of_differences_and_none_reaches_the_teacher() -> Result<()> {
        let (x, t) = (noise(&[2, 3, 4, 4], 1)?, noise(&[2, 4, 2, 2], 2)?);
        for (power, norm) in [(2, 1), (3, 1), (1, 2), (2, 3)] {
            differences_agree(&x, 7, |s| factor_transfer(s, &t.to_dtype(s.dtype())?, power, norm));
        }
        assert!(gradient(&t, |t| factor_transfer(&x, t, 2, 1)).is_none());
        Ok(())
    }

    #[test]
    fn powers_and_shapes_that_do_not_fit_are_errors_of_one_line() -> Result<()> {
        let (x, t) = (noise(&[2, 3, 4, 4], 1)?, noise(&[2, 3, 3, 3], 2)?);
        let sizes = "maps of 4x4 and 3x3 pixels: expected one to be a whole multiple of the other in both directions";
        refused(factor_transfer(&x, &t, 2, 1), &format!("factor_transfer: {sizes}"));
        refused(
            factor_transfer(&x, &x, 0, 1),
            "factor_transfer: expected power and norm of at least 1, got power 0, norm 1",
        );
        Ok(())
    }
}
