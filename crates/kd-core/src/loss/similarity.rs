//! Similarity-preserving distillation.

use candle_core::{Result, Tensor, bail};
use kd_kernels::linear::linear;
use kd_kernels::{Activation, Precision};

use super::operands;

/// Distance of how alike the images of a batch are to the student and to the teacher:
///
/// `1/b² · ‖n(S·Sᵀ) − n(T·Tᵀ)‖²_F`, where row i of S and of T is all that the network says of image
/// i, and n brings each row of the `b × b` products to length 1.
///
/// `student` `[b, ..]`, `teacher` `[b, ..]` → scalar; maps are flattened and may have different
/// channels and sizes. The teacher is detached. An image whose features are all 0 has a row of 0,
/// with gradient 0.
///
/// Source: Tung and Mori 2019, "Similarity-preserving knowledge distillation", section 3. No
/// deviation.
///
/// # Errors
/// When the batches differ or are empty.
pub fn similarity_preserving(student: &Tensor, teacher: &Tensor) -> Result<Tensor> {
    if student.rank() < 2 || teacher.rank() < 2 {
        bail!(
            "similarity_preserving: expected [b, ..], got {:?} of the student and {:?} of the teacher",
            student.dims(),
            teacher.dims()
        )
    }
    let (student, teacher) = operands::vectors(
        &student.flatten_from(1)?,
        &teacher.flatten_from(1)?,
        "similarity_preserving",
    )?;
    // A dense layer whose weight is x gives x · xᵀ; in float32, whatever the precision of the
    // layers of the networks.
    let similarity = |x: &Tensor| {
        operands::unit(&Precision::Float32.during(|| linear(x, x, None, Activation::None))?)
    };
    let b = student.dim(0)? as f64;
    (similarity(&student)? - similarity(&teacher)?)?.sqr()?.sum_all()? * (1. / (b * b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loss::testing::{differences_agree, finite, gradient, noise, refused, scalar};

    #[test]
    fn it_is_zero_between_equals_and_between_features_that_differ_by_a_factor() -> Result<()> {
        let x = noise(&[4, 3, 2, 2], 1)?;
        assert_eq!(scalar(&similarity_preserving(&x, &x)?), 0.);
        assert!(scalar(&similarity_preserving(&x, &(&x * 7.)?)?) < 1e-13);
        assert!(scalar(&similarity_preserving(&x, &noise(&[4, 5], 2)?)?) > 1e-3);
        Ok(())
    }

    #[test]
    fn it_ignores_the_order_of_images_and_of_features() -> Result<()> {
        let (x, t) = (noise(&[4, 6], 1)?, noise(&[4, 5], 2)?);
        let turned = |x: &Tensor, dim: usize| {
            Tensor::cat(&[&x.narrow(dim, 1, x.dim(dim)? - 1)?, &x.narrow(dim, 0, 1)?], dim)
        };
        let plain = scalar(&similarity_preserving(&x, &t)?);
        for other in [
            similarity_preserving(&turned(&x, 0)?, &turned(&t, 0)?)?,
            similarity_preserving(&turned(&x, 1)?, &t)?,
        ] {
            assert!((scalar(&other) - plain).abs() < 1e-6 * plain, "{other} {plain}");
        }
        Ok(())
    }

    #[test]
    fn features_of_zeros_give_numbers_in_value_and_gradient() -> Result<()> {
        let (x, t) = (noise(&[3, 6], 1)?, noise(&[3, 5], 2)?);
        let some_zero = Tensor::cat(&[&x.narrow(0, 0, 2)?, &x.narrow(0, 2, 1)?.zeros_like()?], 0)?;
        for student in [some_zero, x.zeros_like()?] {
            let (_, g) = finite(&student, |s| similarity_preserving(s, &t));
            assert!(g.iter().all(|g| g.abs() < 1e3), "{g:?}");
            finite(&student, |s| similarity_preserving(s, &t.zeros_like()?));
        }
        Ok(())
    }

    #[test]
    fn the_gradient_is_that_of_differences_and_none_reaches_the_teacher() -> Result<()> {
        let (x, t) = (noise(&[4, 6], 1)?, noise(&[4, 5], 2)?.to_dtype(candle_core::DType::F64)?);
        differences_agree(&x, 1, |s| similarity_preserving(s, &t));
        assert!(
            gradient(&t, |t| similarity_preserving(
                &noise(&[4, 6], 1)?.to_dtype(candle_core::DType::F64)?,
                t
            ))
            .is_none()
        );
        Ok(())
    }

    #[test]
    fn batches_that_differ_are_an_error_of_one_line() -> Result<()> {
        for (x, t) in [(noise(&[3, 5], 1)?, noise(&[4, 5], 1)?), (noise(&[3], 1)?, noise(&[3], 1)?)]
        {
            refused(similarity_preserving(&x, &t), "similarity_preserving: ");
        }
        Ok(())
    }
}
