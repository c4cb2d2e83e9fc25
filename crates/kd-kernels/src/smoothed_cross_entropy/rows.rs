//! What the three losses do with one row of logits.

use std::mem::MaybeUninit;

use crate::exp::{exp32_nonpos, row_max};
use crate::multiversion::multiversioned;
use crate::rows;

/// Values whose exponentials are summed in f32 before the sum goes on in f64.
const BLOCK: usize = 1024;

/// Largest logit and Σ e^(z − max) of a row: its softmax is e^(z − max) / total.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Softmax {
    pub max: f32,
    pub total: f64,
}

impl Softmax {
    /// ln Σ e^z.
    pub(crate) fn log_sum(&self) -> f64 {
        f64::from(self.max) + self.total.ln()
    }
}

/// Two losses of a row.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Losses {
    /// −ln p of the target.
    pub nll: f64,
    /// The mean of −ln p over the vocabulary.
    pub smooth: f64,
}

impl Losses {
    /// Of the row `z` with the sum of its values.
    pub(super) fn of(z: &[f32], target: u32, softmax: &Softmax, sum: f64) -> Self {
        let log_sum = softmax.log_sum();
        Self {
            nll: log_sum - f64::from(z[target as usize]),
            smooth: log_sum - sum / z.len() as f64,
        }
    }
}

multiversioned! {
    /// The softmax of a row, and the sum of its values.
    pub(crate) fn reduce(z: &[f32]) -> (Softmax, f64) {
        let max = row_max(z);
        let (mut total, mut sum) = (0f64, 0f64);
        let mut terms = [0f32; BLOCK];
        for z in z.chunks(BLOCK) {
            let terms = &mut terms[..z.len()];
            for (t, &z) in terms.iter_mut().zip(z) {
                *t = exp32_nonpos(z - max);
            }
            total += f64::from(rows::sum(terms));
            sum += f64::from(rows::sum(z));
        }
        (Softmax { max, total }, sum)
    }
}

multiversioned! {
    /// grad = factor · e^(z − max) − offset.
    pub(super) fn gradient(z: &[f32], max: f32, factor: f32, offset: f32, grad: &mut [MaybeUninit<f32>]) {
        for (g, &z) in grad.iter_mut().zip(z) {
            g.write(exp32_nonpos(z - max) * factor - offset);
        }
    }
}

multiversioned! {
    /// [`reduce`] that leaves e^(z − max) in place of z.
    pub(super) fn reduce_over(z: &mut [f32]) -> (Softmax, f64) {
        let max = row_max(z);
        let (mut total, mut sum) = (0f64, 0f64);
        for z in z.chunks_mut(BLOCK) {
            sum += f64::from(rows::sum(z));
            for z in z.iter_mut() {
                *z = exp32_nonpos(*z - max);
            }
            total += f64::from(rows::sum(z));
        }
        (Softmax { max, total }, sum)
    }
}

multiversioned! {
    /// z = factor · z − offset.
    pub(super) fn rescale(z: &mut [f32], factor: f32, offset: f32) {
        for z in z {
            *z = *z * factor - offset;
        }
    }
}

multiversioned! {
    /// The softmax of a teacher's row, and Σ e^(t − max) · (z − z's max).
    pub(super) fn reduce_teacher(teacher: &[f32], z: &[f32], z_max: f32) -> (Softmax, f64) {
        let max = row_max(teacher);
        let (mut total, mut cross) = (0f64, 0f64);
        let mut terms = [0f32; BLOCK];
        for (t, z) in teacher.chunks(BLOCK).zip(z.chunks(BLOCK)) {
            let terms = &mut terms[..z.len()];
            for (e, &t) in terms.iter_mut().zip(t) {
                *e = exp32_nonpos(t - max);
            }
            total += f64::from(rows::sum(terms));
            for (e, &z) in terms.iter_mut().zip(z) {
                *e *= z - z_max;
            }
            cross += f64::from(rows::sum(terms));
        }
        (Softmax { max, total }, cross)
    }
}

multiversioned! {
    /// grad = factor · e^(z − max) − teacher's factor · e^(t − teacher's max).
    pub(super) fn gradient_soft(z: &[f32], of_z: (f32, f32), teacher: &[f32], of_teacher: (f32, f32), grad: &mut [MaybeUninit<f32>]) {
        for ((g, &z), &t) in grad.iter_mut().zip(z).zip(teacher) {
            g.write(exp32_nonpos(z - of_z.0) * of_z.1 - exp32_nonpos(t - of_teacher.0) * of_teacher.1);
        }
    }
}
