//! The kernel behind [`super::layer_norm`] and [`super::residual_norm`].
//!
//! A task is a run of rows. Forward: the residual sum goes to the result's memory, where the
//! moments and the result of a row are taken while it is in the first cache. Kept is the normalised
//! row before gain and bias, beside 1/std, so that the backward pass reads one tensor and
//! not two and a mask; the gradient of x is written over the one that came in.

use std::mem::MaybeUninit;

use candle_core::{Result, Tensor};

use crate::dropout::cpu::{DropoutMask, add_dropped_out, drop_out_into};
use crate::graph::{Backward, Grad, record, sum, values};
use crate::multiversion::multiversioned;
use crate::output::{Parts, copied, written};
use crate::rows::{self, in_order, per_task, tasks};

/// Applies the kernel: without a sublayer, plain normalisation. Shapes are checked; all tensors are
/// `f32` on the CPU.
pub(super) fn norm(
    x: &Tensor,
    sublayer: Option<&Tensor>,
    gain: &Tensor,
    bias: &Tensor,
    eps: f64,
    dropout: Option<DropoutMask>,
) -> Result<Tensor> {
    let (x, gain, bias) = (x.contiguous()?, gain.contiguous()?, bias.contiguous()?);
    let sublayer = sublayer.map(Tensor::contiguous).transpose()?;
    let d = gain.elem_count();
    let mut inputs = vec![&x, &gain, &bias];
    inputs.extend(&sublayer);
    let tracked = inputs.iter().any(|t| t.track_op());
    let (ys, normal, rstd) = {
        let (xs, gs, bs, ss) = (
            values(&x)?,
            values(&gain)?,
            values(&bias)?,
            sublayer.as_ref().map(values).transpose()?,
        );
        let (xs, gs, bs, ss) = (&*xs, &*gs, &*bs, ss.as_deref());
        let each = per_task(d) * d;
        let mut rstd = vec![0f32; xs.len() / d];
        let rstds = Parts::of(&mut rstd);
        let write = |y: &mut [MaybeUninit<f32>], normal: &mut [MaybeUninit<f32>]| {
            let (y, normal) = (Parts::of(y), Parts::of(normal));
            tasks(xs.len().div_ceil(each), |task| {
                let start = task * each;
                let x = &xs[start..(start + each).min(xs.len())];
                // SAFETY: each task has parts of its own.
                let (y, normal, rstd) = unsafe {
                    (
                        y.part(start, x.len()),
                        normal.part(start, x.len()),
                        rstds.part(start / d, x.len() / d),
                    )
                };
                let y = copied(y, x);
                match (ss, &dropout) {
                    (None, _) => {}
                    (Some(s), Some(dropout)) => {
                        add_dropped_out(dropout, start as u64, &s[start..][..x.len()], y)
                    }
                    (Some(s), None) => crate::elementwise::add(y, &s[start..][..x.len()]),
                }
                normalise(y, gs, bs, eps, normal, rstd);
            });
        };
        // SAFETY: the tasks cover all rows; each copies to its part of the first, and `normalise`
        // writes its part of the second, if there is one.
        let (ys, (normal, ())) = unsafe {
            written(xs.len(), |y| {
                written(if tracked { xs.len() } else { 0 }, |normal| write(y, normal))
            })
        };
        (ys, normal, rstd)
    };
    let op = || Ok(Norm { normal, rstd, gain: gain.detach(), dropout });
    record(&inputs, ys, x.shape(), false, op)
}

struct Norm {
    /// (x − mean) / std of each row.
    normal: Vec<f32>,
    /// 1 / std of each row.
    rstd: Vec<f32>,
    gain: Tensor,
    dropout: Option<DropoutMask>,
}

