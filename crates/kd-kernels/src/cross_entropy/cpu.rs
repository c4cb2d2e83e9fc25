//! The kernel behind [`super::cross_entropy`]: value and gradient in one pass over the rows.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use crate::exp::{block_rows, exp_rows, sum};
use crate::kept_grad::KeptGrad;
use crate::multiversion::multiversioned;
use crate::operand::{TASK, contiguous_f32, flushed};

/// Gradients below this size are 0: no weight changes by them, and the products of the layers below
/// would be subnormal, on which many processors are slow. Once the small net of MNIST had learnt
/// its training images by heart, its steps took three times as long for this reason.
const TOO_SMALL: f32 = 1e-24;

/// Keeps the gradient that the forward pass computed; the backward pass scales it by the gradient
/// of the loss.
pub(super) struct CrossEntropy {
    labels: Vec<u32>,
    with_grad: bool,
    grad: KeptGrad,
}

impl CrossEntropy {
    /// `labels` are within the classes of the logits that the op will be applied to.
    pub(super) fn new(labels: Vec<u32>, with_grad: bool) -> Self {
        Self { labels, with_grad, grad: KeptGrad::default() }
    }
}

impl CustomOp1 for CrossEntropy {
    fn name(&self) -> &'static str {
        "cross_entropy"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let logits = contiguous_f32(storage, layout, self.name())?;
        let (b, c) = layout.shape().dims2()?;
        let rows = (TASK / c).max(1);
        let scale = 1.0 / b as f64;
        let mut losses = vec![0f64; b];
        let mut grad = vec![0f32; if self.with_grad { logits.len() } else { 0 }];
        if b <= rows {
            cross_entropy_rows(logits, &self.labels, scale, &mut losses, &mut grad);
        } else if self.with_grad {
            let inputs = logits.par_chunks(rows * c).zip(self.labels.par_chunks(rows));
            let outputs = losses.par_chunks_mut(rows).zip(grad.par_chunks_mut(rows * c));
            inputs.zip(outputs).for_each(|((z, y), (l, g))| cross_entropy_rows(z, y, scale, l, g));
        } else {
            let inputs = logits.par_chunks(rows * c).zip(self.labels.par_chunks(rows));
            inputs
                .zip(losses.par_chunks_mut(rows))
                .for_each(|((z, y), l)| cross_entropy_rows(z, y, scale, l, &mut []));
        }
        if self.with_grad {
            self.grad.keep(grad);
        }
        let mean = losses.iter().sum::<f64>() * scale;
        Ok((CpuStorage::F32(vec![mean as f32]), Shape::from(())))
    }

    fn bwd(&self, logits: &Tensor, _loss: &Tensor, upstream: &Tensor) -> Result<Option<Tensor>> {
        self.grad.scaled(logits.shape(), upstream, self.name()).map(Some)
    }
}

multiversioned! {
    /// One loss a row; the gradient, times `scale`, where `grad` is as long as `logits` rather than empty.
    fn cross_entropy_rows(logits: &[f32], labels: &[u32], scale: f64, losses: &mut [f64], grad: &mut [f32]) {
        let c = logits.len() / labels.len();
        let block = block_rows(c);
        let (mut maxes, mut terms) = (vec![0f32; block], vec![0f64; block * c]);
        for (b, (z, (labels, losses))) in logits.chunks(block * c).zip(labels.chunks(block).zip(losses.chunks_mut(block))).enumerate() {
            exp_rows(z, c, 1.0, &mut maxes, &mut terms[..z.len()]);
            let grad = if grad.is_empty() { &mut [] } else { &mut grad[b * block * c..][..z.len()] };
            for (i, (&label, loss)) in labels.iter().zip(losses).enumerate() {
                let label = label as usize;
                let terms = &terms[i * c..][..c];
                let sum = sum(terms);
                *loss = sum.ln() - (f64::from(z[i * c + label]) - f64::from(maxes[i]));
                if !grad.is_empty() {
                    let g = &mut grad[i * c..][..c];
                    let inv = scale / sum;
                    for (g, e) in g.iter_mut().zip(terms) {
                        *g = flushed((e * inv) as f32, TOO_SMALL);
                    }
                    g[label] = flushed((terms[label] * inv - scale) as f32, TOO_SMALL);
                }
            }
        }
    }
}
