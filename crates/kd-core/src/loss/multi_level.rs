//! Multi-level logit distillation: soft targets beside how alike images and classes are.

use candle_core::{DType, Result, Tensor, bail};
use kd_kernels::linear::linear;
use kd_kernels::softmax::softmax;
use kd_kernels::{Activation, Precision};

use super::operands;

/// Distance of how alike the classes are over a batch:
///
/// `1/k · ‖P_Tᵀ·P_T − P_Sᵀ·P_S‖²_F`, where the rows of P are the softmaxes of the images' logits
/// over T.
///
/// `student`, `teacher` `[b, k]`: logits; `temperature` T > 0, finite → scalar. The teacher is
/// detached.
///
/// Source: Jin, Wang and Lin 2023, "Multi-level logit distillation", section 3.3. No deviation.
///
/// # Errors
/// When the shapes differ or are empty, or T is not finite and above 0.
pub fn class_correlation(student: &Tensor, teacher: &Tensor, temperature: f64) -> Result<Tensor> {
    let [s, t] = probabilities(student, teacher, temperature, "class_correlation")?;
    let turned = |p: &Tensor| p.t()?.contiguous();
    distance(&turned(&s)?, &turned(&t)?)
}

/// Distance of how alike the images of a batch are:
///
/// `1/b · ‖P_T·P_Tᵀ − P_S·P_Sᵀ‖²_F`, with the shapes, source and errors of [`class_correlation`]
/// (section 3.2).
///
/// # Errors
/// Those of [`class_correlation`].
pub fn batch_correlation(student: &Tensor, teacher: &Tensor, temperature: f64) -> Result<Tensor> {
    let [s, t] = probabilities(student, teacher, temperature, "batch_correlation")?;
    distance(&s, &t)
}

/// The share of numbers that are at most the median of all, which lies halfway between the middle
/// two of an even number; 0 where there are none.
pub fn share_up_to_median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (Some(low), Some(high)) =
        (sorted.get(sorted.len().saturating_sub(1) / 2), sorted.get(sorted.len() / 2))
    else {
        return 0.;
    };
    let median = low + (high - low) * 0.5;
    values.iter().filter(|&&v| v <= median).count() as f64 / values.len() as f64
}

/// The shares of a batch's images and classes of which the teacher is no surer than of the median
/// one: of an image it is as sure as its largest probability, of a class as the sum of the images'
/// probabilities of it, both at T = 1.
///
/// `teacher` `[b, k]`: logits.
///
/// # Errors
/// When it is no matrix of numbers.
pub fn unsure_shares(teacher: &Tensor) -> Result<[f64; 2]> {
    let p = softmax(&teacher.detach())?.to_dtype(DType::F64)?;
    let of = |x: Tensor| -> Result<f64> { Ok(share_up_to_median(&x.to_vec1::<f64>()?)) };
    Ok([of(p.max(1)?)?, of(p.sum(0)?)?])
}

fn probabilities(
    student: &Tensor,
    teacher: &Tensor,
    temperature: f64,
    loss: &str,
) -> Result<[Tensor; 2]> {
    let teacher = operands::alike(student, teacher, loss)?;
    if student.rank() != 2 {
        bail!("{loss}: expected logits [b, k], got {:?}", student.dims())
    }
    if !(temperature.is_finite() && temperature > 0.) {
        bail!("{loss}: expected a finite temperature above 0, got {temperature}")
    }
    let soft = |logits: &Tensor| softmax(&(logits / temperature)?);
    Ok([soft(student)?, soft(&teacher)?])
}

