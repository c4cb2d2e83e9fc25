//! Differences of the logits of two classes, for every pair of classes, weighed by how likely both
//! are.

use candle_core::{Result, Tensor, bail};
use kd_kernels::softmax::log_softmax;

use super::operands;

/// Squared distance of the differences of logits:
///
/// `1/4 · Σ_i Σ_jk w_ij·w_ik · ((t_ij − t_ik) − (s_ij − s_ik))² / Σ_i Σ_jk w_ij·w_ik`
///
/// `student` s, `teacher` t `[b, c]`, logits, c ≥ 2; `weights` w `[b, c]` of at least 0, not all 0
/// → scalar. Teacher and weights are detached. Where each row of the weights adds up to 1, as
/// probabilities do, it is the mean over the batch. With `d = t − s`, what is summed over the pairs
/// of a case is `2·W²` times the variance of d under w/W, W being the sum of its weights; so it is
/// computed, in c steps in place of c².
///
/// Source: Cui et al. 2024, "Decoupled Kullback-Leibler divergence loss", and, with the
/// denominator, Cui et al. 2026, "Generalized Kullback-Leibler divergence loss", as the official
/// code has it: over the whole batch, so that a case weighs W².
///
/// # Errors
/// When the shapes do not fit.
pub fn logit_differences(student: &Tensor, teacher: &Tensor, weights: &Tensor) -> Result<Tensor> {
    let teacher = operands::logits(student, teacher, "logit_differences")?;
    if weights.dims() != student.dims() {
        bail!(
            "logit_differences: expected weights {:?} as the logits, got {:?}",
            student.dims(),
            weights.dims()
        )
    }
    let weights = weights.detach();
    let sums = weights.sum_keepdim(1)?;
    // A case without weight has no mean, and counts for nothing.
    let shares = weights.broadcast_div(&sums.maximum(LEAST)?)?;
    let distances = (teacher - student)?;
    let means = shares.mul(&distances)?.sum_keepdim(1)?;
    let variances = shares.mul(&distances.broadcast_sub(&means)?.sqr()?)?.sum_keepdim(1)?;
    let squares = sums.sqr()?;
    (variances.mul(&squares)?.sum_all()?.div(&squares.sum_all()?)?) * 0.5
}

/// In place of a sum of weights that is 0.
const LEAST: f64 = 1e-30;

/// The teacher's predictions as weights: `softmax(teacher/T)^γ`.
///
/// `teacher` `[b, c]`, logits, detached; `temperature` T > 0; `exponent` γ of at least 0, at which
/// 1 takes the predictions as they are and 0 weighs all classes alike → `[b, c]`.
///
/// # Errors
/// When the logits have no classes, or T is not finite and above 0.
pub fn prediction_weights(teacher: &Tensor, temperature: f64, exponent: f64) -> Result<Tensor> {
    operands::temperature(temperature, "prediction_weights")?;
    (log_softmax(&(teacher.detach() / temperature)?)? * exponent)?.exp()
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::*;
    use crate::loss::logit_regression::logit_regression;
    use crate::loss::testing::{differences_agree, finite, flat, gradient, noise, refused, scalar};

    #[test]
    fn it_is_the_sum_over_pairs_of_classes() -> Result<()> {
        let (s, t) = (noise(&[3, 5], 1)?, noise(&[3, 5], 2)?);
        let w = (noise(&[3, 5], 3)?.abs()? + 0.1)?;
        let rows = |x: &Tensor| -> Result<Vec<f64>> { flat(x) };
        let (s_, t_, w_) = (rows(&s)?, rows(&t)?, rows(&w)?);
        let (mut sum, mut weight) = (0., 0.);
        for i in 0..3 {
            for j in 0..5 {
                for k in 0..5 {
                    let (j, k) = (5 * i + j, 5 * i + k);
                    sum += w_[j] * w_[k] * ((t_[j] - t_[k]) - (s_[j] - s_[k])).powi(2) / 4.;
                    weight += w_[j] * w_[k];
                }
            }
        }
        let ours = scalar(&logit_differences(&s, &t, &w)?);
        assert!((ours - sum / weight).abs() < 1e-5 * ours, "{ours} {}", sum / weight);
        Ok(())
    }

    #[test]
    fn it_is_zero_for_logits_that_differ_by_a_shift_of_each_case() -> Result<()> {
        let (s, w) = (noise(&[3, 5], 1)?, noise(&[3, 5], 3)?.abs()?);
        let shifted = s.broadcast_add(&noise(&[3, 1], 4)?)?;
        assert!(scalar(&logit_differences(&s, &shifted, &w)?) < 1e-10);
        assert!(scalar(&logit_differences(&s, &noise(&[3, 5], 2)?, &w)?) > 0.1);
        Ok(())
    }

    #[test]
    fn with_equal_weights_it_is_the_distance_of_centred_logits() -> Result<()> {
        let (s, t) = (noise(&[3, 5], 1)?, noise(&[3, 5], 2)?);
        let ours = scalar(&logit_differences(&s, &t, &s.ones_like()?)?);
        let plain = scalar(&logit_regression(&s, &t)?);
        assert!((ours - plain).abs() < 1e-6, "{ours} {plain}");
        Ok(())
    }

    #[test]
    fn a_class_without_weight_and_a_case_without_any_count_for_nothing() -> Result<()> {
        let (s, t) = (noise(&[2, 3], 1)?, noise(&[2, 3], 2)?);
        let w = Tensor::new(&[[1f32, 0., 2.], [0., 0., 0.]], &Device::Cpu)?;
        let (_, g) = finite(&s, |s| logit_differences(s, &t, &w));
        assert!(g[0] != 0. && g[2] != 0. && g[1] == 0. && g[3..] == [0.; 3], "{g:?}");
        Ok(())
    }

    #[test]
    fn predictions_to_the_power_one_add_up_to_one_and_to_the_power_zero_are_alike() -> Result<()> {
        let t = noise(&[3, 5], 2)?;
        for row in flat(&prediction_weights(&t, 4., 1.)?)?.chunks(5) {
            assert!((row.iter().sum::<f64>() - 1.).abs() < 1e-6);
        }
        assert_eq!(flat(&prediction_weights(&t, 4., 0.)?)?, vec![1.; 15]);
        Ok(())
    }

    #[test]
    fn the_gradient_is_that_of_differences_and_none_reaches_teacher_or_weights() -> Result<()> {
        let (s, t) = (noise(&[3, 5], 1)?, noise(&[3, 5], 2)?);
        let loss =
            |s: &Tensor, t: &Tensor| logit_differences(s, t, &prediction_weights(t, 4., 0.2)?);
        differences_agree(&s, 1, |s| loss(s, &t.to_dtype(DType::F64)?));
        assert!(gradient(&t, |t| loss(&s, t)).is_none());
        Ok(())
    }

    #[test]
    fn what_does_not_fit_is_an_error_of_one_line() -> Result<()> {
        let (z, w) = (noise(&[4, 7], 1)?, noise(&[4, 6], 1)?);
        refused(logit_differences(&z, &w, &z), "logit_differences: expected logits");
        refused(logit_differences(&z, &z, &w), "logit_differences: expected weights [4, 7]");
        refused(prediction_weights(&z, 0., 1.), "prediction_weights: expected a finite");
        Ok(())
    }
}
