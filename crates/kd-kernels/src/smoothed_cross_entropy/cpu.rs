//! The kernels behind [`super::label_smoothed_cross_entropy`] and [`super::soft_cross_entropy`]: a
//! pass over the logits forward and one backward.
//!
//! A row of a vocabulary is some ten thousand values and stays in the first two caches for the
//! passes that it needs. Exponentials are taken in f32 and summed in f64 by blocks: for a teacher's
//! 1,024 rows of 10,000 words, both passes of [`super::soft_cross_entropy`] took 0.4 of the time of
//! [`crate::softened_kl`], whose T² asks for f64 throughout.

use std::mem::MaybeUninit;

use candle_core::{Result, Tensor};

use super::rows::{Losses, Softmax, gradient, gradient_soft, reduce, reduce_teacher};
use super::{CrossEntropySums, Targets};
use crate::graph::{Backward, Grad, record, sum, values};
use crate::output::{Parts, assume_init, filled, written};
use crate::rows::{per_task, tasks};

/// A scalar loss and its count as the public functions return them.
pub(super) fn smoothed(
    losses: &[Losses],
    targets: &Targets,
    record: impl FnOnce(f32) -> Result<Tensor>,
) -> Result<CrossEntropySums> {
    let (nll, smooth) =
        losses.iter().fold((0f64, 0f64), |(nll, smooth), row| (nll + row.nll, smooth + row.smooth));
    let loss = record(((1.0 - targets.epsilon) * nll + targets.epsilon * smooth) as f32)?;
    let nll = Tensor::new(nll as f32, loss.device())?;
    Ok(CrossEntropySums { loss, nll, rows: targets.rows })
}

pub(super) fn label_smoothed(logits: &Tensor, targets: Targets) -> Result<CrossEntropySums> {
    let logits = logits.contiguous()?;
    let (n, v) = logits.dims2()?;
    let rows: Vec<(Softmax, Losses)> = {
        let zs = values(&logits)?;
        let zs: &[f32] = &zs;
        let each = per_task(v);
        let row = |i: usize| match targets.ids[i] {
            Some(target) => {
                let z = &zs[i * v..][..v];
                let (softmax, sum) = reduce(z);
                (softmax, Losses::of(z, target, &softmax, sum))
            }
            None => Default::default(),
        };
        tasks(n.div_ceil(each), |task| {
            (task * each..((task + 1) * each).min(n)).map(row).collect::<Vec<_>>()
        })
        .into_iter()
        .flatten()
        .collect()
    };
    let (softmax, losses): (Vec<Softmax>, Vec<Losses>) = rows.into_iter().unzip();
    let (ids, epsilon) = (targets.ids.clone(), targets.epsilon);
    smoothed(&losses, &targets, |loss| {
        record(&[&logits], vec![loss], (), false, || {
            Ok(LabelSmoothed { logits: logits.detach(), ids, epsilon, softmax })
        })
    })
}

struct LabelSmoothed {
    logits: Tensor,
    ids: Vec<Option<u32>>,
    epsilon: f64,
    softmax: Vec<Softmax>,
}

impl Backward for LabelSmoothed {
    fn backward(
        &self,
        _y: Option<&Tensor>,
        grad: Vec<Grad>,
        _wanted: &[bool],
    ) -> Result<Vec<Option<Grad>>> {
        let scale = upstream(grad)?;
        let (n, v) = self.logits.dims2()?;
        let zs = values(&self.logits)?;
        let zs: &[f32] = &zs;
        let row = |i: usize, g: &mut [MaybeUninit<f32>]| match self.ids[i] {
            Some(target) => {
                let Softmax { max, total } = self.softmax[i];
                gradient(
                    &zs[i * v..][..v],
                    max,
                    (scale / total) as f32,
                    (scale * self.epsilon / v as f64) as f32,
                    g,
                );
                // SAFETY: `gradient` has written all of the row.
                let g = unsafe { assume_init(g) };
                g[target as usize] -= (scale * (1.0 - self.epsilon)) as f32;
            }
            None => {
                filled(g, 0.0);
            }
        };
        // SAFETY: `gradient` writes a value for each logit of the row.
        Ok(vec![Some(Grad::Owned(unsafe { by_rows(n, v, row) }))])
    }
}

