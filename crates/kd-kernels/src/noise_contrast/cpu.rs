//! The kernel behind [`super::noise_contrast`]: blocks of the memory, one after another, from
//! scores to gradients in cache.

use std::ops::Range;

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::picks::SetBits;
use super::{EPSILON, Pairs};
use crate::Precision;
use crate::exp::exp32_nonpos;
use crate::gemm::{Epilogue, MatRef, gemm_add, gemm_into};
use crate::graph::values;
use crate::kept_grad::KeptGrad;
use crate::multiversion::multiversioned;
use crate::operand::contiguous_f32;

/// Rows of the memory whose scores are made at once: with 128 anchors of 128 values, 256 KiB of
/// scores. A multiple of 64, the picks of a word.
const BLOCK: usize = 512;

/// Blocks of one task, whose gradients of the anchors are summed in a matrix of its own. Fixed, so
/// that sums do not depend on the number of threads.
const BLOCKS_PER_TASK: usize = 8;

pub(super) fn noise_contrast(
    anchors: &Tensor,
    memory: &Tensor,
    pairs: &Pairs,
    normaliser: f64,
) -> Result<Tensor> {
    let memory = memory.contiguous()?;
    let op = NoiseContrast { memory, pairs: *pairs, normaliser, with_grad: anchors.track_op() };
    let anchors = anchors.contiguous()?;
    let (loss, grad) = op.both(&values(&anchors)?, anchors.dims2()?)?;
    let kept = LossWithGrad { loss: loss as f32, grad: KeptGrad::default() };
    if op.with_grad {
        kept.grad.keep(grad);
    }
    anchors.apply_op1(kept)
}

pub(super) fn normaliser(anchors: &Tensor, memory: &Tensor, pairs: &Pairs) -> Result<f64> {
    let (anchors, memory) = (anchors.contiguous()?, memory.contiguous()?);
    let ((b, d), n) = (anchors.dims2()?, memory.dim(0)?);
    let (a, w) = (values(&anchors)?, values(&memory)?);
    let (a, w): (&[f32], &[f32]) = (&a, &w);
    let scale = (1.0 / pairs.temperature) as f32;
    let parts: Vec<Result<f64>> = in_tasks(n, |task| {
        let (mut total, mut picked) = (0.0, Picked::default());
        each_block(task, (a, b, d), w, |start, width, scores, _| {
            for (i, scores) in scores.chunks_exact(width).enumerate() {
                picked.gather(pairs, i, start, scores);
                total += sum_of_exponentials(&picked.scores, scale);
            }
            Ok(())
        })?;
        Ok(total)
    });
    let total = parts.into_iter().sum::<Result<f64>>()?;
    Ok(total / (b * (1 + pairs.negatives.count(0))) as f64 * n as f64)
}

/// The arguments of one call, and its two results.
struct NoiseContrast<'a> {
    memory: Tensor,
    pairs: Pairs<'a>,
    normaliser: f64,
    with_grad: bool,
}

