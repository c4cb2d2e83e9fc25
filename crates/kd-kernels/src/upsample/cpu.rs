//! The kernel behind [`super::upsample_nearest`]: each row is stretched once and copied; backward,
//! rows are summed first, then pixels.

use std::mem::MaybeUninit;

use candle_core::{Result, Tensor};
use rayon::prelude::*;

use super::sources;
use crate::graph::{Backward, Grad, record, sum, values};
use crate::multiversion::multiversioned;
use crate::output::{Parts, written};

pub(super) fn upsample_nearest(x: &Tensor, (height, width): (usize, usize)) -> Result<Tensor> {
    let (n, c, h, w) = x.dims4()?;
    let x = x.contiguous()?;
    let map = Map { h, w, rows: sources(h, height), columns: sources(w, width) };
    let (from, to) = (h * w, height * width);
    let y = {
        let xs = values(&x)?;
        let xs = &*xs;
        let write = |y: &mut [MaybeUninit<f32>]| {
            let y = Parts::of(y);
            xs.par_chunks(from * PLANES).enumerate().for_each(|(task, x)| {
                for (i, x) in x.chunks_exact(from).enumerate() {
                    // SAFETY: each plane belongs to one task.
                    stretch(x, unsafe { y.part((task * PLANES + i) * to, to) }, &map);
                }
            });
        };
        // SAFETY: the tasks cover the planes, and `stretch` writes all of one.
        unsafe { written(n * c * to, write) }.0
    };
    record(&[&x], y, (n, c, height, width), false, || Ok(map))
}

/// Planes of a task.
const PLANES: usize = 16;

/// Which pixel each pixel copies.
struct Map {
    h: usize,
    w: usize,
    rows: Vec<u32>,
    columns: Vec<u32>,
}

impl Backward for Map {
    fn backward(
        &self,
        _y: Option<&Tensor>,
        grad: Vec<Grad>,
        _wanted: &[bool],
    ) -> Result<Vec<Option<Grad>>> {
        let grad = sum(grad)?;
        let g = grad.values()?;
        let (from, to) = (self.h * self.w, self.rows.len() * self.columns.len());
        if to == 0 {
            return Ok(vec![None]);
        }
        let mut dx = vec![0f32; g.len() / to * from];
        dx.par_chunks_mut(from * PLANES).zip(g.par_chunks(to * PLANES)).for_each(|(dx, g)| {
            let mut row = vec![0f32; self.columns.len()];
            for (dx, g) in dx.chunks_exact_mut(from).zip(g.chunks_exact(to)) {
                shrink(dx, g, &mut row, self);
            }
        });
        Ok(vec![Some(Grad::Owned(dx))])
    }
}

multiversioned! {
    /// One plane: writes all of y.
    fn stretch(x: &[f32], y: &mut [MaybeUninit<f32>], map: &Map) {
        let width = map.columns.len();
        if width == 0 {
            return;
        }
        for i in 0..map.rows.len() {
            let (done, rest) = y.split_at_mut(i * width);
            let row = &mut rest[..width];
            if i > 0 && map.rows[i] == map.rows[i - 1] {
                row.copy_from_slice(&done[(i - 1) * width..]);
                continue;
            }
            let x = &x[map.rows[i] as usize * map.w..][..map.w];
            if width == 2 * map.w {
                for (pair, x) in row.as_chunks_mut::<2>().0.iter_mut().zip(x) {
                    *pair = [MaybeUninit::new(*x); 2];
                }
            } else {
                for (y, column) in row.iter_mut().zip(&map.columns) {
                    y.write(x[*column as usize]);
                }
            }
        }
    }
}

multiversioned! {
    /// One plane: adds the copies of each pixel to dx. `row` holds zeros, before and after.
    fn shrink(dx: &mut [f32], g: &[f32], row: &mut [f32], map: &Map) {
        let width = map.columns.len();
        for (i, g) in g.chunks_exact(width).enumerate() {
            for (sum, g) in row.iter_mut().zip(g) {
                *sum += g;
            }
            if map.rows.get(i + 1) == Some(&map.rows[i]) {
                continue;
            }
            let dx = &mut dx[map.rows[i] as usize * map.w..][..map.w];
            if width == 2 * map.w {
                for (dx, pair) in dx.iter_mut().zip(row.as_chunks::<2>().0) {
                    *dx += pair[0] + pair[1];
                }
            } else {
                for (sum, column) in row.iter().zip(&map.columns) {
                    dx[*column as usize] += sum;
                }
            }
            row.fill(0.0);
        }
    }
}