/// `1/m · ‖T·Tᵀ − S·Sᵀ‖²_F` of matrices of m rows.
fn distance(student: &Tensor, teacher: &Tensor) -> Result<Tensor> {
    // A dense layer whose weight is x gives x · xᵀ; in float32, whatever the precision of the
    // layers of the networks.
    let products = |x: &Tensor| Precision::Float32.during(|| linear(x, x, None, Activation::None));
    let gap = (products(teacher)? - products(student)?)?;
    gap.sqr()?.sum_all()? * (1. / student.dim(0)? as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loss::testing::{differences_agree, gradient, noise, refused, scalar};

    #[test]
    fn both_are_zero_between_equals_and_ignore_a_shift_of_each_images_logits() -> Result<()> {
        let (s, t) = ((noise(&[4, 7], 1)? * 3.)?, (noise(&[4, 7], 2)? * 3.)?);
        let shift = Tensor::new(&[[1f32], [-2.], [5.], [0.]], s.device())?;
        for loss in [class_correlation, batch_correlation] {
            assert_eq!(scalar(&loss(&s, &s, 4.)?), 0.);
            let (a, b) =
                (scalar(&loss(&s, &t, 4.)?), scalar(&loss(&s.broadcast_add(&shift)?, &t, 4.)?));
            assert!(a > 1e-4 && (a - b).abs() < 1e-4 * a, "{a} {b}");
        }
        Ok(())
    }

    #[test]
    fn classes_that_change_places_in_both_do_not_matter_and_images_neither() -> Result<()> {
        let (s, t) = ((noise(&[4, 7], 1)? * 3.)?, (noise(&[4, 7], 2)? * 3.)?);
        let turned = |x: &Tensor, dim: usize| {
            Tensor::cat(&[&x.narrow(dim, 1, x.dim(dim)? - 1)?, &x.narrow(dim, 0, 1)?], dim)
        };
        for loss in [class_correlation, batch_correlation] {
            let plain = scalar(&loss(&s, &t, 2.)?);
            for dim in [0, 1] {
                let other = scalar(&loss(&turned(&s, dim)?, &turned(&t, dim)?, 2.)?);
                assert!((plain - other).abs() < 1e-5 * plain, "{plain} {other}");
            }
        }
        // Images that change places in the student alone are the same to the classes.
        let (a, b) = (class_correlation(&s, &t, 2.)?, class_correlation(&turned(&s, 0)?, &t, 2.)?);
        assert!((scalar(&a) - scalar(&b)).abs() < 1e-5 * scalar(&a));
        let b = batch_correlation(&turned(&s, 0)?, &t, 2.)?;
        assert!((scalar(&batch_correlation(&s, &t, 2.)?) - scalar(&b)).abs() > 1e-4);
        Ok(())
    }

    #[test]
    fn the_share_up_to_the_median_is_half_but_for_odd_numbers_and_equals() {
        for (values, share) in [
            (&[1., 2., 3., 4.][..], 0.5),
            (&[4., 1., 3.], 2. / 3.),
            (&[1., 1., 1., 2.], 0.75),
            (&[5.], 1.),
            (&[], 0.),
        ] {
            assert_eq!(share_up_to_median(values), share, "{values:?}");
        }
    }

    #[test]
    fn gradients_are_those_of_differences_and_none_reaches_the_teacher() -> Result<()> {
        let (s, t) = ((noise(&[4, 5], 1)? * 3.)?, (noise(&[4, 5], 2)? * 3.)?);
        for loss in [class_correlation, batch_correlation] {
            differences_agree(&s, 1, |s| loss(s, &t.to_dtype(s.dtype())?, 2.));
            assert!(gradient(&t, |t| loss(&s, t, 2.)).is_none());
        }
        Ok(())
    }

    #[test]
    fn what_does_not_fit_is_an_error_of_one_line() -> Result<()> {
        let s = noise(&[4, 5], 1)?;
        for loss in [class_correlation, batch_correlation] {
            assert!(loss(&s, &noise(&[4, 6], 1)?, 2.).is_err());
            assert!(loss(&s, &s, 0.).is_err() && loss(&s, &s, f64::NAN).is_err());
        }
        refused(class_correlation(&s, &noise(&[3, 5], 1)?, 2.), "class_correlation: ");
        refused(batch_correlation(&noise(&[4], 1)?, &noise(&[4], 1)?, 2.), "batch_correlation: ");
        Ok(())
    }
}
