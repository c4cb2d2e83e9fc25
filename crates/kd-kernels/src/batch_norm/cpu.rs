//! Batch normalisation on the CPU.
//!
//! A task is a group of channels of all images. It reads its part of x once from memory for the
//! statistics, and again, from the second-level cache, to normalise: at batch 128, a channel of
//! 32×32 pixels is 512 KiB. Backward has two passes, too: one sums g′ and g′·(x − mean), where g′
//! is the gradient behind the rectifier, and leaves g′ in place of the gradient; the second writes
//! dx. The loops over planes of many pixels are in `wide.rs`, those over planes of few in
//! `narrow.rs`; all give the same bits on every instruction set and number of threads.

use std::mem::MaybeUninit;

use candle_core::{CpuStorage, InplaceOp1, Layout, Result, Tensor};
use rayon::prelude::*;

use super::group::{Affine, GradientFactors, Group, Mask, OutputGradient};
use super::{Running, Sizes, Statistics, narrow, wide};
use crate::Activation;
use crate::graph::{Backward, Grad, record, sum, values};
use crate::operand::contiguous_f32_mut;
use crate::output::{Parts, written};

/// Values that a task should read in one go: fewer waste the prefetcher.
const RUN: usize = 1024;

impl Sizes {
    fn groups(&self) -> Vec<Group> {
        let each = (RUN / self.pixels.max(1)).clamp(1, self.c.max(1));
        let group = |start: usize| Group {
            images: self.n,
            channels: start..(start + each).min(self.c),
            pixels: self.pixels,
            stride: self.c * self.pixels,
        };
        (0..self.c).step_by(each).map(group).collect()
    }

    fn narrow(&self) -> bool {
        self.pixels < wide::LANES
    }
}

/// Applies the kernel. All tensors are `f32` on the CPU.
pub(super) fn batch_norm(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    eps: f64,
    statistics: Statistics,
    residual: Option<&Tensor>,
    act: Activation,
) -> Result<Tensor> {
    let sizes = Sizes::of(x, weight, bias, &statistics, residual)?;
    let (x, weight, bias) = (x.contiguous()?, weight.contiguous()?, bias.contiguous()?);
    let residual = residual.map(|r| r.contiguous()).transpose()?;
    let relu = act == Activation::Relu;
    let (ys, channels, moments) = {
        let (xs, ws, bs, rs) = (
            values(&x)?,
            values(&weight)?,
            values(&bias)?,
            residual.as_ref().map(values).transpose()?,
        );
        let (xs, ws, bs, rs) = (&*xs, &*ws, &*bs, rs.as_deref());
        let stored = match &statistics {
            Statistics::Batch(_) => None,
            Statistics::Stored { mean, var } => Some((mean.contiguous()?, var.contiguous()?)),
        };
        let stored = stored
            .as_ref()
            .map(|(mean, var)| Ok::<_, candle_core::Error>((values(mean)?, values(var)?)))
            .transpose()?;
        let stored: Option<(&[f32], &[f32])> = stored.as_ref().map(|(mean, var)| (&**mean, &**var));
        let task = |group: &Group, y: &Parts<MaybeUninit<f32>>| {
            let moments = match stored {
                Some((mean, var)) => group
                    .channels
                    .clone()
                    .map(|c| (f64::from(mean[c]), f64::from(var[c])))
                    .collect(),
                None if sizes.narrow() => narrow::moments(xs, group),
                None => wide::moments(xs, group),
            };
            let affine = |(c, &(mean, var)): (usize, &(f64, f64))| {
                let rstd = 1.0 / (var + eps).sqrt();
                (
                    Affine {
                        mean: mean as f32,
                        scale: (rstd * f64::from(ws[c])) as f32,
                        shift: bs[c],
                    },
                    rstd as f32,
                )
            };
            let (affine, rstd): (Vec<_>, Vec<_>) =
                group.channels.clone().zip(&moments).map(affine).unzip();
            if sizes.narrow() {
                narrow::normalise(xs, rs, y, group, &affine, relu);
            } else {
                wide::normalise(xs, rs, y, group, &affine, relu);
            }
            (affine, rstd, moments)
        };
        let write = |y: &mut [MaybeUninit<f32>]| {
            let y = Parts::of(y);
            sizes.groups().par_iter().map(|group| task(group, &y)).collect::<Vec<_>>()
        };
        // SAFETY: the groups cover all channels, and `normalise` writes all values of a group.
        let (ys, groups) = unsafe { written(xs.len(), write) };
        let (mut channels, mut moments) =
            (Vec::with_capacity(sizes.c), Vec::with_capacity(sizes.c));
        for (affine, rstd, group) in groups {
            channels.extend(affine.into_iter().zip(rstd));
            moments.extend(group);
        }
        (ys, channels, moments)
    };
    let batch = matches!(statistics, Statistics::Batch(_));
    if let Statistics::Batch(Some(running)) = statistics {
        running.move_towards_moments(&moments, sizes.count())?;
    }
    let mut inputs = vec![&x, &weight, &bias];
    inputs.extend(&residual);
    // Without a residual, y's sign follows from x, whose values are read in any case.
    let keep = relu && residual.is_some();
    record(&inputs, ys, x.shape(), keep, || {
        Ok(BatchNorm { x: x.detach(), sizes, channels, batch, relu })
    })
}

