//! What losses on maps and vectors share: checks of shapes, maps of one size, vectors of length 1.

use candle_core::{D, Result, Tensor, bail};
use kd_kernels::pool::avg_pool2d;

/// The square of the length at and below which a vector counts as 0: `F.normalize`'s 1e-12.
const SHORTEST_SQUARED: f64 = 1e-24;

/// Checks two batches of maps, `[b, c, h, w]` and `[b, c', h', w']`, and brings both to the size of
/// the smaller by average pooling, as PyTorch's `adaptive_avg_pool2d` does. The second, the
/// teacher's, is detached.
///
/// # Errors
/// When one is empty or of another rank, the batches differ, or the larger size is no whole
/// multiple of the smaller, the same in both directions.
pub(crate) fn maps(student: &Tensor, teacher: &Tensor, loss: &str) -> Result<(Tensor, Tensor)> {
    let (&[b, _, h, w], &[bt, _, ht, wt]) = (student.dims(), teacher.dims()) else {
        bail!(
            "{loss}: expected maps [b, c, h, w], got {:?} of the student and {:?} of the teacher",
            student.dims(),
            teacher.dims()
        )
    };
    if b != bt || student.elem_count() == 0 || teacher.elem_count() == 0 {
        bail!(
            "{loss}: expected maps of one batch, not empty, got {:?} of the student and {:?} of the teacher",
            student.dims(),
            teacher.dims()
        )
    }
    let teacher = teacher.detach();
    if (h, w) == (ht, wt) {
        return Ok((student.clone(), teacher));
    }
    let Some(factor) = pooling((h, w), (ht, wt)) else {
        bail!(
            "{loss}: maps of {h}x{w} and {ht}x{wt} pixels: expected one to be a whole multiple of the other in both directions"
        )
    };
    let pooled = |x: &Tensor| avg_pool2d(x, factor, factor, 0, true);
    if h > ht { Ok((pooled(student)?, teacher)) } else { Ok((student.clone(), pooled(&teacher)?)) }
}

/// The side of the windows that bring the larger of two maps (height, width) to the size of the
/// smaller, or `None` if there is none.
pub(crate) fn pooling(a: (usize, usize), b: (usize, usize)) -> Option<usize> {
    let (large, small) = (a.max(b), a.min(b));
    let factor = large.0.checked_div(small.0)?;
    (factor > 0 && (small.0 * factor, small.1 * factor) == large).then_some(factor)
}

/// Checks two batches of vectors, `[b, d]` and `[b, d']`, and detaches the second, the teacher's.
///
/// # Errors
/// When one is empty or of another rank, or the batches differ.
pub(super) fn vectors(student: &Tensor, teacher: &Tensor, loss: &str) -> Result<(Tensor, Tensor)> {
    match (student.dims(), teacher.dims()) {
        ([b, d], [bt, dt]) if b == bt && b * d * dt > 0 => Ok((student.clone(), teacher.detach())),
        (s, t) => bail!(
            "{loss}: expected vectors [b, d] of one batch, not empty, got {s:?} of the student and {t:?} of the teacher"
        ),
    }
}

/// Detaches the teacher's values, which are of the student's shape.
///
/// # Errors
/// When the shapes differ or are empty.
pub(super) fn alike(student: &Tensor, teacher: &Tensor, loss: &str) -> Result<Tensor> {
    if student.dims() != teacher.dims() || student.elem_count() == 0 {
        bail!(
            "{loss}: expected one shape, not empty, got {:?} of the student and {:?} of the teacher",
            student.dims(),
            teacher.dims()
        )
    }
    Ok(teacher.detach())
}

/// Vectors along the last dimension over their Euclidean length, as `F.normalize`, but that a
/// vector of length 1e-12 or less becomes 0 with gradient 0, where PyTorch divides value and
/// gradient by 1e-12.
pub(super) fn unit(vectors: &Tensor) -> Result<Tensor> {
    vectors.broadcast_mul(&inverse_root(&vectors.sqr()?.sum_keepdim(D::Minus1)?)?)
}

/// 1/√x for squared lengths x, and 0 with gradient 0 where the length is at most 1e-12. Candle's
/// root has the gradient 0/0 at 0.
pub(super) fn inverse_root(squares: &Tensor) -> Result<Tensor> {
    let long = squares.gt(SHORTEST_SQUARED)?.to_dtype(squares.dtype())?;
    root(squares, SHORTEST_SQUARED)?.recip()? * long
}

/// √max(x, floor); the gradient is 0 where x < floor.
pub(super) fn root(squares: &Tensor, floor: f64) -> Result<Tensor> {
    squares.maximum(floor)?.sqrt()
}

/// |x|, with the derivative 0 at 0, as in PyTorch; Candle's own `abs` takes 1 there.
pub(super) fn size(x: &Tensor) -> Result<Tensor> {
    x.mul(&x.detach().sign()?)
}

/// Mean of the smooth L1 distance (Huber's with δ = 1) of `x` from 0: ½x² where |x| < 1, and |x| −
/// ½ elsewhere.
pub(super) fn mean_smooth_l1(x: &Tensor) -> Result<Tensor> {
    // With c = x cut to [−1, 1], the value is c·x − ½c² and the derivative c, so that c may be
    // taken for a constant.
    let c = x.detach().clamp(-1., 1.)?;
    (x.mul(&c)? - (c.sqr()? * 0.5)?)?.mean_all()
}
