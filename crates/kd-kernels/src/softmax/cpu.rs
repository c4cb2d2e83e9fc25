//! The kernels behind [`super::softmax`], [`super::log_softmax`] and [`super::log_sum_exp`]:
//! contiguous f32 rows, one at a time.

use candle_core::{CpuStorage, CustomOp1, CustomOp2, D, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use crate::exp::{block_rows, dot, exp_nonpos, exp_rows, sum};
use crate::multiversion::multiversioned;
use crate::operand::{TASK, contiguous_f32};
use crate::smoothed_cross_entropy::rows::reduce;

pub(super) struct Softmax;
pub(super) struct LogSoftmax;
pub(super) struct LogSumExp;
struct SoftmaxGrad;
struct LogSoftmaxGrad;

impl CustomOp1 for Softmax {
    fn name(&self) -> &'static str {
        "softmax"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        map_rows(contiguous_f32(storage, layout, self.name())?, layout, softmax_rows)
    }

    fn bwd(&self, _xs: &Tensor, ys: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        ys.apply_op2_no_bwd(&grad.contiguous()?, &SoftmaxGrad).map(Some)
    }
}

impl CustomOp1 for LogSoftmax {
    fn name(&self) -> &'static str {
        "log_softmax"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        map_rows(contiguous_f32(storage, layout, self.name())?, layout, log_softmax_rows)
    }

    fn bwd(&self, _xs: &Tensor, ys: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        ys.apply_op2_no_bwd(&grad.contiguous()?, &LogSoftmaxGrad).map(Some)
    }
}

impl CustomOp1 for LogSumExp {
    fn name(&self) -> &'static str {
        "log_sum_exp"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let xs = contiguous_f32(storage, layout, self.name())?;
        let (row, task) = row_and_task(layout);
        let log_sums = |xs: &[f32], out: &mut [f32]| {
            for (xs, y) in xs.chunks_exact(row).zip(out) {
                *y = reduce(xs).0.log_sum() as f32;
            }
        };
        let mut out = vec![0f32; xs.len() / row];
        if xs.len() <= task {
            log_sums(xs, &mut out);
        } else {
            out.par_chunks_mut(task / row)
                .zip(xs.par_chunks(task))
                .for_each(|(out, xs)| log_sums(xs, out));
        }
        let outer = &layout.dims()[..layout.dims().len() - 1];
        Ok((CpuStorage::F32(out), Shape::from(outer)))
    }

    fn bwd(&self, xs: &Tensor, ys: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let softmax = xs.broadcast_sub(&ys.unsqueeze(D::Minus1)?)?.exp()?;
        softmax.broadcast_mul(&grad.unsqueeze(D::Minus1)?).map(Some)
    }
}

impl CustomOp2 for SoftmaxGrad {
    fn name(&self) -> &'static str {
        "softmax-backward"
    }

    fn cpu_fwd(
        &self,
        ys: &CpuStorage,
        ys_l: &Layout,
        grad: &CpuStorage,
        grad_l: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let ys = contiguous_f32(ys, ys_l, self.name())?;
        zip_rows(ys, contiguous_f32(grad, grad_l, self.name())?, ys_l, softmax_grad_rows)
    }
}

impl CustomOp2 for LogSoftmaxGrad {
    fn name(&self) -> &'static str {
        "log_softmax-backward"
    }

    fn cpu_fwd(
        &self,
        ys: &CpuStorage,
        ys_l: &Layout,
        grad: &CpuStorage,
        grad_l: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let ys = contiguous_f32(ys, ys_l, self.name())?;
        zip_rows(ys, contiguous_f32(grad, grad_l, self.name())?, ys_l, log_softmax_grad_rows)
    }
}

/// The length of a row and of a task's run of whole rows. The public functions have refused rows of
/// length 0.
fn row_and_task(layout: &Layout) -> (usize, usize) {
    let row = layout.dims().last().copied().unwrap_or(1).max(1);
    (row, row * (TASK / row).max(1))
}

