//! N-to-one representation matching.

use candle_core::{Result, Tensor, bail};
use kd_kernels::pool::max_pool2d;

use super::{hint, operands};

/// Distance of an expanded map of the student from as many copies of the teacher's as it holds:
///
/// `Σ_{k < n} mean((E_k − P(T))²)`, where E_k is the k-th of the n groups of c channels of the
/// expanded map, the mean is over all elements, and P takes the largest of the values of a window
/// where the teacher's map is larger.
///
/// `expanded` `[b, n·c, h, w]`, `teacher` `[b, c, h', w']`, h' and w' the same multiple of h and w
/// → scalar. The teacher is detached.
///
/// Source: Liu, Li, Li and Yao 2023, "NORM: knowledge distillation via N-to-one representation
/// matching", section 3, as the official program has it: n times the mean over all n·c channels.
///
/// # Errors
/// When the shapes do not fit or are empty.
pub fn n_to_one(expanded: &Tensor, teacher: &Tensor) -> Result<Tensor> {
    let (&[b, wide, h, w], &[bt, c, ht, wt]) = (expanded.dims(), teacher.dims()) else {
        bail!(
            "n_to_one: expected maps [b, n·c, h, w] and [b, c, h', w'], got {:?} and {:?}",
            expanded.dims(),
            teacher.dims()
        )
    };
    let window = if (h, w) <= (ht, wt) { operands::pooling((h, w), (ht, wt)) } else { None };
    let (Some(window), true) =
        (window, b == bt && c > 0 && wide > 0 && wide.is_multiple_of(c.max(1)))
    else {
        bail!(
            "n_to_one: expected a student's map of a whole multiple of the teacher's channels, and a teacher's of a whole multiple of its size, got {:?} of the student and {:?} of the teacher",
            expanded.dims(),
            teacher.dims()
        )
    };
    let teacher = teacher.detach();
    let teacher = if window > 1 { max_pool2d(&teacher, window, window, 0)? } else { teacher };
    let n = wide / c;
    hint(expanded, &teacher.repeat((1, n, 1, 1))?)? * n as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loss::testing::{differences_agree, finite, gradient, noise, refused, scalar};

    #[test]
    fn it_is_zero_for_copies_and_the_sum_over_the_groups_elsewhere() -> Result<()> {
        let (x, t) = (noise(&[2, 9, 4, 4], 1)?, noise(&[2, 3, 4, 4], 2)?);
        let (value, g) = finite(&t.repeat((1, 3, 1, 1))?, |s| n_to_one(s, &t));
        assert!(value == 0. && g.iter().all(|g| *g == 0.));
        let groups: f64 = (0..3)
            .map(|k| Ok(scalar(&hint(&x.narrow(1, 3 * k, 3)?.contiguous()?, &t)?)))
            .sum::<Result<f64>>()?;
        let value = scalar(&n_to_one(&x, &t)?);
        assert!((value - groups).abs() < 1e-5 * groups, "{value} {groups}");
        Ok(())
    }

    #[test]
    fn of_a_larger_map_of_the_teacher_the_largest_values_count() -> Result<()> {
        let small = noise(&[2, 3, 2, 2], 1)?;
        // Each pixel becomes four, three of which are less.
        let less = (&small - 5.)?;
        let rows = |a: &Tensor, b: &Tensor| -> Result<Tensor> {
            Tensor::stack(&[a, b], 4)?.reshape((2, 3, 2, 4))
        };
        let (up, down) = (rows(&small, &less)?, rows(&less, &less)?);
        let large = Tensor::stack(&[&up, &down], 3)?.reshape((2, 3, 4, 4))?;
        assert_eq!(scalar(&n_to_one(&small, &large)?), 0.);
        Ok(())
    }

    #[test]
    fn the_gradient_is_that_of_differences_and_none_reaches_the_teacher() -> Result<()> {
        let (x, t) = (noise(&[2, 6, 2, 2], 1)?, noise(&[2, 3, 4, 4], 2)?);
        differences_agree(&x, 1, |s| n_to_one(s, &t.to_dtype(s.dtype())?));
        assert!(gradient(&t, |t| n_to_one(&x, t)).is_none());
        Ok(())
    }

    #[test]
    fn what_does_not_fit_is_an_error_of_one_line() -> Result<()> {
        let x = noise(&[2, 6, 4, 4], 1)?;
        for t in [[2, 4, 4, 4], [3, 3, 4, 4], [2, 3, 2, 2], [2, 3, 6, 6]] {
            refused(n_to_one(&x, &noise(&t, 1)?), "n_to_one: ");
        }
        refused(n_to_one(&noise(&[2, 6], 1)?, &x), "n_to_one: ");
        Ok(())
    }
}