impl NoiseContrast<'_> {
    /// The loss, and its gradient where it is wanted.
    fn both(&self, a: &[f32], (b, d): (usize, usize)) -> Result<(f64, Vec<f32>)> {
        let (n, m) = (self.memory.dim(0)?, self.pairs.negatives.count(0));
        let w = values(&self.memory)?;
        let w: &[f32] = &w;
        let noise = m as f64 / n as f64;
        let terms = Terms {
            scale: (1.0 / self.pairs.temperature) as f32,
            inv_z: (1.0 / self.normaliser) as f32,
            shift: (noise + EPSILON) as f32,
            inv_noise: 1.0 / noise,
            grad_scale: (1.0 / (b as f64 * self.pairs.temperature)) as f32,
        };
        let parts: Vec<Result<(f64, Vec<f32>)>> = in_tasks(n, |task| {
            let mut grad = vec![0f32; if self.with_grad { b * d } else { 0 }];
            let (mut loss, mut picked) = (0.0, Picked::default());
            each_block(task, (a, b, d), w, |start, width, scores, rows| {
                for (i, scores) in scores.chunks_exact_mut(width).enumerate() {
                    picked.gather(&self.pairs, i, start, scores);
                    loss += terms.negatives(&mut picked.scores, picked.negatives, noise);
                    loss += picked
                        .scores
                        .get_mut(picked.negatives)
                        .map_or(0.0, |positive| terms.positive(positive));
                    if self.with_grad {
                        scores.fill(0.0);
                        picked.scatter(scores);
                    }
                }
                if self.with_grad {
                    gemm_add(
                        MatRef::row_major(scores, b, width)?,
                        rows,
                        Precision::Float32,
                        &mut grad,
                    )?;
                }
                Ok(())
            })?;
            Ok((loss, grad))
        });
        let (mut loss, mut grad) = (0.0, vec![0f32; if self.with_grad { b * d } else { 0 }]);
        for part in parts {
            let (l, g) = part?;
            loss += l;
            grad.iter_mut().zip(&g).for_each(|(sum, g)| *sum += g);
        }
        Ok((loss / b as f64, grad))
    }
}

/// The results of `task` for each range of rows of a memory of `n`, in order.
fn in_tasks<R: Send>(n: usize, task: impl Fn(Range<usize>) -> R + Sync + Send) -> Vec<R> {
    let rows = BLOCK * BLOCKS_PER_TASK;
    (0..n.div_ceil(rows)).into_par_iter().map(|t| task(t * rows..((t + 1) * rows).min(n))).collect()
}

/// Calls `f` with the first row, the number of rows, the scores and the rows themselves of each
/// block of the memory `w` in `range`.
fn each_block(
    range: Range<usize>,
    (a, b, d): (&[f32], usize, usize),
    w: &[f32],
    mut f: impl FnMut(usize, usize, &mut [f32], MatRef) -> Result<()>,
) -> Result<()> {
    let a = MatRef::row_major(a, b, d)?;
    let mut scores = vec![0f32; b * BLOCK.min(range.len())];
    for start in range.clone().step_by(BLOCK) {
        let width = BLOCK.min(range.end - start);
        let rows = MatRef::row_major(&w[start * d..][..width * d], width, d)?;
        let scores = &mut scores[..b * width];
        gemm_into(a, rows.t(), Epilogue::Identity, Precision::Float32, scores)?;
        f(start, width, scores, rows)?;
    }
    Ok(())
}

/// The scores of one anchor in one block that the loss is of, close together: its negatives, and
/// then its positive where it lies there.
#[derive(Default)]
struct Picked {
    columns: Vec<u16>,
    scores: Vec<f32>,
    negatives: usize,
}

impl Picked {
    fn gather(&mut self, pairs: &Pairs, i: usize, start: usize, scores: &[f32]) {
        self.columns.clear();
        for (at, &word) in pairs.negatives.words(i, start, BLOCK / 64).iter().enumerate() {
            self.columns.extend(SetBits(word).map(|bit| (64 * at + bit) as u16));
        }
        self.negatives = self.columns.len();
        let positive = pairs.positives[i] as usize;
        if (start..start + scores.len()).contains(&positive) {
            self.columns.push((positive - start) as u16);
        }
        self.scores.clear();
        self.scores.extend(self.columns.iter().map(|&column| scores[column as usize]));
    }

    /// Adds, since a positive may be among the negatives.
    fn scatter(&self, scores: &mut [f32]) {
        for (&column, value) in self.columns.iter().zip(&self.scores) {
            scores[column as usize] += value;
        }
    }
}

/// The constants of a term.
struct Terms {
    /// 1/τ.
    scale: f32,
    /// 1/Z.
    inv_z: f32,
    /// m/n + ε.
    shift: f32,
    /// n/m.
    inv_noise: f64,
    /// 1/(bτ).
    grad_scale: f32,
}

