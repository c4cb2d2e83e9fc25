//! The mean of several networks' predictions, as logits that stand for it.

use kd_core::{Error, Result};
use serde::Deserialize;

/// Which mean (section 2 of the paper names both).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mean {
    /// Of the probabilities.
    Arithmetic,
    /// Of the probabilities, geometric and brought back to sum 1: the softmax of the mean logits.
    Geometric,
}

/// Logits `l`, row-major `[n, classes]`, such that `softmax(l / t)` is the mean of the members'
/// `softmax(v / t)`.
///
/// For the geometric mean that is the mean of the logits at any temperature; for the arithmetic
/// mean, `t · ln p̄`.
///
/// # Errors
/// Bad input when there is no member, or they have different sizes.
pub fn combine(members: &[Vec<f32>], classes: usize, mean: Mean, t: f64) -> Result<Vec<f32>> {
    let Some(first) = members.first() else {
        return Err(Error::bad_input("an ensemble needs at least 1 member, got 0"));
    };
    if let Some(other) = members.iter().find(|m| m.len() != first.len()) {
        return Err(Error::bad_input(format!(
            "the members' logits differ in size: {} and {}",
            first.len(),
            other.len()
        )));
    }
    let n = members.len() as f64;
    let mut sum = vec![0f64; first.len()];
    for member in members {
        for (sum, row) in sum.chunks_mut(classes).zip(member.chunks(classes)) {
            match mean {
                Mean::Geometric => {
                    sum.iter_mut().zip(row).for_each(|(s, &v)| *s += f64::from(v) / n)
                }
                Mean::Arithmetic => {
                    sum.iter_mut().zip(softmax(row, t)).for_each(|(s, p)| *s += p / n)
                }
            }
        }
    }
    // The smallest positive number keeps a class that no member believes in at a very low, finite
    // logit.
    let logit =
        |s: f64| if mean == Mean::Arithmetic { t * s.max(f64::MIN_POSITIVE).ln() } else { s };
    Ok(sum.into_iter().map(|s| logit(s) as f32).collect())
}

/// Probabilities of one row of logits at temperature `t`, in double precision.
pub fn softmax(row: &[f32], t: f64) -> Vec<f64> {
    let top = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f64> = row.iter().map(|&v| (f64::from(v - top) / t).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|p| p / sum).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_combined_logits_give_the_mean_of_the_probabilities_at_that_temperature() -> Result<()> {
        let members = [vec![1., 0., -2.], vec![-1., 3., 0.5]];
        let t = 4.;
        let (p, q) = (softmax(&members[0], t), softmax(&members[1], t));
        let arithmetic = softmax(&combine(&members, 3, Mean::Arithmetic, t)?, t);
        let geometric = softmax(&combine(&members, 3, Mean::Geometric, t)?, t);
        let products: Vec<f64> = p.iter().zip(&q).map(|(a, b)| (a * b).sqrt()).collect();
        let sum: f64 = products.iter().sum();
        for c in 0..3 {
            assert!((arithmetic[c] - (p[c] + q[c]) / 2.).abs() < 1e-6);
            assert!((geometric[c] - products[c] / sum).abs() < 1e-6);
        }
        Ok(())
    }

    #[test]
    fn one_member_is_its_own_mean_and_none_is_bad_input() -> Result<()> {
        let member = vec![0.5, -1., 2.];
        let same = combine(std::slice::from_ref(&member), 3, Mean::Geometric, 1.)?;
        assert_eq!(same, member);
        assert!(combine(&[], 3, Mean::Geometric, 1.).expect_err("no member").is_bad_input());
        assert!(
            combine(&[vec![0.; 3], vec![0.; 6]], 3, Mean::Geometric, 1.)
                .expect_err("sizes")
                .is_bad_input()
        );
        Ok(())
    }
}
