//! The kernel behind [`super::relu`]: one pass forward, one over the gradient in place.

use std::mem::MaybeUninit;

use candle_core::{Result, Tensor};
use rayon::prelude::*;

use crate::graph::{Backward, Grad, record, sum, values};
use crate::multiversion::multiversioned;
use crate::operand::TASK;
use crate::output::{Parts, written};

pub(super) fn relu(x: &Tensor) -> Result<Tensor> {
    let x = x.contiguous()?;
    let xs = values(&x)?;
    let ys = written_relu(&xs);
    drop(xs);
    record(&[&x], ys, x.shape(), true, || Ok(Relu))
}

fn written_relu(x: &[f32]) -> Vec<f32> {
    let write = |y: &mut [MaybeUninit<f32>]| {
        let y = Parts::of(y);
        x.par_chunks(TASK).enumerate().for_each(|(task, x)| {
            // SAFETY: each task has a part of its own.
            rectify(x, unsafe { y.part(task * TASK, x.len()) });
        });
    };
    // SAFETY: the tasks cover x, which is as long as the result, and `rectify` writes all of a
    // part.
    unsafe { written(x.len(), write) }.0
}

struct Relu;

impl Backward for Relu {
    fn backward(
        &self,
        y: Option<&Tensor>,
        grad: Vec<Grad>,
        _wanted: &[bool],
    ) -> Result<Vec<Option<Grad>>> {
        let mut grad = sum(grad)?.into_vec()?;
        if let Some(y) = y {
            let y = values(y)?;
            grad.par_chunks_mut(TASK).zip(y.par_chunks(TASK)).for_each(|(grad, y)| mask(grad, y));
        }
        Ok(vec![Some(Grad::Owned(grad))])
    }
}

multiversioned! {
    fn rectify(x: &[f32], y: &mut [MaybeUninit<f32>]) {
        for (y, &x) in y.iter_mut().zip(x) {
            // Written so that NaN stays, as in PyTorch.
            y.write(if x <= 0.0 { 0.0 } else { x });
        }
    }
}

multiversioned! {
    fn mask(grad: &mut [f32], y: &[f32]) {
        for (grad, &y) in grad.iter_mut().zip(y) {
            *grad = if y <= 0.0 { 0.0 } else { *grad };
        }
    }
}