impl Terms {
    /// Σ ln((P + m/n + ε)/(m/n)) over the first `count` scores, which become gradients.
    fn negatives(&self, scores: &mut [f32], count: usize, noise: f64) -> f64 {
        let scores = &mut scores[..count];
        let mut densities = [0f32; BLOCK];
        let densities = &mut densities[..count];
        let product = negative_terms(scores, densities, self);
        if product.is_finite() {
            return product.ln();
        }
        // A product of large densities, or of what is no number: the terms one by one.
        densities.iter().map(|&p| ((f64::from(p) + noise + EPSILON) * self.inv_noise).ln()).sum()
    }

    /// ln((P + m/n + ε)/P) of one score, which becomes its gradient.
    fn positive(&self, score: &mut f32) -> f64 {
        let density = f64::from(exp32(*score * self.scale)) * f64::from(self.inv_z);
        let total = density + f64::from(self.shift);
        *score = (-f64::from(self.shift) / total * f64::from(self.grad_scale)) as f32;
        (total / density).ln()
    }
}

/// e^x to about 3e-7 of its value; infinite above 88.
#[inline(always)]
fn exp32(x: f32) -> f32 {
    // The formula holds on either side of 0, as long as 2^n is a number.
    let y = exp32_nonpos(x);
    if x > 88.0 { f32::INFINITY } else { y }
}

/// Lanes of one step of a reduction, so that it has one order on every machine.
const LANES: usize = 16;

multiversioned! {
    /// Π (P + m/n + ε)/(m/n); the densities go to `densities`, and the gradients replace the scores.
    fn negative_terms(scores: &mut [f32], densities: &mut [f32], terms: &Terms) -> f64 {
        let shift = f64::from(terms.shift) * terms.inv_noise;
        for (p, s) in densities.iter_mut().zip(scores.iter_mut()) {
            *p = exp32(*s * terms.scale) * terms.inv_z;
            *s = *p / (*p + terms.shift) * terms.grad_scale;
        }
        let mut lanes = [1f64; LANES];
        let (chunks, rest) = densities.as_chunks::<LANES>();
        for chunk in chunks {
            for l in 0..LANES {
                lanes[l] *= f64::from(chunk[l]) * terms.inv_noise + shift;
            }
        }
        for (lane, &p) in lanes.iter_mut().zip(rest) {
            *lane *= f64::from(p) * terms.inv_noise + shift;
        }
        for half in [8, 4, 2, 1] {
            for l in 0..half {
                lanes[l] *= lanes[l + half];
            }
        }
        lanes[0]
    }
}

multiversioned! {
    fn sum_of_exponentials(scores: &[f32], scale: f32) -> f64 {
        let mut lanes = [0f64; LANES];
        let (chunks, rest) = scores.as_chunks::<LANES>();
        for chunk in chunks {
            for l in 0..LANES {
                lanes[l] += f64::from(exp32(chunk[l] * scale));
            }
        }
        for (lane, &s) in lanes.iter_mut().zip(rest) {
            *lane += f64::from(exp32(s * scale));
        }
        lanes.iter().sum()
    }
}

/// The loss as an op of the anchors, with the gradient that came with it.
struct LossWithGrad {
    loss: f32,
    grad: KeptGrad,
}

impl CustomOp1 for LossWithGrad {
    fn name(&self) -> &'static str {
        "noise_contrast"
    }

    fn cpu_fwd(&self, anchors: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        contiguous_f32(anchors, layout, self.name())?;
        Ok((CpuStorage::F32(vec![self.loss]), Shape::from(())))
    }

    fn bwd(&self, anchors: &Tensor, _loss: &Tensor, upstream: &Tensor) -> Result<Option<Tensor>> {
        self.grad.scaled(anchors.shape(), upstream, self.name()).map(Some)
    }
}
