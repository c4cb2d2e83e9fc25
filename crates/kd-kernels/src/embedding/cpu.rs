//! The kernel behind [`super::embedding`].
//!
//! Backward: a task owns a range of the table's rows and adds the gradients of the places whose id
//! lies in it, in the order of the places. No two tasks write to one row, and sums do not depend
//! on the number of threads. In this crate's own backward pass they are added to what other uses of
//! the table have left there.

use std::mem::MaybeUninit;

use candle_core::{Result, Tensor};

use crate::graph::{Backward, Grad, deposit_in_place, record, sum, values};
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
        let write = |out: &mut [MaybeUninit<f32>]| {
            let out = Parts::of(out);
            tasks(ids.len().div_ceil(each), |task| {
                for (i, &id) in ids.iter().enumerate().skip(task * each).take(each) {
                    // SAFETY: each place belongs to one task.
                    let y = unsafe { out.part(i * d, d) };
                    place(
                        &rows[id as usize * d..][..d],
                        scale,
                        places.map_or(&[], |p| &p[i % t * d..][..d]),
                        y,
                    );
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
    let op = || {
        Ok(Embedding {
            ids,
            t,
            v,
            d,
            scale,
            padding,
            variable: Some(table.clone()).filter(Tensor::is_variable),
            places,
        })
    };
    record(&inputs, ys, dims, false, op)
}

struct Embedding {
    ids: Vec<u32>,
    t: usize,
    v: usize,
    d: usize,
    scale: f32,
    padding: Option<u32>,
    /// The table, if it is a variable, whose gradient may go where its others are.
    variable: Option<Tensor>,
    /// Rows of the positions.
    places: usize,
}

impl Backward for Embedding {
    fn backward(
        &self,
        _y: Option<&Tensor>,
        grad: Vec<Grad>,
        wanted: &[bool],
    ) -> Result<Vec<Option<Grad>>> {
        let grad = sum(grad)?;
        let grad = grad.values()?;
        let row = |i: usize| {
            Some(self.ids[i]).filter(|id| Some(*id) != self.padding).map(|id| id as usize)
        };
        let scatter = |all: &mut [f32]| self.scatter(&grad, row, self.scale, all);
        let deposited = match &self.variable {
            Some(table) if wanted[0] => deposit_in_place(table, scatter)?,
            _ => false,
        };
        let rows = (wanted[0] && !deposited).then(|| {
            let mut all = vec![0f32; self.v * self.d];
            scatter(&mut all);
            Grad::Owned(all)
        });
        let places = (wanted.get(1) == Some(&true)).then(|| {
            let mut all = vec![0f32; self.places * self.d];
            self.scatter(&grad, |i| Some(i % self.t), 1.0, &mut all);
            Grad::Owned(all)
        });
        Ok(vec![rows, places])
    }
}

impl Embedding {
    /// Adds scale · the gradient of each place i to row `of(i)` of `all`.
    fn scatter(
        &self,
        grad: &[f32],
        of: impl Fn(usize) -> Option<usize>,
        scale: f32,
        all: &mut [f32],
    ) {
        let (d, each) = (self.d, per_task(self.d));
        let mut places = vec![Vec::new(); all.len().div_ceil(each * d)];
        for i in 0..self.ids.len() {
            if let Some(row) = of(i) {
                places[row / each].push((row, i));
            }
        }
        let all = Parts::of(all);
        tasks(places.len(), |task| {
            for &(row, i) in &places[task] {
                // SAFETY: the rows of a range belong to one task.
                add_scaled(unsafe { all.part(row * d, d) }, scale, &grad[i * d..][..d]);
            }
        });
    }
}

multiversioned! {
    /// y = scale · row + position, which may be empty for none.
    fn place(row: &[f32], scale: f32, position: &[f32], y: &mut [MaybeUninit<f32>]) {
        if position.is_empty() {
            for (y, x) in y.iter_mut().zip(row) {
                y.write(scale * x);
            }
        } else {
            for (y, (x, position)) in y.iter_mut().zip(row.iter().zip(position)) {
                y.write(scale * x + position);
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
