//! Information theoretic representation distillation: how the features of a batch correlate, and
//! which of its images are alike.

use std::f64::consts::LN_2;

use candle_core::{Result, Tensor, bail};
use kd_kernels::linear::linear;
use kd_kernels::{Activation, Precision};

use super::operands;

/// The distance of each feature of the student from correlation with the teacher's:
///
/// `log₂ Σ_d |c_d − 1|^(2α)`, where `c_d = 1/b · Σ_i s̃_id · t̃_id` and s̃ and t̃ are the features
/// less their mean over the batch, over their standard deviation with b − 1.
///
/// `student`, `teacher` `[b, d]`, b ≥ 2: pooled features of one width; `alpha` α > 0, finite →
/// scalar. The teacher is detached. Since the mean has b and the deviation b − 1, c_d is at most (b
/// − 1)/b, so that the logarithm is of a number above 0. A feature that is the same for all images
/// has c_d = 0, with gradient 0; the official program divides 0 by 0 there.
///
/// Source: Miles, Lopez-Rodriguez and Mikolajczyk 2022, "Information theoretic representation
/// distillation", section 3.2, as the official program has it.
///
/// # Errors
/// When the shapes differ, there is one image or none, or α is not finite and above 0.
pub fn feature_correlation(student: &Tensor, teacher: &Tensor, alpha: f64) -> Result<Tensor> {
    let teacher = operands::alike(student, teacher, "feature_correlation")?;
    let &[b, _] = student.dims() else {
        bail!("feature_correlation: expected features [b, d], got {:?}", student.dims())
    };
    if b < 2 {
        bail!("feature_correlation: expected at least 2 images, got {b}")
    }
    if !(alpha.is_finite() && alpha > 0.) {
        bail!("feature_correlation: expected a finite alpha above 0, got {alpha}")
    }
    let standard = |x: &Tensor| {
        let centred = x.broadcast_sub(&x.mean_keepdim(0)?)?;
        let variance = (centred.sqr()?.sum_keepdim(0)? * (1. / (b - 1) as f64))?;
        centred.broadcast_mul(&operands::inverse_root(&variance)?)
    };
    let correlation = (standard(student)?.mul(&standard(&teacher)?)?.sum(0)? * (1. / b as f64))?;
    (correlation - 1.)?.sqr()?.powf(alpha)?.sum_all()?.log()? * (1. / LN_2)
}

