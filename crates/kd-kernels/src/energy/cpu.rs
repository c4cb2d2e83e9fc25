//! The kernel behind [`super::channel_energy`]: an image at a time, whose sums stay in cache while
//! its channels go by.

use std::mem::MaybeUninit;

use candle_core::{Result, Tensor};

use crate::graph::{Backward, Grad, record, sum, values};
use crate::multiversion::multiversioned;
use crate::output::{Parts, filled, written};
use crate::rows::tasks;

pub(super) fn channel_energy(x: &Tensor) -> Result<Tensor> {
    let (n, c, h, w) = x.dims4()?;
    let x = x.contiguous()?;
    let pixels = h * w;
    let y = {
        let xs = values(&x)?;
        let xs: &[f32] = &xs;
        let write = |y: &mut [MaybeUninit<f32>]| {
            let y = Parts::of(y);
            tasks(n, |i| {
                // SAFETY: each image belongs to one task.
                let y = filled(unsafe { y.part(i * pixels, pixels) }, 0.0);
                energy(&xs[i * c * pixels..][..c * pixels], y, 1.0 / c as f32);
            });
        };
        // SAFETY: the tasks cover the images, and each is filled.
        unsafe { written(n * pixels, write) }.0
    };
    record(&[&x], y, (n, pixels), false, || Ok(Energy { x: x.detach(), images: n, channels: c }))
}

struct Energy {
    x: Tensor,
    images: usize,
    channels: usize,
}

impl Backward for Energy {
    fn backward(
        &self,
        _y: Option<&Tensor>,
        grad: Vec<Grad>,
        _wanted: &[bool],
    ) -> Result<Vec<Option<Grad>>> {
        let grad = sum(grad)?;
        let (grad, xs) = (grad.values()?, values(&self.x)?);
        let (grad, xs): (&[f32], &[f32]) = (&grad, &xs);
        let (pixels, image) = (grad.len() / self.images.max(1), xs.len() / self.images.max(1));
        let write = |dx: &mut [MaybeUninit<f32>]| {
            let dx = Parts::of(dx);
            tasks(self.images, |i| {
                // SAFETY: each image belongs to one task.
                let dx = unsafe { dx.part(i * image, image) };
                spread(
                    &xs[i * image..][..image],
                    &grad[i * pixels..][..pixels],
                    dx,
                    2.0 / self.channels as f32,
                );
            });
        };
        // SAFETY: the tasks cover the images, and `spread` writes all of one.
        let dx = unsafe { written(xs.len(), write) }.0;
        Ok(vec![Some(Grad::Owned(dx))])
    }
}

multiversioned! {
    /// One image: y, which holds zeros, becomes share · Σ_c x_c².
    fn energy(x: &[f32], y: &mut [f32], share: f32) {
        if y.is_empty() {
            return;
        }
        for plane in x.chunks_exact(y.len()) {
            for (y, x) in y.iter_mut().zip(plane) {
                *y += x * x;
            }
        }
        for y in y {
            *y *= share;
        }
    }
}

multiversioned! {
    /// One image: dx_c = factor · x_c · g.
    fn spread(x: &[f32], g: &[f32], dx: &mut [MaybeUninit<f32>], factor: f32) {
        if g.is_empty() {
            return;
        }
        for (x, dx) in x.chunks_exact(g.len()).zip(dx.chunks_exact_mut(g.len())) {
            for ((dx, x), g) in dx.iter_mut().zip(x).zip(g) {
                dx.write(factor * x * g);
            }
        }
    }
}
