//! Probabilistic knowledge transfer.

use candle_core::{D, Result, Tensor};

use super::operands;

/// Added to lengths and to probabilities before they are divided by: RepDistiller's value, which
/// the paper does not name.
const EPS: f64 = 1e-7;

/// Divergence of the neighbourhoods of a batch:
///
/// `1/b² · Σ_ij p_ij · ln((p_ij + ε) / (q_ij + ε))`, where `q_ij = ½(1 + cos(s_i, s_j)) / Σ_k ½(1 +
/// cos(s_i, s_k))`, p is the same of the teacher, and ε = 1e-7; j = i is among the terms.
///
/// `student` `[b, d]`, `teacher` `[b, d']` → scalar: the mean over the `b × b` pairs. The teacher
/// is detached. Lengths are `‖x‖ + ε`; a vector of length 0 has cosine 0 with all, and gradient 0,
/// where RepDistiller's root has NaN.
///
/// Source: Passalis and Tefas 2018, "Learning deep representations with probabilistic knowledge
/// transfer", section 3. Deviation, RepDistiller's: the mean over pairs, where the paper has the
/// sum.
///
/// # Errors
/// When the shapes do not fit.
pub fn probabilistic_transfer(student: &Tensor, teacher: &Tensor) -> Result<Tensor> {
    let (student, teacher) = operands::vectors(student, teacher, "probabilistic_transfer")?;
    let (p, q) = (neighbourhoods(&teacher)?, neighbourhoods(&student)?);
    p.mul(&((&p + EPS)?.log()? - (q + EPS)?.log()?)?)?.mean_all()
}

/// `[b, d]` → `[b, b]`, rows of sum 1.
fn neighbourhoods(x: &Tensor) -> Result<Tensor> {
    // 1 / (‖x‖ + ε) from 1 / ‖x‖, which is 0 for a vector of length 0.
    let inverse = operands::inverse_root(&x.sqr()?.sum_keepdim(D::Minus1)?)?;
    let unit = x.broadcast_mul(&inverse.div(&(inverse.affine(EPS, 1.))?)?)?;
    let scaled = unit.matmul(&unit.t()?)?.affine(0.5, 0.5)?;
    scaled.broadcast_div(&scaled.sum_keepdim(D::Minus1)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loss::testing::{differences_agree, finite, gradient, noise, refused, scalar};

    #[test]
    fn it_is_zero_between_equals_and_between_vectors_that_differ_in_length() -> Result<()> {
        let x = noise(&[5, 4], 1)?;
        assert_eq!(scalar(&probabilistic_transfer(&x, &x)?), 0.);
        let longer =
            x.broadcast_mul(&Tensor::new(&[[1f32], [2.], [3.], [9.], [0.5]], x.device())?)?;
        assert!(scalar(&probabilistic_transfer(&longer, &x)?).abs() < 1e-8);
        assert!(scalar(&probabilistic_transfer(&x, &noise(&[5, 7], 2)?)?) > 1e-3);
        Ok(())
    }

    #[test]
    fn it_ignores_the_order_and_the_signs_of_features() -> Result<()> {
        let (x, t) = (noise(&[5, 6], 1)?, noise(&[5, 3], 2)?);
        let turned = Tensor::cat(&[&x.narrow(1, 2, 4)?.neg()?, &x.narrow(1, 0, 2)?], 1)?;
        let (a, b) = (
            scalar(&probabilistic_transfer(&x, &t)?),
            scalar(&probabilistic_transfer(&turned, &t)?),
        );
        assert!((a - b).abs() < 1e-6, "{a} {b}");
        Ok(())
    }

    #[test]
    fn vectors_of_zeros_and_opposite_ones_give_numbers_in_value_and_gradient() -> Result<()> {
        let (x, t) = (noise(&[4, 6], 1)?, noise(&[4, 5], 2)?);
        let one = x.narrow(0, 0, 1)?;
        let mixed = Tensor::cat(&[&one, &one.neg()?, &one, &one.zeros_like()?], 0)?;
        for student in [mixed, x.zeros_like()?] {
            let (_, g) = finite(&student, |s| probabilistic_transfer(s, &t));
            assert!(g.iter().all(|g| g.abs() < 1e3), "{g:?}");
            finite(&student, |s| probabilistic_transfer(s, &t.zeros_like()?));
        }
        Ok(())
    }

    #[test]
    fn the_gradient_is_that_of_differences_and_none_reaches_the_teacher() -> Result<()> {
        let (x, t) = (noise(&[4, 6], 1)?, noise(&[4, 5], 2)?);
        differences_agree(&x, 1, |s| probabilistic_transfer(s, &t.to_dtype(s.dtype())?));
        assert!(gradient(&t, |t| probabilistic_transfer(&x, t)).is_none());
        Ok(())
    }

    #[test]
    fn shapes_that_do_not_fit_are_errors_of_one_line() -> Result<()> {
        for t in [noise(&[3, 4], 1)?, noise(&[4, 4, 1], 1)?] {
            refused(probabilistic_transfer(&noise(&[4, 4], 1)?, &t), "probabilistic_transfer: ");
        }
        Ok(())
    }
}
