//! The kernel behind [`super::gated_sum`]: one pass forward; one backward, which writes the
//! gradient of x over the incoming one and sums those of the gates while it goes through the
//! channels.

use std::mem::MaybeUninit;

use candle_core::{Result, Tensor};
use rayon::prelude::*;

use crate::graph::{Backward, Grad, record, sum, values};
use crate::multiversion::multiversioned;
use crate::output::{Parts, written};

pub(super) fn gated_sum(x: &Tensor, y: &Tensor, gates: &Tensor) -> Result<Tensor> {
    let (_, c, h, w) = x.dims4()?;
    let (x, y, gates) = (x.contiguous()?, y.contiguous()?, gates.contiguous()?);
    let sizes = Sizes { c, pixels: h * w };
    let out = {
        let (xs, ys, gs) = (values(&x)?, values(&y)?, values(&gates)?);
        let (xs, ys, gs) = (&*xs, &*ys, &*gs);
        let write = |out: &mut [MaybeUninit<f32>]| {
            let out = Parts::of(out);
            sizes.images(xs).for_each(|i| {
                let [x, y] = [xs, ys].map(|t| &t[i * sizes.image()..][..sizes.image()]);
                // SAFETY: each image belongs to one task.
                mix(
                    x,
                    y,
                    sizes.gates(gs, i),
                    unsafe { out.part(i * sizes.image(), sizes.image()) },
                    sizes.pixels,
                );
            });
        };
        // SAFETY: the tasks cover the images, and `mix` writes all of one.
        unsafe { written(xs.len(), write) }.0
    };
    let op = || Ok(GatedSum { x: x.detach(), y: y.detach(), gates: gates.detach(), sizes });
    record(&[&x, &y, &gates], out, x.shape(), false, op)
}

#[derive(Clone, Copy)]
struct Sizes {
    c: usize,
    pixels: usize,
}

impl Sizes {
    fn image(&self) -> usize {
        self.c * self.pixels
    }

    fn images(&self, x: &[f32]) -> impl IndexedParallelIterator<Item = usize> + use<> {
        (0..x.len() / self.image().max(1)).into_par_iter()
    }

    /// Both gates of image `i`.
    fn gates<'a>(&self, gates: &'a [f32], i: usize) -> (&'a [f32], &'a [f32]) {
        gates[2 * i * self.pixels..][..2 * self.pixels].split_at(self.pixels)
    }
}

struct GatedSum {
    x: Tensor,
    y: Tensor,
    gates: Tensor,
    sizes: Sizes,
}

impl Backward for GatedSum {
    fn backward(
        &self,
        _y: Option<&Tensor>,
        grad: Vec<Grad>,
        _wanted: &[bool],
    ) -> Result<Vec<Option<Grad>>> {
        let mut dx = sum(grad)?.into_vec()?;
        let (xs, ys, gs) = (values(&self.x)?, values(&self.y)?, values(&self.gates)?);
        let (xs, ys, gs) = (&*xs, &*ys, &*gs);
        let sizes = self.sizes;
        let mut dgates = vec![0f32; gs.len()];
        let write = |dy: &mut [MaybeUninit<f32>]| {
            let (dy, over) = (Parts::of(dy), Parts::of(&mut dx));
            sizes.images(xs).zip(dgates.par_chunks_mut((2 * sizes.pixels).max(1))).for_each(
                |(i, dgates)| {
                    let [x, y] = [xs, ys].map(|t| &t[i * sizes.image()..][..sizes.image()]);
                    // SAFETY: each image belongs to one task.
                    let (dx, dy) = unsafe {
                        (
                            over.part(i * sizes.image(), sizes.image()),
                            dy.part(i * sizes.image(), sizes.image()),
                        )
                    };
                    unmix(x, y, sizes.gates(gs, i), dx, dy, dgates, sizes.pixels);
                },
            );
        };
        // SAFETY: the tasks cover the images, and `unmix` writes all of one.
        let dy = unsafe { written(xs.len(), write) }.0;
        Ok([dx, dy, dgates].into_iter().map(|grad| Some(Grad::Owned(grad))).collect())
    }
}

multiversioned! {
    /// One image: out = x · gate 0 + y · gate 1.
    fn mix(x: &[f32], y: &[f32], gates: (&[f32], &[f32]), out: &mut [MaybeUninit<f32>], pixels: usize) {
        let planes = x.chunks_exact(pixels).zip(y.chunks_exact(pixels));
        for (out, (x, y)) in out.chunks_exact_mut(pixels).zip(planes) {
            for ((out, (x, y)), (a, b)) in out.iter_mut().zip(x.iter().zip(y)).zip(gates.0.iter().zip(gates.1)) {
                out.write(x * a + y * b);
            }
        }
    }
}

multiversioned! {
    /// One image: dx holds the gradient and takes that of x; dy is written; dgates holds zeros.
    fn unmix(x: &[f32], y: &[f32], gates: (&[f32], &[f32]), dx: &mut [f32], dy: &mut [MaybeUninit<f32>], dgates: &mut [f32], pixels: usize) {
        let (da, db) = dgates.split_at_mut(pixels);
        let planes = x.chunks_exact(pixels).zip(y.chunks_exact(pixels));
        for ((dx, dy), (x, y)) in dx.chunks_exact_mut(pixels).zip(dy.chunks_exact_mut(pixels)).zip(planes) {
            for (((dx, dy), (x, y)), ((a, b), (da, db))) in
                dx.iter_mut().zip(dy).zip(x.iter().zip(y)).zip(gates.0.iter().zip(gates.1).zip(da.iter_mut().zip(&mut *db)))
            {
                let g = *dx;
                *da += g * x;
                *db += g * y;
                *dx = g * a;
                dy.write(g * b);
            }
        }
    }
}
