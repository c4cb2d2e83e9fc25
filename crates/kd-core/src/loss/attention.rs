//! Attention transfer.

use candle_core::{Result, Tensor};
use kd_kernels::energy::channel_energy;

use super::operands;

/// Squared distance of two attention maps:
///
/// `1/(b·hw) · Σ_b Σ_p (a_S(b, p) − a_T(b, p))²`, where `a(b, ·)` is the map `1/c · Σ_c x(b, c,
/// p)²` over its Euclidean length, p a pixel.
///
/// `student` `[b, c, h, w]`, `teacher` `[b, c', h', w']` → scalar: one pair of maps; a method sums
/// over pairs. The larger map is average-pooled to the size of the smaller. The teacher is
/// detached. A map that is 0 everywhere stays 0, with gradient 0.
///
/// Source: Zagoruyko and Komodakis 2017, "Paying more attention to attention", section 3.1, with p
/// = 2. Deviations, all RepDistiller's: the mean over batch and pixels (the paper sums norms, not
/// squared ones), and no factor ½.
///
/// # Errors
/// When the shapes do not fit.
pub fn attention_transfer(student: &Tensor, teacher: &Tensor) -> Result<Tensor> {
    let (student, teacher) = operands::maps(student, teacher, "attention_transfer")?;
    (attention(&student)? - attention(&teacher)?)?.sqr()?.mean_all()
}

/// `[b, c, h, w]` → `[b, h·w]`, rows of length 1.
fn attention(x: &Tensor) -> Result<Tensor> {
    operands::unit(&channel_energy(x)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loss::testing::{finite, gradient, noise, refused, scalar};

    #[test]
    fn it_is_zero_between_equals_and_between_maps_whose_energies_are_proportional() -> Result<()> {
        let x = noise(&[3, 5, 4, 4], 1)?;
        assert_eq!(scalar(&attention_transfer(&x, &x)?), 0.);
        // Twice the channels and three times the values: the same attention.
        let wide = (Tensor::cat(&[&x, &x], 1)? * 3.)?;
        assert!(scalar(&attention_transfer(&x, &wide)?) < 1e-14);
        assert!(scalar(&attention_transfer(&x, &noise(&[3, 5, 4, 4], 2)?)?) > 1e-4);
        Ok(())
    }

    #[test]
    fn it_ignores_the_order_and_the_signs_of_channels() -> Result<()> {
        let (x, t) = (noise(&[3, 5, 4, 4], 1)?, noise(&[3, 7, 4, 4], 2)?);
        let turned = Tensor::cat(&[&x.narrow(1, 2, 3)?.neg()?, &x.narrow(1, 0, 2)?], 1)?;
        let (a, b) =
            (scalar(&attention_transfer(&x, &t)?), scalar(&attention_transfer(&turned, &t)?));
        assert!((a - b).abs() < 1e-6 * a, "{a} {b}");
        Ok(())
    }

    #[test]
    fn maps_of_zeros_give_numbers_in_value_and_gradient() -> Result<()> {
        let (x, t) = (noise(&[2, 5, 4, 4], 1)?, noise(&[2, 3, 4, 4], 2)?);
        let some_zero = Tensor::cat(&[&x.narrow(0, 0, 1)?, &x.narrow(0, 1, 1)?.zeros_like()?], 0)?;
        for student in [some_zero, x.zeros_like()?] {
            finite(&student, |s| attention_transfer(s, &t));
            finite(&student, |s| attention_transfer(s, &t.zeros_like()?));
        }
        Ok(())
    }

    #[test]
    fn no_gradient_reaches_the_teacher() -> Result<()> {
        let x = noise(&[2, 5, 4, 4], 1)?;
        assert!(gradient(&x, |t| attention_transfer(&x, t)).is_none());
        Ok(())
    }

    #[test]
    fn shapes_that_do_not_fit_are_errors_of_one_line() -> Result<()> {
        let x = noise(&[2, 5, 4, 4], 1)?;
        for other in [
            noise(&[3, 5, 4, 4], 1)?,
            noise(&[2, 5, 3, 3], 1)?,
            noise(&[2, 5, 8, 4], 1)?,
            noise(&[2, 5], 1)?,
        ] {
            refused(attention_transfer(&x, &other), "attention_transfer: ");
        }
        Ok(())
    }
}
