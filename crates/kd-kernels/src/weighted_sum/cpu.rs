//! The kernel behind [`super::weighted_sum`]: a run of values of the sum at a time, over all of
//! `xs`, so that the sum itself goes through memory once.

use std::mem::MaybeUninit;

use candle_core::{Result, Tensor};

use crate::graph::{Backward, Grad, record, sum, values};
use crate::multiversion::multiversioned;
use crate::operand::TASK;
use crate::output::{Parts, assume_init, written};
use crate::rows::{self, tasks};

pub(super) fn weighted_sum(xs: &Tensor, weights: &Tensor) -> Result<Tensor> {
    let (xs, weights) = (xs.contiguous()?, weights.contiguous()?);
    let shape = &xs.dims()[1..];
    let n: usize = shape.iter().product();
    let out = {
        let (all, ws) = (values(&xs)?, values(&weights)?);
        let (all, ws): (&[f32], &[f32]) = (&all, &ws);
        let write = |out: &mut [MaybeUninit<f32>]| {
            let out = Parts::of(out);
            tasks(n.div_ceil(TASK), |task| {
                let (start, len) = (task * TASK, TASK.min(n - task * TASK));
                // SAFETY: each task has a part of its own.
                let out = unsafe { out.part(start, len) };
                scaled(&all[start..][..len], ws[0], out);
                // SAFETY: `scaled` has written all of it.
                let out = unsafe { assume_init(out) };
                for (k, &w) in ws.iter().enumerate().skip(1) {
                    add_scaled(&all[k * n + start..][..len], w, out);
                }
            });
        };
        // SAFETY: the tasks cover the result, and `scaled` writes all of a part.
        unsafe { written(n, write) }.0
    };
    let op = || Ok(WeightedSum { xs: xs.detach(), weights: weights.detach() });
    record(&[&xs, &weights], out, shape, false, op)
}

struct WeightedSum {
    xs: Tensor,
    weights: Tensor,
}

impl Backward for WeightedSum {
    fn backward(
        &self,
        _y: Option<&Tensor>,
        grad: Vec<Grad>,
        wanted: &[bool],
    ) -> Result<Vec<Option<Grad>>> {
        let grad = sum(grad)?;
        let (grad, all, ws) = (grad.values()?, values(&self.xs)?, values(&self.weights)?);
        let (grad, all, ws): (&[f32], &[f32], &[f32]) = (&grad, &all, &ws);
        let n = grad.len();
        let part = |task: usize| task * TASK..n.min((task + 1) * TASK);
        let dxs = wanted[0].then(|| {
            let write = |out: &mut [MaybeUninit<f32>]| {
                let out = Parts::of(out);
                tasks(n.div_ceil(TASK), |task| {
                    for (k, &w) in ws.iter().enumerate() {
                        let grad = &grad[part(task)];
                        // SAFETY: the tasks have different parts of each of `xs`.
                        scaled(grad, w, unsafe { out.part(k * n + task * TASK, grad.len()) });
                    }
                });
            };
            // SAFETY: the tasks cover each of `xs`, and `scaled` writes all of a part.
            Grad::Owned(unsafe { written(ws.len() * n, write) }.0)
        });
        let dweights = wanted[1].then(|| {
            let dots = |task: usize| -> Vec<f32> {
                let grad = &grad[part(task)];
                (0..ws.len()).map(|k| dot(&all[k * n..][part(task)], grad)).collect()
            };
            let parts = tasks(n.div_ceil(TASK), dots);
            let sums = (0..ws.len())
                .map(|k| parts.iter().map(|dots| f64::from(dots[k])).sum::<f64>() as f32);
            Grad::Owned(sums.collect())
        });
        Ok(vec![dxs, dweights])
    }
}

multiversioned! {
    /// out = w · x.
    fn scaled(x: &[f32], w: f32, out: &mut [MaybeUninit<f32>]) {
        for (out, x) in out.iter_mut().zip(x) {
            out.write(w * x);
        }
    }
}

multiversioned! {
    /// out += w · x.
    fn add_scaled(x: &[f32], w: f32, out: &mut [f32]) {
        for (out, x) in out.iter_mut().zip(x) {
            *out += w * x;
        }
    }
}

multiversioned! {
    fn dot(x: &[f32], y: &[f32]) -> f32 {
        rows::dot(x, y)
    }
}
