//! The kernel behind [`super::SgdState::step`]: one pass over weight, gradient and momentum, each
//! row capped while it is in cache.

use std::cell::RefCell;

use candle_core::{CpuStorage, InplaceOp2, Layout, Result, bail};
use rayon::prelude::*;

use super::SgdConfig;
use crate::max_norm::cpu::{max_norm_row, row_len};
use crate::multiversion::multiversioned;
use crate::operand::{NEGLIGIBLE, TASK, contiguous_f32, contiguous_f32_mut, flushed};

/// The step's numbers in the dtype of the weight.
#[derive(Clone, Copy)]
struct Coefficients {
    lr: f32,
    momentum: f32,
    nesterov: bool,
    weight_decay: f32,
    max_norm: Option<f64>,
}

/// Candle hands an in-place op shared, while the momentum it carries is to be written: hence the
/// cell.
pub(super) struct Sgd<'a> {
    coefficients: Coefficients,
    momentum: RefCell<Option<&'a mut [f32]>>,
}

impl<'a> Sgd<'a> {
    /// `momentum`, where there is one, is as long as the variable.
    pub(super) fn new(cfg: &SgdConfig, momentum: Option<&'a mut [f32]>) -> Self {
        let coefficients = Coefficients {
            lr: cfg.lr as f32,
            momentum: cfg.momentum as f32,
            nesterov: cfg.nesterov,
            weight_decay: cfg.weight_decay as f32,
            max_norm: cfg.max_norm,
        };
        Self { coefficients, momentum: RefCell::new(momentum) }
    }
}

impl InplaceOp2 for Sgd<'_> {
    fn name(&self) -> &'static str {
        "sgd"
    }

    fn cpu_fwd(
        &self,
        var: &mut CpuStorage,
        var_l: &Layout,
        grad: &CpuStorage,
        grad_l: &Layout,
    ) -> Result<()> {
        // Rows matter to max-norm only; without it a long run keeps the loops of short rows and of
        // biases from crawling.
        let row = if self.coefficients.max_norm.is_some() { row_len(var_l) } else { TASK };
        let weight = contiguous_f32_mut(var, var_l, self.name())?;
        let grad = contiguous_f32(grad, grad_l, self.name())?;
        let c = self.coefficients;
        let task = row * (TASK / row).max(1);
        let Ok(mut momentum) = self.momentum.try_borrow_mut() else {
            bail!("sgd: the momentum is in use by another step");
        };
        match momentum.as_deref_mut() {
            Some(momentum) if weight.len() <= task => {
                sgd_momentum_rows(weight, momentum, grad, row, &c)
            }
            Some(momentum) => {
                let states = momentum.par_chunks_mut(task).zip(grad.par_chunks(task));
                weight
                    .par_chunks_mut(task)
                    .zip(states)
                    .for_each(|(w, (v, g))| sgd_momentum_rows(w, v, g, row, &c));
            }
            None if weight.len() <= task => sgd_plain_rows(weight, grad, row, &c),
            None => weight
                .par_chunks_mut(task)
                .zip(grad.par_chunks(task))
                .for_each(|(w, g)| sgd_plain_rows(w, g, row, &c)),
        }
        Ok(())
    }
}

multiversioned! {
    fn sgd_plain_rows(weight: &mut [f32], grad: &[f32], row: usize, c: &Coefficients) {
        for (w, g) in weight.chunks_mut(row).zip(grad.chunks(row)) {
            for (w, &g) in w.iter_mut().zip(g) {
                *w -= c.lr * (g + c.weight_decay * *w);
            }
            if let Some(cap) = c.max_norm {
                max_norm_row(w, cap);
            }
        }
    }
}

multiversioned! {
    fn sgd_momentum_rows(weight: &mut [f32], momentum: &mut [f32], grad: &[f32], row: usize, c: &Coefficients) {
        for ((w, v), g) in weight.chunks_mut(row).zip(momentum.chunks_mut(row)).zip(grad.chunks(row)) {
            if c.nesterov {
                for ((w, v), &g) in w.iter_mut().zip(v).zip(g) {
                    let d = g + c.weight_decay * *w;
                    *v = flushed(c.momentum * *v + d, NEGLIGIBLE);
                    *w -= c.lr * (d + c.momentum * *v);
                }
            } else {
                for ((w, v), &g) in w.iter_mut().zip(v).zip(g) {
                    *v = flushed(c.momentum * *v + (g + c.weight_decay * *w), NEGLIGIBLE);
                    *w -= c.lr * *v;
                }
            }
            if let Some(cap) = c.max_norm {
                max_norm_row(w, cap);
            }
        }
    }
}
