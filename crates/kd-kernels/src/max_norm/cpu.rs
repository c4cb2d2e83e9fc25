//! The kernel behind [`super::max_norm`]; the SGD kernel calls its row step too.

use candle_core::{CpuStorage, InplaceOp1, Layout, Result};
use rayon::prelude::*;

use crate::exp::dot;
use crate::multiversion::multiversioned;
use crate::operand::{TASK, contiguous_f32_mut};

pub(super) struct MaxNorm {
    pub(super) cap: f64,
}

impl InplaceOp1 for MaxNorm {
    fn name(&self) -> &'static str {
        "max_norm"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let row = row_len(layout);
        let weight = contiguous_f32_mut(storage, layout, self.name())?;
        let task = row * (TASK / row).max(1);
        if weight.len() <= task {
            max_norm_rows(weight, row, self.cap);
        } else {
            weight.par_chunks_mut(task).for_each(|rows| max_norm_rows(rows, row, self.cap));
        }
        Ok(())
    }
}

/// The elements of one row of `[out, ..]`, at least 1 so that it can divide.
pub(crate) fn row_len(layout: &Layout) -> usize {
    layout.dims().iter().skip(1).product::<usize>().max(1)
}

/// Scales one row where it is longer than `cap`. The norm is summed in f64, in one order whatever
/// the machine.
#[inline(always)]
pub(crate) fn max_norm_row(row: &mut [f32], cap: f64) {
    let norm = dot(row, row).sqrt();
    if norm > cap {
        let scale = cap * super::MARGIN / norm;
        for w in row {
            *w = (f64::from(*w) * scale) as f32;
        }
    }
}

multiversioned! {
    fn max_norm_rows(weight: &mut [f32], row: usize, cap: f64) {
        for row in weight.chunks_exact_mut(row) {
            max_norm_row(row, cap);
        }
    }
}
