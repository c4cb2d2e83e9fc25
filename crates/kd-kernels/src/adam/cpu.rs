//! The kernel behind [`super::AdamState::step`]: one pass over weight, gradient and both moments.

use std::cell::RefCell;

use candle_core::{CpuStorage, InplaceOp2, Layout, Result, bail};
use rayon::prelude::*;

use super::{AdamConfig, Decay, bias_corrections};
use crate::multiversion::multiversioned;
use crate::operand::{NEGLIGIBLE, TASK, contiguous_f32, contiguous_f32_mut, flushed};

/// The size of a gradient whose square is [`NEGLIGIBLE`].
const ROOT_OF_NEGLIGIBLE: f32 = 1e-15;

/// The step's numbers in the dtype of the weight.
#[derive(Clone, Copy)]
struct Coefficients {
    /// 1 − η·λ with decoupled decay, else 1.
    shrink: f32,
    l2: f32,
    one_minus_beta1: f32,
    beta2: f32,
    one_minus_beta2: f32,
    step_size: f32,
    root_correction: f32,
    eps: f32,
}

/// Candle hands an in-place op shared, while the moments it carries are to be written: hence the
/// cell.
pub(super) struct Adam<'a> {
    coefficients: Coefficients,
    moments: RefCell<(&'a mut [f32], &'a mut [f32])>,
}

impl<'a> Adam<'a> {
    /// The numbers of step `t` >= 1; both moments are as long as the variable.
    pub(super) fn new(cfg: &AdamConfig, t: u64, m: &'a mut [f32], v: &'a mut [f32]) -> Self {
        let (step_size, root_correction) = bias_corrections(cfg, t);
        let (shrink, l2) = match cfg.decay {
            Decay::L2(decay) => (1.0, decay),
            Decay::Decoupled(decay) => (1.0 - cfg.lr * decay, 0.0),
        };
        let coefficients = Coefficients {
            shrink: shrink as f32,
            l2: l2 as f32,
            one_minus_beta1: (1.0 - cfg.beta1) as f32,
            beta2: cfg.beta2 as f32,
            one_minus_beta2: (1.0 - cfg.beta2) as f32,
            step_size: step_size as f32,
            root_correction: root_correction as f32,
            eps: cfg.eps as f32,
        };
        Self { coefficients, moments: RefCell::new((m, v)) }
    }
}

impl InplaceOp2 for Adam<'_> {
    fn name(&self) -> &'static str {
        "adam"
    }

    fn cpu_fwd(
        &self,
        var: &mut CpuStorage,
        var_l: &Layout,
        grad: &CpuStorage,
        grad_l: &Layout,
    ) -> Result<()> {
        let weight = contiguous_f32_mut(var, var_l, self.name())?;
        let grad = contiguous_f32(grad, grad_l, self.name())?;
        let Ok(mut moments) = self.moments.try_borrow_mut() else {
            bail!("adam: the moments are in use by another step");
        };
        let (m, v) = &mut *moments;
        let c = self.coefficients;
        if weight.len() <= TASK {
            adam_elements(weight, m, v, grad, &c);
        } else {
            let moments = m.par_chunks_mut(TASK).zip(v.par_chunks_mut(TASK));
            let tasks = weight.par_chunks_mut(TASK).zip(grad.par_chunks(TASK)).zip(moments);
            tasks.for_each(|((w, g), (m, v))| adam_elements(w, m, v, g, &c));
        }
        Ok(())
    }
}

multiversioned! {
    fn adam_elements(weight: &mut [f32], m: &mut [f32], v: &mut [f32], grad: &[f32], c: &Coefficients) {
        for (((w, m), v), &g) in weight.iter_mut().zip(m).zip(v).zip(grad) {
            let d = g + c.l2 * *w;
            let shrunk = *w * c.shrink;
            *m = flushed(*m + c.one_minus_beta1 * (d - *m), NEGLIGIBLE);
            // Flushed before it is squared, since the square is what would be subnormal.
            let d = flushed(d, ROOT_OF_NEGLIGIBLE);
            *v = flushed(c.beta2 * *v + c.one_minus_beta2 * (d * d), NEGLIGIBLE);
            *w = shrunk - c.step_size * (*m / ((*v).sqrt() / c.root_correction + c.eps));
        }
    }
}
