//! The kernel behind [`super::residual_add`]: one pass forward; backward one over the sublayer's
//! gradient, none over that of x.

use std::mem::MaybeUninit;

use candle_core::{Result, Tensor};

use crate::dropout::cpu::{DropoutMask, add_dropped_out, drop_out_into};
use crate::graph::{Backward, Grad, record, sum, values};
use crate::operand::TASK;
use crate::output::{Parts, copied, written};
use crate::rows::tasks;

pub(super) fn residual_add(x: &Tensor, sublayer: &Tensor, dropout: DropoutMask) -> Result<Tensor> {
    let (x, sublayer) = (x.contiguous()?, sublayer.contiguous()?);
    let sums = {
        let (xs, ss) = (values(&x)?, values(&sublayer)?);
        let (xs, ss): (&[f32], &[f32]) = (&xs, &ss);
        let write = |out: &mut [MaybeUninit<f32>]| {
            let out = Parts::of(out);
            tasks(xs.len().div_ceil(TASK), |task| {
                let start = task * TASK;
                let x = &xs[start..(start + TASK).min(xs.len())];
                // SAFETY: each task has a part of its own.
                let out = copied(unsafe { out.part(start, x.len()) }, x);
                add_dropped_out(&dropout, start as u64, &ss[start..][..x.len()], out);
            });
        };
        // SAFETY: the tasks cover x, which is as long as the result, and each copies to its part.
        unsafe { written(xs.len(), write) }.0
    };
    record(&[&x, &sublayer], sums, x.shape(), false, || Ok(ResidualAdd(dropout)))
}

struct ResidualAdd(DropoutMask);

impl Backward for ResidualAdd {
    fn backward(
        &self,
        _y: Option<&Tensor>,
        grad: Vec<Grad>,
        wanted: &[bool],
    ) -> Result<Vec<Option<Grad>>> {
        let grad = sum(grad)?;
        if !wanted[1] {
            return Ok(vec![Some(grad), None]);
        }
        let dropped = {
            let grad = grad.values()?;
            let grad: &[f32] = &grad;
            let write = |out: &mut [MaybeUninit<f32>]| {
                let out = Parts::of(out);
                tasks(grad.len().div_ceil(TASK), |task| {
                    let start = task * TASK;
                    let grad = &grad[start..(start + TASK).min(grad.len())];
                    // SAFETY: each task has a part of its own.
                    drop_out_into(&self.0, start as u64, grad, unsafe {
                        out.part(start, grad.len())
                    });
                });
            };
            // SAFETY: the tasks cover the gradient, and `drop_out_into` writes all of a part.
            unsafe { written(grad.len(), write) }.0
        };
        Ok(vec![Some(grad), Some(Grad::Owned(dropped))])
    }
}
