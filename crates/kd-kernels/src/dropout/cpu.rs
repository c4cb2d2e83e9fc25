//! The kernel behind [`super::dropout`]: words are drawn into a buffer on the stack and used at
//! once.

use std::mem::MaybeUninit;

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use crate::multiversion::multiversioned;
use crate::operand::{TASK, contiguous_f32};
use crate::output::written;
use crate::stream::Stream;

/// Words of the stream that one step of the kernel draws.
const STEP: usize = 1024;

/// What is kept, and by how much it grows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DropoutMask {
    threshold: u32,
    scale: f32,
    stream: Stream,
}

impl DropoutMask {
    /// The mask of a fused op, if it drops anything. p was checked.
    pub(crate) fn of(dropout: Option<super::Dropout>) -> Option<Self> {
        dropout.filter(|d| d.p > 0.0).map(|d| Self::new(d.p, d.stream))
    }

    /// What a kept element is multiplied by.
    pub(crate) fn scale(&self) -> f32 {
        self.scale
    }

    pub(super) fn new(p: f64, stream: Stream) -> Self {
        Self { threshold: super::threshold(p), scale: (1.0 / (1.0 - p)) as f32, stream }
    }
}

impl CustomOp1 for DropoutMask {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let xs = contiguous_f32(storage, layout, self.name())?;
        let write = |out: &mut [MaybeUninit<f32>]| {
            if out.len() <= TASK {
                drop_out_into(self, 0, xs, out);
            } else {
                let tasks = out.par_chunks_mut(TASK).zip(xs.par_chunks(TASK)).enumerate();
                tasks.for_each(|(task, (out, xs))| {
                    drop_out_into(self, (task * TASK) as u64, xs, out)
                });
            }
        };
        // SAFETY: the tasks cover the memory, which is as long as `xs`, and `drop_out_into` writes
        // all that it is given.
        let (out, ()) = unsafe { written(xs.len(), write) };
        Ok((CpuStorage::F32(out), layout.shape().clone()))
    }

    // Dropout is linear and its matrix is diagonal, so that its backward is itself.
    fn bwd(&self, _xs: &Tensor, _ys: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        grad.contiguous()?.apply_op1_no_bwd(self).map(Some)
    }
}

multiversioned! {
    /// Writes all of `out`, which is as long as `xs`. `start` is the logical index of the first element.
    pub(crate) fn drop_out_into(op: &DropoutMask, start: u64, xs: &[f32], out: &mut [MaybeUninit<f32>]) {
        let mut words = [0u32; STEP];
        for (at, (xs, out)) in (start..).step_by(STEP).zip(xs.chunks(STEP).zip(out.chunks_mut(STEP))) {
            let words = &mut words[..xs.len()];
            op.stream.fill_u32(at, words);
            for ((out, &x), &word) in out.iter_mut().zip(xs).zip(&*words) {
                out.write(if word >= op.threshold { x * op.scale } else { 0.0 });
            }
        }
    }
}

multiversioned! {
    /// The elements from logical index `start` on, in place.
    pub(crate) fn drop_out_in_place(op: &DropoutMask, start: u64, xs: &mut [f32]) {
        let mut words = [0u32; STEP];
        for (at, xs) in (start..).step_by(STEP).zip(xs.chunks_mut(STEP)) {
            let words = &mut words[..xs.len()];
            op.stream.fill_u32(at, words);
            for (x, &word) in xs.iter_mut().zip(&*words) {
                *x = if word >= op.threshold { *x * op.scale } else { 0.0 };
            }
        }
    }
}

multiversioned! {
    /// `out` += what dropout leaves of `xs`, as long as it, from logical index `start` on.
    pub(crate) fn add_dropped_out(op: &DropoutMask, start: u64, xs: &[f32], out: &mut [f32]) {
        let mut words = [0u32; STEP];
        for (at, (xs, out)) in (start..).step_by(STEP).zip(xs.chunks(STEP).zip(out.chunks_mut(STEP))) {
            let words = &mut words[..xs.len()];
            op.stream.fill_u32(at, words);
            for ((out, &x), &word) in out.iter_mut().zip(xs).zip(&*words) {
                *out += if word >= op.threshold { x * op.scale } else { 0.0 };
            }
        }
    }
}
