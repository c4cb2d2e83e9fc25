//! Activation boundaries: the loss of Heo et al. 2019 and of the first phase of AB.

use candle_core::{Result, Tensor};
use kd_kernels::relu::relu;

use super::operands;

/// Squared hinge that pulls a student's neuron to the side of zero on which the teacher's is:
///
/// `1/b · Σ max(0, μ − σ(t)·s)²`, where `σ(t)` is 1 where `t > 0` and −1 elsewhere, over all
/// elements of the batch.
///
/// `student` s `[b, c, h, w]`, before its activation and through the connector, `teacher` t of the
/// same shape, before its activation; `margin` μ > 0 → scalar: one pair of maps. Sum over channels
/// and pixels, mean over the batch. The teacher is detached.
///
/// Source: Heo, Lee, Yun and Choi 2019, "Knowledge transfer via distillation of activation
/// boundaries formed by hidden neurons", equation 4 (its norm squared). A method sums over stages
/// with the weights 2^(l − L + 1) and the factor 3/1000 of the authors' program.
///
/// # Errors
/// When the shapes differ or are empty.
pub fn activation_boundary(student: &Tensor, teacher: &Tensor, margin: f64) -> Result<Tensor> {
    let teacher = operands::alike(student, teacher, "activation_boundary")?;
    // −σ(t).
    let side = teacher.gt(0.)?.to_dtype(student.dtype())?.affine(-2., 1.)?;
    relu(&student.mul(&side)?.affine(1., margin)?)?.sqr()?.sum_all()?
        * (1. / student.dim(0)? as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loss::testing::{differences_agree, finite, gradient, noise, refused, scalar};

    #[test]
    fn it_is_the_two_masked_squares_of_the_paper() -> Result<()> {
        let student =
            Tensor::new(&[[-2f32, -0.5, 0., 3., -2., -0.5, 1., 3.]], &candle_core::Device::Cpu)?;
        let teacher =
            Tensor::new(&[[-1f32, -1., 0., -1., 1., 1., 1., 1.]], &candle_core::Device::Cpu)?;
        let (value, g) = finite(&student, |s| activation_boundary(s, &teacher, 1.));
        // (s + 1)² where s > −1 and t ≤ 0, (s − 1)² where s ≤ 1 and t > 0.
        assert_eq!(value, 0.25 + 1. + 16. + 9. + 2.25);
        assert_eq!(g, [0., 1., 2., 8., -6., -3., 0., 0.]);
        Ok(())
    }

    #[test]
    fn it_is_zero_where_every_neuron_is_on_the_side_of_the_teacher_s_by_the_margin_and_only_there()
    -> Result<()> {
        let teacher = noise(&[2, 3, 4, 4], 1)?;
        let far = (teacher.sign()? * 1.5)?;
        assert_eq!(scalar(&activation_boundary(&far, &teacher, 1.5)?), 0.);
        assert!(scalar(&activation_boundary(&far, &teacher, 1.6)?) > 0.1);
        assert!(scalar(&activation_boundary(&far.neg()?, &teacher, 1.5)?) > 100.);
        Ok(())
    }

    #[test]
    fn only_the_signs_of_the_teacher_count() -> Result<()> {
        let (x, t) = (noise(&[2, 3, 4, 4], 1)?, noise(&[2, 3, 4, 4], 2)?);
        let plain = scalar(&activation_boundary(&x, &t, 1.)?);
        assert_eq!(scalar(&activation_boundary(&x, &(&t * 9.)?, 1.)?), plain);
        assert!(plain > 1.);
        Ok(())
    }

    #[test]
    fn the_gradient_is_that_of_differences_and_none_reaches_the_teacher() -> Result<()> {
        let (x, t) = (noise(&[2, 3, 3, 3], 1)?, noise(&[2, 3, 3, 3], 2)?);
        differences_agree(&x, 5, |s| activation_boundary(s, &t.to_dtype(s.dtype())?, 1.));
        assert!(gradient(&t, |t| activation_boundary(&x, t, 1.)).is_none());
        Ok(())
    }

    #[test]
    fn shapes_that_differ_are_an_error_of_one_line() -> Result<()> {
        let result = activation_boundary(&noise(&[2, 3], 1)?, &noise(&[2, 4], 1)?, 1.);
        refused(
            result,
            "activation_boundary: expected one shape, not empty, got [2, 3] of the student and [2, 4] of the teacher",
        );
        Ok(())
    }
}