impl Backward for Norm {
    fn backward(
        &self,
        _y: Option<&Tensor>,
        grad: Vec<Grad>,
        wanted: &[bool],
    ) -> Result<Vec<Option<Grad>>> {
        let mut dx = sum(grad)?.into_vec()?;
        let gain = values(&self.gain)?;
        let gain: &[f32] = &gain;
        let d = gain.len();
        let (len, each) = (dx.len(), per_task(d) * d);
        let sublayer = wanted.get(3) == Some(&true);
        let dropout = self.dropout.as_ref().filter(|_| sublayer);
        let over = Parts::of(&mut dx);
        let pass = |dropped: &mut [MaybeUninit<f32>]| {
            let dropped = Parts::of(dropped);
            tasks(len.div_ceil(each), |task| {
                let start = task * each;
                // SAFETY: each task has a part of its own.
                let g = unsafe { over.part(start, each) };
                let mut sums = vec![0f32; 2 * d];
                gradient(
                    g,
                    &self.normal[start..][..g.len()],
                    &self.rstd[start / d..][..g.len() / d],
                    gain,
                    &mut sums,
                );
                if let Some(dropout) = dropout {
                    // SAFETY: as above.
                    drop_out_into(dropout, start as u64, g, unsafe {
                        dropped.part(start, g.len())
                    });
                }
                sums
            })
        };
        // SAFETY: the tasks cover all rows, and each writes its part where there is one to write.
        let (dropped, sums) = unsafe { written(if dropout.is_some() { len } else { 0 }, pass) };
        let mut dgain = in_order(sums, 2 * d);
        let dbias = dgain.split_off(d);
        let (dx, ds) = match (sublayer, dropout) {
            (false, _) => (Grad::Owned(dx), None),
            (true, Some(_)) => (Grad::Owned(dx), Some(Grad::Owned(dropped))),
            (true, None) => {
                let [dx, ds] = Grad::Owned(dx).twice()?;
                (dx, Some(ds))
            }
        };
        Ok(vec![Some(dx), Some(Grad::Owned(dgain)), Some(Grad::Owned(dbias)), ds])
    }
}

multiversioned! {
    /// Normalises the rows of `y` in place. `normal`, if not empty, takes them before gain and bias.
    fn normalise(y: &mut [f32], gain: &[f32], bias: &[f32], eps: f64, normal: &mut [MaybeUninit<f32>], rstd: &mut [f32]) {
        let d = gain.len();
        let inverse = 1.0 / d as f32;
        for (i, (y, rstd)) in y.chunks_exact_mut(d).zip(rstd).enumerate() {
            let mean = rows::sum(y) * inverse;
            let variance = rows::sum_of_squares(y, mean) * inverse;
            let scale = (1.0 / (f64::from(variance) + eps).sqrt()) as f32;
            *rstd = scale;
            if normal.is_empty() {
                for (y, (gain, bias)) in y.iter_mut().zip(gain.iter().zip(bias)) {
                    *y = (*y - mean) * scale * gain + bias;
                }
            } else {
                for ((y, normal), (gain, bias)) in y.iter_mut().zip(&mut normal[i * d..][..d]).zip(gain.iter().zip(bias)) {
                    let n = (*y - mean) * scale;
                    normal.write(n);
                    *y = n * gain + bias;
                }
            }
        }
    }
}

multiversioned! {
    /// Turns the gradient of the results in `g` into that of the rows, and adds those of gain and bias to the halves of `sums`.
    fn gradient(g: &mut [f32], normal: &[f32], rstd: &[f32], gain: &[f32], sums: &mut [f32]) {
        let d = gain.len();
        let inverse = 1.0 / d as f32;
        let (dgain, dbias) = sums.split_at_mut(d);
        for ((g, normal), &rstd) in g.chunks_exact_mut(d).zip(normal.chunks_exact(d)).zip(rstd) {
            for (((g, n), gain), (dgain, dbias)) in g.iter_mut().zip(normal).zip(gain).zip(dgain.iter_mut().zip(dbias.iter_mut())) {
                *dgain += *g * n;
                *dbias += *g;
                *g *= gain;
            }
            let (mean, slope) = (rows::sum(g) * inverse, rows::dot(g, normal) * inverse);
            for (g, n) in g.iter_mut().zip(normal) {
                *g = (*g - mean - n * slope) * rstd;
            }
        }
    }
}