fn map_rows(
    xs: &[f32],
    layout: &Layout,
    rows: fn(&[f32], usize, &mut [f32]),
) -> Result<(CpuStorage, Shape)> {
    let (row, task) = row_and_task(layout);
    let mut out = vec![0f32; xs.len()];
    if xs.len() <= task {
        rows(xs, row, &mut out);
    } else {
        out.par_chunks_mut(task).zip(xs.par_chunks(task)).for_each(|(out, xs)| rows(xs, row, out));
    }
    Ok((CpuStorage::F32(out), layout.shape().clone()))
}

fn zip_rows(
    ys: &[f32],
    grad: &[f32],
    layout: &Layout,
    rows: fn(&[f32], &[f32], usize, &mut [f32]),
) -> Result<(CpuStorage, Shape)> {
    let (row, task) = row_and_task(layout);
    let mut out = vec![0f32; ys.len()];
    if ys.len() <= task {
        rows(ys, grad, row, &mut out);
    } else {
        let inputs = ys.par_chunks(task).zip(grad.par_chunks(task));
        out.par_chunks_mut(task).zip(inputs).for_each(|(out, (ys, grad))| rows(ys, grad, row, out));
    }
    Ok((CpuStorage::F32(out), layout.shape().clone()))
}

multiversioned! {
    fn softmax_rows(xs: &[f32], row: usize, out: &mut [f32]) {
        let block = block_rows(row);
        let (mut maxes, mut terms) = (vec![0f32; block], vec![0f64; block * row]);
        for (xs, out) in xs.chunks(block * row).zip(out.chunks_mut(block * row)) {
            exp_rows(xs, row, 1.0, &mut maxes, &mut terms[..xs.len()]);
            for (terms, out) in terms.chunks_exact(row).zip(out.chunks_exact_mut(row)) {
                let scale = 1.0 / sum(terms);
                for (y, e) in out.iter_mut().zip(terms) {
                    *y = (e * scale) as f32;
                }
            }
        }
    }
}

multiversioned! {
    fn log_softmax_rows(xs: &[f32], row: usize, out: &mut [f32]) {
        let block = block_rows(row);
        let (mut maxes, mut terms) = (vec![0f32; block], vec![0f64; block * row]);
        for (xs, out) in xs.chunks(block * row).zip(out.chunks_mut(block * row)) {
            exp_rows(xs, row, 1.0, &mut maxes, &mut terms[..xs.len()]);
            let reductions = terms.chunks_exact(row).zip(&maxes);
            for ((xs, out), (terms, &max)) in xs.chunks_exact(row).zip(out.chunks_exact_mut(row)).zip(reductions) {
                let log_sum = sum(terms).ln();
                for (y, &x) in out.iter_mut().zip(xs) {
                    *y = (f64::from(x) - f64::from(max) - log_sum) as f32;
                }
            }
        }
    }
}

multiversioned! {
    fn softmax_grad_rows(ys: &[f32], grad: &[f32], row: usize, out: &mut [f32]) {
        for ((ys, grad), out) in ys.chunks_exact(row).zip(grad.chunks_exact(row)).zip(out.chunks_exact_mut(row)) {
            let dot = dot(ys, grad);
            for ((o, &y), &g) in out.iter_mut().zip(ys).zip(grad) {
                *o = (f64::from(y) * (f64::from(g) - dot)) as f32;
            }
        }
    }
}

multiversioned! {
    fn log_softmax_grad_rows(ys: &[f32], grad: &[f32], row: usize, out: &mut [f32]) {
        let mut wide = vec![0f64; row];
        for ((ys, grad), out) in ys.chunks_exact(row).zip(grad.chunks_exact(row)).zip(out.chunks_exact_mut(row)) {
            for (w, &g) in wide.iter_mut().zip(grad) {
                *w = f64::from(g);
            }
            let sum = sum(&wide);
            for ((o, &y), &g) in out.iter_mut().zip(ys).zip(grad) {
                *o = (f64::from(g) - exp_nonpos(f64::from(y)) * sum) as f32;
            }
        }
    }
}
