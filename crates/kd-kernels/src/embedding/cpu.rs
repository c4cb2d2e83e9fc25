//! The kernel behind [`super::embedding`].
//!
//! Backward: a task owns a range of the table's rows, clears it and adds the gradients of the places whose id lies in it, in the order of the
//! places. So no two tasks write to one row, and sums do not depend on the number of threads.

use candle_core::{Result, Tensor};

use crate::graph::{Backward, Grad, record, sum, values};
use crate::multiversion::multiversioned;
use crate::output::{Parts, written};
use crate::rows::{per_task, tasks};

/// Applies the kernel. Arguments are checked; `ids` are those of `shape` in row-major order.
pub(super) fn embedding(
    ids: Vec<u32>,
    shape: &[usize],
    table: &Tensor,
    scale: f64,
    positions: Option<&Tensor>,
    padding: Option<u32>,
) -> Result<Tensor> {
    let (table, positions) = (table.contiguous()?, positions.map(Tensor::contiguous).transpose()?);
    let (v, d) = table.dims2()?;
    let t = shape.last().copied().unwrap_or(1);
    let scale = scale as f32;
    let ys = {
        let (rows, places) = (values(&table)?, positions.as_ref().map(values).transpose()?);
        let (rows, places): (&[f32], Option<&[f32]>) = (&rows, places.as_deref());
        let each = per_task(d);
        let write = |out: &mut [std::mem::MaybeUninit<f32>]| {
            let out = Parts::uninit(out);
            tasks(ids.len().div_ceil(each), |task| {
                for (i, &id) in ids.iter().enumerate().skip(task * each).take(each) {
                    // SAFETY: each place belongs to one task, and `place` only writes it.
                    let y = unsafe { out.part(i * d, d) };
                    place(&rows[id as usize * d..][..d], scale, places.map_or(&[], |p| &p[i % t * d..][..d]), y);
                }
            });
        };
        // SAFETY: the tasks cover the places, and `place` writes all of one.
        unsafe { written(ids.len() * d, write) }.0
    };
    let mut dims = shape.to_vec();
    dims.push(d);
    let mut inputs = vec![&table];
    inputs.extend(&positions);
    let places = positions.as_ref().map_or(Ok(0), |p| p.dim(0))?;
    record(&inputs, ys, dims, false, || Ok(Embedding { ids, t, v, d, scale, padding, places }))
}

struct Embedding {
    ids: Vec<u32>,
    t: usize,
    v: usize,
    d: usize,
    scale: f32,
    padding: Option<u32>,
    /// Rows of the positions.
    places: usize,
}

impl Backward for Embedding {
    fn backward(&self, _y: Option<&Tensor>, grad: Vec<Grad>, wanted: &[bool]) -> Result<Vec<Option<Grad>>> {
        let grad = sum(grad)?;
        let grad = grad.values()?;
        let (ids, d) = (&self.ids, self.d);
        let rows = wanted[0].then(|| {
            let of = |i: usize| Some(ids[i]).filter(|id| Some(*id) != self.padding).map(|id| id as usize);
            self.scatter(&grad, self.v, of, self.scale)
        });
        let places = (wanted.get(1) == Some(&true)).then(|| self.scatter(&grad, self.places, |i| Some(i % self.t), 1.0));
        debug_assert_eq!(grad.len(), ids.len() * d);
        Ok([Some(rows), Some(places)].into_iter().flatten().map(|grad| grad.map(Grad::Owned)).collect())
    }
}

impl Embedding {
    /// `count` rows, row r the sum of scale · the gradient of the places i with `of(i)` = r.
    fn scatter(&self, grad: &[f32], count: usize, of: impl Fn(usize) -> Option<usize>, scale: f32) -> Vec<f32> {
        let (d, each) = (self.d, per_task(self.d));
        let mut places = vec![Vec::new(); count.div_ceil(each)];
        for i in 0..self.ids.len() {
            if let Some(row) = of(i) {
                places[row / each].push((row, i));
            }
        }
        let write = |out: &mut [std::mem::MaybeUninit<f32>]| {
            let out = Parts::uninit(out);
            tasks(places.len(), |task| {
                // SAFETY: each task has a range of its own, which is cleared first.
                let range = unsafe { out.part(task * each * d, each * d) };
                range.fill(0.0);
                for &(row, i) in &places[task] {
                    add_scaled(&mut range[(row - task * each) * d..][..d], scale, &grad[i * d..][..d]);
                }
            });
        };
        // SAFETY: the tasks cover the rows, and each clears its range.
        unsafe { written(count * d, write) }.0
    }
}

multiversioned! {
    /// y = scale · row + position, which may be empty for none.
    fn place(row: &[f32], scale: f32, position: &[f32], y: &mut [f32]) {
        if position.is_empty() {
            for (y, x) in y.iter_mut().zip(row) {
                *y = scale * x;
            }
        } else {
            for (y, (x, position)) in y.iter_mut().zip(row.iter().zip(position)) {
                *y = scale * x + position;
            }
        }
    }
}

multiversioned! {
    fn add_scaled(sums: &mut [f32], scale: f32, grad: &[f32]) {
        for (sum, g) in sums.iter_mut().zip(grad) {
            *sum += scale * g;
        }
    }
}