/// What the student says of the images of a batch that the teacher does not, as matrix-based
/// entropies of order 2 without their logarithms:
///
/// `Σ_ij (K_S / tr K_S)²_ij − (K_ST / tr K_ST)²_ij`, where `K_S = S·Sᵀ` and `K_T = T·Tᵀ` for rows
/// of length 1, and `K_ST = K_S ∘ K_T`, their product element by element.
///
/// `student` `[b, d]`, `teacher` `[b, d']` → scalar, at least 0. The teacher is detached. Rows of
/// length 0 are alike to none, with gradient 0.
///
/// Source: Miles, Lopez-Rodriguez and Mikolajczyk 2022, "Information theoretic representation
/// distillation", section 3.3, as the official program has it.
///
/// # Errors
/// When the batches differ or are empty.
pub fn mutual_information(student: &Tensor, teacher: &Tensor) -> Result<Tensor> {
    let (student, teacher) = operands::vectors(student, teacher, "mutual_information")?;
    // A dense layer whose weight is x gives x · xᵀ; in float32, whatever the precision of the
    // layers of the networks.
    let kernel = |x: &Tensor| {
        let unit = operands::unit(x)?;
        Precision::Float32.during(|| linear(&unit, &unit, None, Activation::None))
    };
    let (of_student, of_teacher) = (kernel(&student)?, kernel(&teacher)?);
    let joint = of_student.mul(&of_teacher)?;
    let eye = Tensor::eye(student.dim(0)?, student.dtype(), student.device())?;
    let energy = |kernel: &Tensor| {
        // Diagonals are 1, or 0 for a row of zeros: no gradient is lost.
        let trace = kernel.detach().mul(&eye)?.sum_all()?.maximum(1.)?;
        kernel.broadcast_div(&trace)?.sqr()?.sum_all()
    };
    energy(&of_student)? - energy(&joint)?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loss::testing::{differences_agree, finite, gradient, noise, refused, scalar};

    fn correlation(student: &Tensor, teacher: &Tensor) -> Result<Tensor> {
        feature_correlation(student, teacher, 1.01)
    }

    #[test]
    fn features_that_agree_but_for_scale_and_place_have_the_least_distance() -> Result<()> {
        let t = noise(&[8, 5], 1)?;
        let scales = Tensor::new(&[0.5f32, 2., 3., 9., 0.1], t.device())?;
        let s = t.broadcast_mul(&scales)?.broadcast_add(&scales)?;
        // c = 7/8 for all five features.
        let least = (5f64 * (1. / 8f64).powf(2.02)).log2();
        for s in [&t, &s] {
            let value = scalar(&correlation(s, &t)?);
            assert!((value - least).abs() < 1e-4, "{value} {least}");
        }
        assert!(scalar(&correlation(&noise(&[8, 5], 2)?, &t)?) > least + 1.);
        Ok(())
    }

    #[test]
    fn what_the_student_says_beside_the_teacher_is_at_least_nothing() -> Result<()> {
        for seed in 0..20 {
            let (s, t) = (noise(&[6, 3], seed)?, noise(&[6, 4], 100 + seed)?);
            let value = scalar(&mutual_information(&s, &t)?);
            assert!(value > 0., "{value}");
        }
        // A teacher to whom all images are one says nothing: the two entropies are one.
        let same = noise(&[1, 4], 3)?.repeat((6, 1))?;
        assert!(scalar(&mutual_information(&noise(&[6, 3], 1)?, &same)?).abs() < 1e-6);
        Ok(())
    }

    #[test]
    fn lengths_and_rotations_of_features_do_not_matter_to_which_images_are_alike() -> Result<()> {
        let (s, t) = (noise(&[6, 2], 1)?, noise(&[6, 4], 2)?);
        let turn = Tensor::new(&[[0.6f32, 0.8], [-0.8, 0.6]], s.device())?;
        let lengths = Tensor::new(&[[1f32], [2.], [0.5], [3.], [9.], [0.1]], s.device())?;
        let plain = scalar(&mutual_information(&s, &t)?);
        for other in [s.matmul(&turn)?, s.broadcast_mul(&lengths)?] {
            let value = scalar(&mutual_information(&other, &t)?);
            assert!((value - plain).abs() < 1e-6, "{value} {plain}");
        }
        Ok(())
    }

    #[test]
    fn features_and_images_of_zeros_give_numbers_in_value_and_gradient() -> Result<()> {
        let (x, t) = (noise(&[4, 6], 1)?, noise(&[4, 6], 2)?);
        let dead = Tensor::cat(&[&x.narrow(1, 0, 5)?, &x.narrow(1, 5, 1)?.zeros_like()?], 1)?;
        let dark = Tensor::cat(&[&x.narrow(0, 0, 3)?, &x.narrow(0, 3, 1)?.zeros_like()?], 0)?;
        for loss in [correlation, mutual_information] {
            for s in [&x, &dead, &dark, &x.zeros_like()?] {
                for t in [&t, &dead, &dark, &t.zeros_like()?] {
                    let (_, g) = finite(s, |s| loss(s, t));
                    assert!(g.iter().all(|g| g.abs() < 1e3), "{g:?}");
                }
            }
        }
        Ok(())
    }

    #[test]
    fn gradients_are_those_of_differences_and_none_reaches_the_teacher() -> Result<()> {
        let (x, t) = (noise(&[5, 4], 1)?, noise(&[5, 4], 2)?);
        for loss in [correlation, mutual_information] {
            differences_agree(&x, 1, |s| loss(s, &t.to_dtype(s.dtype())?));
            assert!(gradient(&t, |t| loss(&x, t)).is_none());
        }
        Ok(())
    }

    #[test]
    fn what_does_not_fit_is_an_error_of_one_line() -> Result<()> {
        let x = noise(&[4, 6], 1)?;
        for (s, t, alpha) in [
            (&x, &noise(&[4, 5], 1)?, 1.),
            (&x.narrow(0, 0, 1)?, &x.narrow(0, 0, 1)?, 1.),
            (&noise(&[4, 6, 1], 1)?, &noise(&[4, 6, 1], 1)?, 1.),
            (&x, &x, 0.),
            (&x, &x, f64::NAN),
        ] {
            refused(feature_correlation(s, t, alpha), "feature_correlation: ");
        }
        refused(mutual_information(&x, &noise(&[3, 6], 1)?), "mutual_information: ");
        Ok(())
    }
}
