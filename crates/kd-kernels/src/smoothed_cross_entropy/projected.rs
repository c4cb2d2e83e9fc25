//! The kernel behind [`super::projected_cross_entropy`]: runs of rows go from hidden states to
//! gradients while their logits are in cache.
//!
//! For 1,024 rows of width 256 and 10,000 words, both passes took 0.98 to 1.1 of the time of a
//! layer and the loss of its logits, on a busy machine: a tie at best, since the table is packed
//! again for each run; runs of 64 rows took up to 1.24, of 512 and 1,024 as long as of 256. What is
//! gained is memory, 10 MiB of logits rather than 80 of logits and their gradient, and the time of
//! rows that do not count, which are not computed.

use std::sync::{Mutex, PoisonError};

use candle_core::{Result, Tensor};

use super::cpu::{smoothed, upstream};
use super::rows::{Losses, reduce, reduce_over, rescale};
use super::{CrossEntropySums, Targets};
use crate::Precision;
use crate::gemm::{Epilogue, MatRef, gemm_add, gemm_into};
use crate::graph::{Backward, Grad, frees_activations, record, values};
use crate::multiversion::multiversioned;
use crate::operand::TASK;
use crate::output::Parts;
use crate::rows::tasks;
use rayon::prelude::*;

/// Rows whose logits exist at once.
const ROWS: usize = 256;

pub(super) fn projected(
    hidden: &Tensor,
    table: &Tensor,
    targets: Targets,
) -> Result<CrossEntropySums> {
    let (hidden, table) = (hidden.contiguous()?, table.contiguous()?);
    let (wanted_hidden, wanted_table) = (hidden.track_op(), table.track_op());
    let (n, d) = hidden.dims2()?;
    let v = table.dim(0)?;
    let precision = Precision::current();
    let (losses, gradients) = {
        let (hs, ts) = (values(&hidden)?, values(&table)?);
        let ts = MatRef::row_major(&ts, v, d)?;
        // Rows that count, one after another: what they have no part in is not computed.
        let (places, ids): (Vec<usize>, Vec<u32>) =
            targets.ids.iter().enumerate().filter_map(|(i, id)| id.map(|id| (i, id))).unzip();
        let gathered: Vec<f32>;
        let hs = if places.len() == n {
            &*hs
        } else {
            gathered = places.iter().flat_map(|&i| &hs[i * d..][..d]).copied().collect();
            &gathered
        };
        let mut losses = vec![Losses::default(); places.len()];
        let mut logits = vec![0f32; ROWS.min(places.len()) * v];
        let mut dh = vec![0f32; if wanted_hidden { places.len() * d } else { 0 }];
        let mut dt = vec![0f32; if wanted_table { v * d } else { 0 }];
        for start in (0..places.len()).step_by(ROWS) {
            let rows = ROWS.min(places.len() - start);
            let h = MatRef::row_major(&hs[start * d..][..rows * d], rows, d)?;
            let z = &mut logits[..rows * v];
            gemm_into(h, ts.t(), Epilogue::Identity, precision, z)?;
            let (out, of_rows) =
                (Parts::of(z), Rows { ids: &ids[start..][..rows], epsilon: targets.epsilon });
            let found = tasks(rows, |i| {
                // SAFETY: each row belongs to one task.
                let z = unsafe { out.part(i * v, v) };
                of_rows.row(i, z, wanted_hidden || wanted_table)
            });
            losses[start..][..rows].copy_from_slice(&found);
            let g = MatRef::row_major(z, rows, v)?;
            if wanted_hidden {
                gemm_into(g, ts, Epilogue::Identity, precision, &mut dh[start * d..][..rows * d])?;
            }
            if wanted_table {
                gemm_add(g.t(), h, precision, &mut dt)?;
            }
        }
        if wanted_hidden && places.len() < n {
            let mut all = vec![0f32; n * d];
            for (&i, row) in places.iter().zip(dh.chunks_exact(d)) {
                all[i * d..][..d].copy_from_slice(row);
            }
            dh = all;
        }
        (losses, [wanted_hidden.then_some(dh), wanted_table.then_some(dt)])
    };
    smoothed(&losses, &targets, |loss| {
        record(&[&hidden, &table], vec![loss], (), false, || Ok(Projected(Mutex::new(gradients))))
    })
}

/// The targets of a run of rows.
struct Rows<'a> {
    ids: &'a [u32],
    epsilon: f64,
}

impl Rows<'_> {
    /// The losses of row `i`, whose logits `z` make place for their gradient if it is wanted.
    fn row(&self, i: usize, z: &mut [f32], gradient: bool) -> Losses {
        let target = self.ids[i];
        if !gradient {
            let (softmax, sum) = reduce(z);
            return Losses::of(z, target, &softmax, sum);
        }
        let of_target = f64::from(z[target as usize]);
        let (softmax, sum) = reduce_over(z);
        rescale(z, (1.0 / softmax.total) as f32, (self.epsilon / z.len() as f64) as f32);
        z[target as usize] -= (1.0 - self.epsilon) as f32;
        let log_sum = softmax.log_sum();
        Losses { nll: log_sum - of_target, smooth: log_sum - sum / z.len() as f64 }
    }
}

/// The gradients of hidden states and table for a gradient of 1 of the loss.
struct Projected(Mutex<[Option<Vec<f32>>; 2]>);

impl Backward for Projected {
    fn backward(
        &self,
        _y: Option<&Tensor>,
        grad: Vec<Grad>,
        _wanted: &[bool],
    ) -> Result<Vec<Option<Grad>>> {
        let scale = upstream(grad)? as f32;
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A pass that frees takes them; another one may come again.
        let grads = if frees_activations() { std::mem::take(&mut *kept) } else { kept.clone() };
        let scaled = grads.map(|grad| {
            grad.map(|mut grad| {
                if scale != 1.0 {
                    grad.par_chunks_mut(TASK).for_each(|grad| multiply(grad, scale));
                }
                Grad::Owned(grad)
            })
        });
        Ok(scaled.into())
    }
}

multiversioned! {
    fn multiply(grad: &mut [f32], scale: f32) {
        for g in grad {
            *g *= scale;
        }
    }
}
