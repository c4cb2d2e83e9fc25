//! The kernels behind [`super::multiply_add`] and [`super::tanh_multiply_add`]: one pass forward
//! and one backward, in which the incoming gradient becomes that of the shift.

use std::mem::MaybeUninit;

use candle_core::{Result, Tensor};

use crate::exp::exp32_nonpos;
use crate::graph::{Backward, Grad, record, sum, values};
use crate::multiversion::multiversioned;
use crate::operand::TASK;
use crate::output::{Parts, assume_init, written};
use crate::rows::tasks;

pub(super) fn multiply_add(x: &Tensor, scale: &Tensor, shift: &Tensor) -> Result<Tensor> {
    let (x, scale, shift) = (x.contiguous()?, scale.contiguous()?, shift.contiguous()?);
    let out = {
        let (xs, scales, shifts) = (values(&x)?, values(&scale)?, values(&shift)?);
        let (xs, scales, shifts): (&[f32], &[f32], &[f32]) = (&xs, &scales, &shifts);
        let write = |out: &mut [MaybeUninit<f32>]| {
            let out = Parts::of(out);
            each_task(xs.len(), |start, len| {
                // SAFETY: each task has a part of its own.
                let out = unsafe { out.part(start, len) };
                scaled(&xs[start..][..len], &scales[start..][..len], &shifts[start..][..len], out);
            });
        };
        // SAFETY: the tasks cover the result, and `scaled` writes all of a part.
        unsafe { written(xs.len(), write) }.0
    };
    let op = || Ok(MultiplyAdd { x: x.detach(), scale: scale.detach(), has_tanh: false });
    record(&[&x, &scale, &shift], out, x.shape(), false, op)
}

pub(super) fn tanh_multiply_add(x: &Tensor, scale: &Tensor, shift: &Tensor) -> Result<Tensor> {
    let (x, scale, shift) = (x.contiguous()?, scale.contiguous()?, shift.contiguous()?);
    let (tanh, out) = {
        let (xs, scales, shifts) = (values(&x)?, values(&scale)?, values(&shift)?);
        let (xs, scales, shifts): (&[f32], &[f32], &[f32]) = (&xs, &scales, &shifts);
        let write = |tanh: &mut [MaybeUninit<f32>], out: &mut [MaybeUninit<f32>]| {
            let (tanh, out) = (Parts::of(tanh), Parts::of(out));
            each_task(xs.len(), |start, len| {
                // SAFETY: each task has parts of its own.
                let [tanh, out] = [tanh, out].map(|t| unsafe { t.part(start, len) });
                tanh_of(&xs[start..][..len], tanh);
                // SAFETY: `tanh_of` has written all of it.
                let tanh = unsafe { assume_init(tanh) };
                scaled(tanh, &scales[start..][..len], &shifts[start..][..len], out);
            });
        };
        // SAFETY: the tasks cover both vectors, and `tanh_of` and `scaled` write all of a part.
        unsafe { written(xs.len(), |tanh| written(xs.len(), |out| write(tanh, out)).0) }
    };
    let tanh = Tensor::from_vec(tanh, x.shape(), x.device())?;
    record(&[&x, &scale, &shift], out, x.shape(), false, || {
        Ok(MultiplyAdd { x: tanh, scale: scale.detach(), has_tanh: true })
    })
}

/// Calls `task` with the borders of each task's part of `len` values: where it starts, and how long
/// it is.
fn each_task(len: usize, task: impl Fn(usize, usize) + Sync + Send) {
    tasks(len.div_ceil(TASK), |i| task(i * TASK, TASK.min(len - i * TASK)));
}

/// Writes all of a part of a result, from its start on and of its length.
type Fill<'a> = &'a (dyn Fn(usize, usize, &mut [MaybeUninit<f32>]) + Sync);

struct MultiplyAdd {
    /// x, or its hyperbolic tangent.
    x: Tensor,
    scale: Tensor,
    has_tanh: bool,
}