struct BatchNorm {
    x: Tensor,
    sizes: Sizes,
    /// The factors of each channel, and 1 / √(var + eps).
    channels: Vec<(Affine, f32)>,
    /// Whether the statistics depend on x.
    batch: bool,
    relu: bool,
}

impl Backward for BatchNorm {
    fn backward(
        &self,
        y: Option<&Tensor>,
        mut grad: Vec<Grad>,
        wanted: &[bool],
    ) -> Result<Vec<Option<Grad>>> {
        // The sum of two parts is taken on the way; which is written over makes no difference to
        // it.
        let last = if grad.len() > 1 { grad.pop() } else { None };
        let first = sum(grad)?;
        let (first, add) = match (first, last) {
            (first @ Grad::Shared(_), Some(last @ Grad::Owned(_))) => (last, Some(first)),
            parts => parts,
        };
        let mut over = first.into_vec()?;
        let residual = wanted.len() > 3 && wanted[3];
        let (xs, add, ys) = (
            values(&self.x)?,
            add.as_ref().map(Grad::values).transpose()?,
            y.map(values).transpose()?,
        );
        let (xs, add, ys): (&[f32], Option<&[f32]>, Option<&[f32]>) =
            (&xs, add.as_deref(), ys.as_deref());
        let mask = match (self.relu, ys) {
            (false, _) => Mask::None,
            (true, None) => Mask::FromX,
            (true, Some(ys)) => Mask::FromY(ys),
        };
        let pass = |g: &mut [f32], dx: Option<&mut [MaybeUninit<f32>]>| {
            let incoming = OutputGradient { over: Parts::of(g), add };
            let dx = dx.map(Parts::of);
            let groups = self.sizes.groups();
            groups
                .par_iter()
                .map(|group| self.group(group, xs, &incoming, mask, dx.as_ref()))
                .collect::<Vec<_>>()
        };
        let (dx, sums) = if residual {
            // SAFETY: the groups cover all channels, and `gradient` writes all values of a group.
            let (dx, sums) = unsafe { written(over.len(), |dx| pass(&mut over, Some(dx))) };
            (Some(dx), sums)
        } else {
            (None, pass(&mut over, None))
        };
        let (dw, db) = sums.into_iter().flatten().unzip();
        let (dx, dr) = match dx {
            Some(dx) => (dx, Some(Grad::Owned(over))),
            None => (over, None),
        };
        Ok(vec![Some(Grad::Owned(dx)), Some(Grad::Owned(dw)), Some(Grad::Owned(db)), dr])
    }
}

impl BatchNorm {
    /// Both passes over one group: g′ over the gradient, dx to `dx` or over g′, and the gradients
    /// of weight and bias.
    fn group(
        &self,
        group: &Group,
        x: &[f32],
        grad: &OutputGradient,
        mask: Mask,
        dx: Option<&Parts<MaybeUninit<f32>>>,
    ) -> Vec<(f32, f32)> {
        let channels = &self.channels[group.channels.clone()];
        let affine: Vec<Affine> = channels.iter().map(|(affine, _)| *affine).collect();
        let sums = if self.sizes.narrow() {
            narrow::reduce(x, grad, mask, group, &affine)
        } else {
            wide::reduce(x, grad, mask, group, &affine)
        };
        let count = self.sizes.count() as f64;
        let slope = |(&(affine, rstd), &(g, gx)): (&(Affine, f32), &(f64, f64))| {
            let (scale, rstd) = (f64::from(affine.scale), f64::from(rstd));
            let (slope, offset) = if self.batch {
                (-scale * rstd * rstd * gx / count, -scale * g / count)
            } else {
                (0.0, 0.0)
            };
            GradientFactors {
                mean: affine.mean,
                scale: affine.scale,
                slope: slope as f32,
                offset: offset as f32,
            }
        };
        let slopes: Vec<GradientFactors> = channels.iter().zip(&sums).map(slope).collect();
        if self.sizes.narrow() {
            narrow::gradient(x, &grad.over, dx, group, &slopes);
        } else {
            wide::gradient(x, &grad.over, dx, group, &slopes);
        }
        channels
            .iter()
            .zip(&sums)
            .map(|((_, rstd), &(g, gx))| ((gx * f64::from(*rstd)) as f32, g as f32))
            .collect()
    }
}

impl Running<'_> {
    /// Moves the averages towards means and biased variances of `count` values a channel.
    fn move_towards_moments(&self, moments: &[(f64, f64)], count: usize) -> Result<()> {
        let unbiased = count as f64 / (count - 1) as f64;
        self.mean.inplace_op1(&RunningUpdate {
            momentum: self.momentum,
            batch: moments.iter().map(|m| m.0).collect(),
        })?;
        self.var.inplace_op1(&RunningUpdate {
            momentum: self.momentum,
            batch: moments.iter().map(|m| m.1 * unbiased).collect(),
        })
    }
}

struct RunningUpdate {
    momentum: f64,
    batch: Vec<f64>,
}

impl InplaceOp1 for RunningUpdate {
    fn name(&self) -> &'static str {
        "batch_norm"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        for (average, batch) in
            contiguous_f32_mut(storage, layout, self.name())?.iter_mut().zip(&self.batch)
        {
            *average = ((1.0 - self.momentum) * f64::from(*average) + self.momentum * batch) as f32;
        }
        Ok(())
    }
}
