//! FitNets' hint loss.

use candle_core::{Result, Tensor};
use kd_kernels::squared_distance::channel_distance;

use super::operands;

/// Mean squared distance of the student's regressed features from the teacher's: `1/N · Σ (r − t)²`
/// over all N elements.
///
/// `regressed`, `teacher` `[b, c, ..]` → scalar. The teacher is detached.
///
/// Source: Romero et al. 2015, "FitNets: hints for thin deep nets", section 2.2. Deviation: the
/// mean over all elements, as RepDistiller has it, where the paper has half the sum.
///
/// # Errors
/// When the shapes differ or are empty, or of rank 1.
pub fn hint(regressed: &Tensor, teacher: &Tensor) -> Result<Tensor> {
    let teacher = operands::alike(regressed, teacher, "hint")?;
    channel_distance(regressed, &teacher)?.mean_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loss::testing::{differences_agree, finite, gradient, noise, refused, scalar};

    #[test]
    fn it_is_zero_between_equals_and_grows_with_the_square_of_the_distance() -> Result<()> {
        let (x, t) = (noise(&[2, 3, 4, 4], 1)?, noise(&[2, 3, 4, 4], 2)?);
        let (value, g) = finite(&x, |s| hint(s, &x));
        assert!(value == 0. && g.iter().all(|g| *g == 0.));
        let twice = (&t + ((&x - &t)? * 2.)?)?;
        let (near, far) = (scalar(&hint(&x, &t)?), scalar(&hint(&twice, &t)?));
        assert!(near > 0.5 && (far - 4. * near).abs() < 1e-5 * far, "{near} {far}");
        Ok(())
    }

    #[test]
    fn the_gradient_is_that_of_differences_and_none_reaches_the_teacher() -> Result<()> {
        let (x, t) = (noise(&[2, 3, 2, 2], 1)?, noise(&[2, 3, 2, 2], 2)?);
        differences_agree(&x, 1, |s| hint(s, &t.to_dtype(s.dtype())?));
        assert!(gradient(&t, |t| hint(&x, t)).is_none());
        Ok(())
    }

    #[test]
    fn shapes_that_differ_are_an_error_of_one_line() -> Result<()> {
        refused(
            hint(&noise(&[2, 3], 1)?, &noise(&[2, 4], 1)?),
            "hint: expected one shape, not empty, got [2, 3] of the student and [2, 4] of the teacher",
        );
        Ok(())
    }
}