impl Backward for MultiplyAdd {
    fn backward(
        &self,
        _y: Option<&Tensor>,
        grad: Vec<Grad>,
        wanted: &[bool],
    ) -> Result<Vec<Option<Grad>>> {
        let grad = sum(grad)?;
        let (dx, dscale) = {
            let (gs, xs, scales) = (grad.values()?, values(&self.x)?, values(&self.scale)?);
            let (gs, xs, scales): (&[f32], &[f32], &[f32]) = (&gs, &xs, &scales);
            let filled = |fill: Fill| {
                let write = |out: &mut [MaybeUninit<f32>]| {
                    let out = Parts::of(out);
                    each_task(gs.len(), |start, len| {
                        // SAFETY: each task has a part of its own.
                        fill(start, len, unsafe { out.part(start, len) })
                    });
                };
                // SAFETY: the tasks cover the vector, and each of the functions below writes all of
                // a part.
                Some(Grad::Owned(unsafe { written(gs.len(), write) }.0))
            };
            let dx = match (wanted[0], self.has_tanh) {
                (false, _) => None,
                (true, false) => filled(&|start, len, dx| {
                    product(&gs[start..][..len], &scales[start..][..len], dx)
                }),
                (true, true) => filled(&|start, len, dx| {
                    let [gs, scales, tanh] = [gs, scales, xs].map(|t| &t[start..][..len]);
                    tanh_gradient(gs, scales, tanh, dx);
                }),
            };
            let dscale = wanted[1].then(|| {
                filled(&|start, len, ds| product(&gs[start..][..len], &xs[start..][..len], ds))
            });
            (dx, dscale.flatten())
        };
        Ok(vec![dx, dscale, Some(grad)])
    }
}

multiversioned! {
    /// out = x · scale + shift.
    fn scaled(x: &[f32], scale: &[f32], shift: &[f32], out: &mut [MaybeUninit<f32>]) {
        for ((out, x), (scale, shift)) in out.iter_mut().zip(x).zip(scale.iter().zip(shift)) {
            out.write(x * scale + shift);
        }
    }
}

multiversioned! {
    /// out = a · b.
    fn product(a: &[f32], b: &[f32], out: &mut [MaybeUninit<f32>]) {
        for (out, (a, b)) in out.iter_mut().zip(a.iter().zip(b)) {
            out.write(a * b);
        }
    }
}

multiversioned! {
    /// dx = g · scale · (1 − tanh²).
    fn tanh_gradient(g: &[f32], scale: &[f32], tanh: &[f32], dx: &mut [MaybeUninit<f32>]) {
        for ((dx, g), (scale, t)) in dx.iter_mut().zip(g).zip(scale.iter().zip(tanh)) {
            dx.write(g * scale * (1.0 - t * t));
        }
    }
}

multiversioned! {
    /// out = tanh x.
    fn tanh_of(x: &[f32], out: &mut [MaybeUninit<f32>]) {
        for (out, &x) in out.iter_mut().zip(x) {
            out.write(tanh(x));
        }
    }
}

/// tanh x, to about 2e-7 of its value; NaN for NaN.
///
/// Near 0 by the odd polynomial of Cephes' `tanhf`, elsewhere as (1 − e)/(1 + e) with e =
/// e^(−2|x|), which would lose the small results.
#[inline(always)]
fn tanh(x: f32) -> f32 {
    let (size, square) = (x.abs(), x * x);
    let mut p = -5.704_988_7e-3;
    p = p * square + 2.063_909e-2;
    p = p * square - 5.373_971_6e-2;
    p = p * square + 1.333_144_2e-1;
    p = p * square - 3.333_328e-1;
    let near = p * square * x + x;
    let e = exp32_nonpos(-2.0 * size);
    let far = ((1.0 - e) / (1.0 + e)).copysign(x);
    if size < 0.625 { near } else { far }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tanh_agrees_with_the_standard_library() {
        for i in -200_000..=200_000 {
            let x = i as f32 * 5e-5;
            let (got, want) = (f64::from(tanh(x)), f64::from(x).tanh());
            assert!((got - want).abs() <= 2.5e-7 * want.abs(), "x {x}: got {got}, expected {want}");
        }
        assert_eq!([tanh(60.0), tanh(-60.0), tanh(f32::INFINITY)], [1.0, -1.0, 1.0]);
        assert!(tanh(f32::NAN).is_nan());
    }
}
