//! The direction of the gap between what student and teacher say of the images of a batch with each
//! other.

use candle_core::{DType, Device, Result, Tensor, bail};
use kd_kernels::linear::linear;
use kd_kernels::{Activation, Precision};

use super::operands;

const LOSS: &str = "gram_direction";

/// Mahalanobis length of the gap between two Gram matrices:
///
/// `1/b · Σ_i √(d_iᵀ·Σ⁻¹·d_i)`, with the rows d of `D = (S·Sᵀ − T·Tᵀ)/c`, whose S and T are the
/// logits brought to length 1, image by image, and `Σ = Cov(D) + λ·I`, the covariance of the rows,
/// with b − 1.
///
/// `student`, `teacher` `[b, c]`: logits, b ≥ 2; `ridge` λ > 0, finite → scalar. The teacher is
/// detached; gradients go through Σ too. A gap of length 0 has the gradient 0.
///
/// Source: the official program of "Streamlined knowledge distillation", CVPR 2026. No deviation.
///
/// `d·Σ⁻¹·d` is the largest value of `2·a·d − a·Σ·a`, at `a = Σ⁻¹·d`. There the derivative by a is 0,
/// so that with a taken for a constant this has the value and the gradient of the whole. a is
/// solved for by Cholesky on the CPU, in float64, wherever the logits are: b numbers for each
/// image, which an accelerator is waited for.
///
/// # Errors
/// When the shapes differ, there are fewer than 2 images or classes, or λ is not finite and above
/// 0.
pub fn gram_direction(student: &Tensor, teacher: &Tensor, ridge: f64) -> Result<Tensor> {
    let teacher = operands::logits(student, teacher, LOSS)?;
    let (b, c) = student.dims2()?;
    if b < 2 {
        bail!("{LOSS}: expected at least 2 images, got {b}")
    }
    if !(ridge.is_finite() && ridge > 0.) {
        bail!("{LOSS}: expected a finite ridge above 0, got {ridge}")
    }
    // A dense layer whose weight is y gives x · yᵀ; in float32, whatever the precision of the
    // layers of the networks.
    let product =
        |x: &Tensor, y: &Tensor| Precision::Float32.during(|| linear(x, y, None, Activation::None));
    let gram = |logits: &Tensor| {
        let unit = operands::unit(logits)?;
        product(&unit, &unit)
    };
    let gaps = ((gram(student)? - gram(&teacher)?)? * (1. / c as f64))?;
    let centred = gaps.broadcast_sub(&gaps.mean_keepdim(0)?)?;
    let solved = solve(&gaps, ridge)?;
    let along = (solved.mul(&gaps)?.sum(1)? * 2.)?;
    // a·Cov(D)·a is a sum of squares over the rows of D.
    let spread = (product(&solved, &centred)?.sqr()?.sum(1)? * (1. / (b - 1) as f64))?;
    let own = (solved.sqr()?.sum(1)? * ridge)?;
    operands::sqrt(&((along - spread)? - own)?)?.mean_all()
}

/// Σ⁻¹·d of each row d of the gaps, `[b, b]`, without a graph.
fn solve(gaps: &Tensor, ridge: f64) -> Result<Tensor> {
    let b = gaps.dim(0)?;
    let host = gaps.detach().to_device(&Device::Cpu)?.to_dtype(DType::F64)?;
    let centred = host.broadcast_sub(&host.mean_keepdim(0)?)?;
    let ridge = (Tensor::eye(b, DType::F64, &Device::Cpu)? * ridge)?;
    let covariance = ((centred.t()?.matmul(&centred)? * (1. / (b - 1) as f64))? + ridge)?;
    let mut factor = covariance.flatten_all()?.to_vec1::<f64>()?;
    let mut rows = host.flatten_all()?.to_vec1::<f64>()?;
    cholesky(&mut factor, b);
    for row in rows.chunks_mut(b) {
        substitute(&factor, row);
    }
    let solved = Tensor::from_vec(rows, (b, b), &Device::Cpu)?;
    solved.to_dtype(gaps.dtype())?.to_device(gaps.device())
}

/// The lower triangle L of L·Lᵀ in place of that of a matrix `[n, n]`, which is positive definite.
/// What is not finite in it is not finite in L, and so in the loss.
fn cholesky(matrix: &mut [f64], n: usize) {
    for i in 0..n {
        for j in 0..=i {
            let (done, row) = matrix.split_at_mut(i * n);
            let known: f64 = if i == j {
                row[..j].iter().map(|x| x * x).sum()
            } else {
                row[..j].iter().zip(&done[j * n..][..j]).map(|(x, y)| x * y).sum()
            };
            let rest = row[j] - known;
            row[j] = if i == j { rest.sqrt() } else { rest / done[j * n + j] };
        }
    }
}