pub(super) fn soft(logits: &Tensor, teacher: &Tensor, counts: Option<&[bool]>) -> Result<Tensor> {
    let (logits, teacher) = (logits.contiguous()?, teacher.contiguous()?);
    let (n, v) = logits.dims2()?;
    let rows: Vec<(f64, Option<[Softmax; 2]>)> = {
        let (zs, ts) = (values(&logits)?, values(&teacher)?);
        let (zs, ts): (&[f32], &[f32]) = (&zs, &ts);
        let each = per_task(v);
        let row = |i: usize| {
            if counts.is_some_and(|counts| !counts[i]) {
                return (0.0, None);
            }
            let z = &zs[i * v..][..v];
            let softmax = reduce(z).0;
            let (teacher, cross) = reduce_teacher(&ts[i * v..][..v], z, softmax.max);
            // −Σ q·(z − max − ln total), with q = e/Σe.
            (softmax.total.ln() - cross / teacher.total, Some([softmax, teacher]))
        };
        tasks(n.div_ceil(each), |task| {
            (task * each..((task + 1) * each).min(n)).map(row).collect::<Vec<_>>()
        })
        .into_iter()
        .flatten()
        .collect()
    };
    let loss = rows.iter().map(|row| row.0).sum::<f64>() as f32;
    let rows = rows.into_iter().map(|row| row.1).collect();
    record(&[&logits], vec![loss], (), false, || {
        Ok(Soft { logits: logits.detach(), teacher: teacher.detach(), rows })
    })
}

struct Soft {
    logits: Tensor,
    teacher: Tensor,
    /// Of the student and of the teacher, where the row counts.
    rows: Vec<Option<[Softmax; 2]>>,
}

impl Backward for Soft {
    fn backward(
        &self,
        _y: Option<&Tensor>,
        grad: Vec<Grad>,
        _wanted: &[bool],
    ) -> Result<Vec<Option<Grad>>> {
        let scale = upstream(grad)?;
        let (n, v) = self.logits.dims2()?;
        let (zs, ts) = (values(&self.logits)?, values(&self.teacher)?);
        let (zs, ts): (&[f32], &[f32]) = (&zs, &ts);
        let row = |i: usize, g: &mut [MaybeUninit<f32>]| match &self.rows[i] {
            Some(softmaxes) => {
                let [of_z, of_teacher] =
                    softmaxes.map(|softmax| (softmax.max, (scale / softmax.total) as f32));
                gradient_soft(&zs[i * v..][..v], of_z, &ts[i * v..][..v], of_teacher, g);
            }
            None => {
                filled(g, 0.0);
            }
        };
        // SAFETY: `gradient_soft` writes a value for each logit of the row.
        Ok(vec![Some(Grad::Owned(unsafe { by_rows(n, v, row) }))])
    }
}

/// The gradient of a scalar.
pub(super) fn upstream(grad: Vec<Grad>) -> Result<f64> {
    Ok(sum(grad)?.values()?.iter().copied().map(f64::from).sum())
}

/// `n` rows of `v` values.
///
/// # Safety
/// `row` writes all of the row that it is given.
unsafe fn by_rows(
    n: usize,
    v: usize,
    row: impl Fn(usize, &mut [MaybeUninit<f32>]) + Sync + Send,
) -> Vec<f32> {
    let each = per_task(v);
    let write = |out: &mut [MaybeUninit<f32>]| {
        let out = Parts::of(out);
        tasks(n.div_ceil(each), |task| {
            for i in task * each..((task + 1) * each).min(n) {
                // SAFETY: each row belongs to one task.
                row(i, unsafe { out.part(i * v, v) });
            }
        });
    };
    // SAFETY: the tasks cover the rows, and the caller promises each of them.
    unsafe { written(n * v, write) }.0
}
