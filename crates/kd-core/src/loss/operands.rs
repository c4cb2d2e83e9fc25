//! What losses share: checks of shapes and labels, maps of one size, vectors of length 1.

use candle_core::{D, DType, Result, Tensor, bail};
use kd_kernels::pool::avg_pool2d;

/// The square of the length at and below which a vector counts as 0: `F.normalize`'s 1e-12.
const SHORTEST_SQUARED: f64 = 1e-24;

/// What stands for 0 under a root: a number of f32 whose root is far below any of use.
const SMALLEST: f64 = 1e-30;

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

/// Checks two batches of logits of one shape, `[b, c]` with c ≥ 2, and detaches the second, the
/// teacher's.
///
/// # Errors
/// When they are of another shape.
pub(super) fn logits(student: &Tensor, teacher: &Tensor, loss: &str) -> Result<Tensor> {
    let (dims, other) = (student.dims(), teacher.dims());
    match dims {
        &[b, c] if dims == other && b > 0 && c > 1 => Ok(teacher.detach()),
        _ => bail!(
            "{loss}: expected logits [b, c] of one shape with c >= 2, got {dims:?} of the student and {other:?} of the teacher"
        ),
    }
}

/// Where the class of each case of logits `[b, c]` stands: u8 `[b, c]`, 1 at the label.
///
/// # Errors
/// When the labels are not u32 `[b]` and classes of the logits.
pub(super) fn true_class(labels: &Tensor, logits: &Tensor, loss: &str) -> Result<Tensor> {
    let (b, c) = logits.dims2()?;
    if labels.dtype() != DType::U32 || labels.dims() != [b] {
        bail!("{loss}: expected u32 labels [{b}], got {:?} {:?}", labels.dtype(), labels.dims())
    }
    // A look at them on an accelerator would wait for all that it has to do.
    if labels.device().is_cpu() {
        let largest = labels.max(D::Minus1)?.to_scalar::<u32>()?;
        if largest as usize >= c {
            bail!("{loss}: expected labels below {c}, got {largest}")
        }
    }
    let classes = Tensor::arange(0, c as u32, labels.device())?.unsqueeze(0)?;
    labels.unsqueeze(1)?.broadcast_eq(&classes)
}

/// Checks a temperature.
///
/// # Errors
/// When it is not finite and above 0.
pub(super) fn temperature(temperature: f64, loss: &str) -> Result<()> {
    if !(temperature.is_finite() && temperature > 0.) {
        bail!("{loss}: expected a finite temperature above 0, got {temperature}")
    }
    Ok(())
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

/// √x with the gradient 0 at 0, where the value is 1e-15.
pub(super) fn sqrt(squares: &Tensor) -> Result<Tensor> {
    root(squares, SMALLEST)
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