/// x of L·Lᵀ·x = y in place of y.
fn substitute(factor: &[f64], y: &mut [f64]) {
    let n = y.len();
    for i in 0..n {
        let known: f64 = factor[i * n..][..i].iter().zip(&*y).map(|(l, x)| l * x).sum();
        y[i] = (y[i] - known) / factor[i * n + i];
    }
    for i in (0..n).rev() {
        let known: f64 = (i + 1..n).map(|j| factor[j * n + i] * y[j]).sum();
        y[i] = (y[i] - known) / factor[i * n + i];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loss::testing::{differences_agree, finite, flat, gradient, noise, refused, scalar};

    #[test]
    fn it_is_zero_between_equals_whatever_their_lengths() -> Result<()> {
        let t = noise(&[5, 7], 1)?;
        let lengths = Tensor::new(&[[2f32], [0.5], [4.], [1.], [8.]], &Device::Cpu)?;
        let far = scalar(&gram_direction(&noise(&[5, 7], 2)?, &t, 0.1)?);
        for s in [&t, &t.broadcast_mul(&lengths)?] {
            let value = scalar(&gram_direction(s, &t, 0.1)?);
            assert!(value < 1e-5 * far, "{value} {far}");
        }
        Ok(())
    }

    #[test]
    fn classes_and_images_may_change_places_in_both() -> Result<()> {
        let (s, t) = (noise(&[5, 7], 1)?, noise(&[5, 7], 2)?);
        let plain = scalar(&gram_direction(&s, &t, 0.1)?);
        let turned = |x: &Tensor, dim: usize| {
            Tensor::cat(&[&x.narrow(dim, 1, x.dim(dim)? - 1)?, &x.narrow(dim, 0, 1)?], dim)
        };
        for dim in [0, 1] {
            let other = scalar(&gram_direction(&turned(&s, dim)?, &turned(&t, dim)?, 0.1)?);
            assert!((plain - other).abs() < 1e-5 * plain, "{plain} {other}");
        }
        Ok(())
    }

    #[test]
    fn with_a_large_ridge_it_is_the_length_of_the_gap_over_the_root_of_the_ridge() -> Result<()> {
        let (s, t) = (noise(&[5, 7], 1)?, noise(&[5, 7], 2)?);
        let gram = |x: &Tensor| {
            let unit = operands::unit(x)?;
            unit.matmul(&unit.t()?)
        };
        let gap = ((gram(&s)? - gram(&t)?)? * (1. / 7.))?;
        let lengths = flat(&gap.sqr()?.sum(1)?.sqrt()?)?;
        let expected = lengths.iter().sum::<f64>() / 5. / 1e3;
        let value = scalar(&gram_direction(&s, &t, 1e6)?);
        assert!((value - expected).abs() < 1e-4 * expected, "{value} {expected}");
        Ok(())
    }

    #[test]
    fn the_solution_times_the_matrix_is_what_was_asked_for() -> Result<()> {
        let gaps = noise(&[6, 6], 1)?.to_dtype(DType::F64)?;
        let solved = solve(&gaps, 0.01)?;
        let centred = gaps.broadcast_sub(&gaps.mean_keepdim(0)?)?;
        let ridge = (Tensor::eye(6, DType::F64, &Device::Cpu)? * 0.01)?;
        let covariance = ((centred.t()?.matmul(&centred)? * 0.2)? + ridge)?;
        let left = (solved.matmul(&covariance)? - &gaps)?.abs()?.max_all()?;
        assert!(scalar(&left) < 1e-10, "{left}");
        Ok(())
    }

    #[test]
    fn logits_of_zeros_and_equal_images_give_numbers_in_value_and_gradient() -> Result<()> {
        let (x, t) = (noise(&[4, 6], 1)?, noise(&[4, 6], 2)?);
        let same = x.narrow(0, 0, 1)?.repeat((4, 1))?;
        for s in [&x, &x.zeros_like()?, &same] {
            for t in [&t, &x, &t.zeros_like()?, &same] {
                finite(s, |s| gram_direction(s, t, 0.1));
            }
        }
        Ok(())
    }

    #[test]
    fn a_logit_that_is_no_number_makes_a_loss_that_is_none() -> Result<()> {
        let t = noise(&[4, 6], 2)?;
        let broken = (&t * f64::NAN)?;
        assert!(scalar(&gram_direction(&broken, &t, 0.1)?).is_nan());
        Ok(())
    }

    #[test]
    fn gradients_are_those_of_differences_and_none_reaches_the_teacher() -> Result<()> {
        let (s, t) = (noise(&[5, 4], 1)?, noise(&[5, 4], 2)?);
        for ridge in [0.1, 1e-3] {
            differences_agree(&s, 1, |s| gram_direction(s, &t.to_dtype(s.dtype())?, ridge));
            assert!(gradient(&t, |t| gram_direction(&s, t, ridge)).is_none());
        }
        Ok(())
    }

    #[test]
    fn what_does_not_fit_is_an_error_of_one_line() -> Result<()> {
        let x = noise(&[4, 6], 1)?;
        for (s, t, ridge) in [
            (&x, &noise(&[4, 5], 1)?, 0.1),
            (&x.narrow(0, 0, 1)?, &x.narrow(0, 0, 1)?, 0.1),
            (&x, &x, 0.),
            (&x, &x, f64::NAN),
        ] {
            refused(gram_direction(s, t, ridge), "gram_direction: expected");
        }
        Ok(())
    }
}
