//! The softmax of attention's scores, over the keys that a query sees, and its gradient.

use crate::exp::{exp32_nonpos, row_max};
use crate::multiversion::multiversioned;
use crate::rows;

/// Query i sees the first min(keys, first + i·step) keys.
#[derive(Clone, Copy)]
pub(super) struct Visible {
    pub(super) keys: usize,
    pub(super) first: usize,
    pub(super) step: usize,
}

impl Visible {
    #[inline(always)]
    pub(super) fn of(&self, query: usize) -> usize {
        self.keys.min(self.first + query * self.step)
    }
}

multiversioned! {
    /// The softmax of scale · each row of `len` scores over the keys that it sees, and 0 beyond.
    pub(super) fn soften(rows: &mut [f32], len: usize, scale: f32, visible: Visible) {
        for (i, row) in rows.chunks_exact_mut(len).enumerate() {
            let (seen, hidden) = row.split_at_mut(visible.of(i));
            let max = row_max(seen);
            for x in seen.iter_mut() {
                *x = exp32_nonpos((*x - max) * scale);
            }
            let inverse = 1.0 / rows::sum(seen);
            for x in seen {
                *x *= inverse;
            }
            hidden.fill(0.0);
        }
    }
}

multiversioned! {
    /// Turns the gradient of each row of `len` weights in `grad` into that of the scores.
    pub(super) fn soften_gradient(grad: &mut [f32], weights: &[f32], len: usize, scale: f32) {
        for (grad, weights) in grad.chunks_exact_mut(len).zip(weights.chunks_exact(len)) {
            let mean = rows::dot(grad, weights);
            for (g, w) in grad.iter_mut().zip(weights) {
                *g = w * (*g - mean) * scale;
            }
        }
    }
}
