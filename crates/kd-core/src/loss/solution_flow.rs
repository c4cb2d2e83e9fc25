//! The flow of solution procedure: how features of one stage go with those of the next.

use candle_core::{Result, Tensor, bail};
use kd_kernels::pool::avg_pool2d;

use super::operands;

/// Mean squared distance of two matrices of flow: `1/(b·c·c') · Σ (G_S − G_T)²`, for one pair of
/// stages.
///
/// `student` and `teacher` are the two stages' maps of each: `[b, c, h, w]` before and `[b, c', h',
/// w']` after, of the same c and c' in both networks; sizes may differ → scalar. A method takes the
/// mean or the sum over pairs. The teacher is detached.
///
/// Source: Yim, Joo, Bae and Kim 2017, "A gift from knowledge distillation: fast optimization,
/// network minimization and transfer learning", equations 1 and 2. Deviations, RepDistiller's: the
/// mean over all elements for the sum over channels, and average pooling for maximum pooling.
///
/// # Errors
/// When the shapes do not fit, unequal channels of student and teacher among them.
pub fn solution_flow(student: (&Tensor, &Tensor), teacher: (&Tensor, &Tensor)) -> Result<Tensor> {
    let ours = flow(student.0, student.1)?;
    let theirs = flow(&teacher.0.detach(), &teacher.1.detach())?;
    if ours.dims() != theirs.dims() {
        bail!(
            "solution_flow: expected matrices [b, c, c'] of one shape, got {:?} of the student and {:?} of the teacher",
            ours.dims(),
            theirs.dims()
        )
    }
    (ours - theirs)?.sqr()?.mean_all()
}

/// The matrix of flow `G(b, i, j) = 1/(hw) · Σ_p x(b, i, p) · y(b, j, p)`, the larger map
/// average-pooled to the size of the smaller: `[b, c, h, w]`, `[b, c', h', w']` → `[b, c, c']`.
///
/// # Errors
/// When the batches differ, one is empty, or the larger size is no whole multiple of the smaller.
pub fn flow(before: &Tensor, after: &Tensor) -> Result<Tensor> {
    let (&[b, _, h, w], &[b2, _, h2, w2]) = (before.dims(), after.dims()) else {
        bail!(
            "flow: expected maps [b, c, h, w], got {:?} before and {:?} after",
            before.dims(),
            after.dims()
        )
    };
    if b != b2 || before.elem_count() == 0 || after.elem_count() == 0 {
        bail!(
            "flow: expected maps of one batch, not empty, got {:?} before and {:?} after",
            before.dims(),
            after.dims()
        )
    }
    let Some(factor) = operands::pooling((h, w), (h2, w2)) else {
        bail!(
            "flow: maps of {h}x{w} and {h2}x{w2} pixels: expected one to be a whole multiple of the other in both directions"
        )
    };
    let fitted = |x: &Tensor, larger: bool| -> Result<Tensor> {
        if larger && factor > 1 {
            avg_pool2d(x, factor, factor, 0, true)?.flatten_from(2)
        } else {
            x.flatten_from(2)?.contiguous()
        }
    };
    let (x, y) = (fitted(before, h > h2)?, fitted(after, h2 > h)?);
    x.matmul(&y.t()?)? * (1. / x.dim(2)? as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loss::testing::{differences_agree, finite, flat, gradient, noise, refused, scalar};

    #[test]
    fn it_is_zero_with_gradient_zero_between_equals() -> Result<()> {
        let (x, y) = (noise(&[2, 3, 8, 8], 1)?, noise(&[2, 5, 4, 4], 2)?);
        let (value, g) = finite(&x, |x| solution_flow((x, &y), (x, &y)));
        assert!(value == 0. && g.iter().all(|g| *g == 0.));
        assert!(scalar(&solution_flow((&x, &y), (&noise(&[2, 3, 4, 4], 3)?, &y))?) > 1e-3);
        Ok(())
    }

    #[test]
    fn flow_is_the_mean_product_of_channels_of_the_pooled_map_either_way_round() -> Result<()> {
        let (x, y) = (noise(&[2, 3, 8, 8], 1)?, noise(&[2, 5, 4, 4], 2)?);
        let (small, g) = (flat(&x.avg_pool2d(2)?)?, flat(&flow(&x, &y)?)?);
        let y_values = flat(&y)?;
        for (b, i, j) in [(0, 0, 0), (0, 2, 1), (1, 1, 4), (1, 2, 3)] {
            let want = (0..16)
                .map(|p| small[(b * 3 + i) * 16 + p] * y_values[(b * 5 + j) * 16 + p])
                .sum::<f64>()
                / 16.;
            assert!((g[(b * 3 + i) * 5 + j] - want).abs() < 1e-6, "{b} {i} {j}");
        }
        let other = flat(&flow(&y, &x)?.t()?.contiguous()?)?;
        assert!(g.iter().zip(&other).all(|(a, b)| (a - b).abs() < 1e-6));
        Ok(())
    }

    #[test]
    fn it_ignores_the_order_of_pixels_when_both_maps_have_it() -> Result<()> {
        let (x, y, t) =
            (noise(&[2, 3, 4, 4], 1)?, noise(&[2, 5, 4, 4], 2)?, noise(&[2, 3, 4, 4], 3)?);
        let turned = |x: &Tensor| x.t()?.contiguous();
        let plain = scalar(&solution_flow((&x, &y), (&t, &y))?);
        let other = scalar(&solution_flow((&turned(&x)?, &turned(&y)?), (&t, &y))?);
        assert!(plain > 1e-3 && (plain - other).abs() < 1e-6 * plain.max(1.), "{plain} {other}");
        Ok(())
    }

    #[test]
    fn the_gradients_are_those_of_differences_and_none_reaches_the_teacher() -> Result<()> {
        let (x, y) = (noise(&[2, 3, 4, 4], 1)?, noise(&[2, 4, 2, 2], 2)?);
        let (tx, ty) = (noise(&[2, 3, 8, 8], 3)?, noise(&[2, 4, 4, 4], 4)?);
        let in64 = |x: &Tensor| x.to_dtype(candle_core::DType::F64);
        differences_agree(&x, 7, |x| solution_flow((x, &in64(&y)?), (&in64(&tx)?, &in64(&ty)?)));
        differences_agree(&y, 5, |y| solution_flow((&in64(&x)?, y), (&in64(&tx)?, &in64(&ty)?)));
        assert!(gradient(&tx, |t| solution_flow((&x, &y), (t, &ty))).is_none());
        Ok(())
    }

    #[test]
    fn unequal_channels_are_an_error_of_one_line() -> Result<()> {
        let (x, y, wide) =
            (noise(&[2, 3, 4, 4], 1)?, noise(&[2, 4, 4, 4], 2)?, noise(&[2, 8, 4, 4], 3)?);
        let shapes = "expected matrices [b, c, c'] of one shape, got [2, 3, 4] of the student and [2, 3, 8] of the teacher";
        refused(solution_flow((&x, &y), (&x, &wide)), &format!("solution_flow: {shapes}"));
        let sizes = "maps of 4x4 and 3x3 pixels: expected one to be a whole multiple of the other in both directions";
        refused(flow(&x, &noise(&[2, 4, 3, 3], 1)?), &format!("flow: {sizes}"));
        Ok(())
    }
}
