//! The kernel behind [`super::channel_distance`]: one pass forward, and one backward that writes
//! the gradients.

use std::mem::MaybeUninit;

use candle_core::{Result, Tensor};

use crate::graph::{Backward, Grad, record, sum, values};
use crate::multiversion::multiversioned;
use crate::output::{Parts, written};
use crate::rows::{LANES, fold, tasks};

pub(super) fn channel_distance(x: &Tensor, y: &Tensor) -> Result<Tensor> {
    let (x, y) = (x.contiguous()?, y.contiguous()?);
    let planes = Planes {
        channels: x.dim(1)?,
        images: x.dim(0)?,
        places: x.elem_count() / (x.dim(0)? * x.dim(1)?),
    };
    let distances = {
        let (xs, ys) = (values(&x)?, values(&y)?);
        let (xs, ys): (&[f32], &[f32]) = (&xs, &ys);
        let image = planes.image();
        let of_image = |i: usize| -> Vec<f32> {
            let pairs = xs[i * image..][..image]
                .chunks_exact(planes.places)
                .zip(ys[i * image..][..image].chunks_exact(planes.places));
            pairs.map(|(x, y)| squares(x, y)).collect()
        };
        let parts = tasks(planes.images, of_image);
        let mean = |c: usize| {
            (parts.iter().map(|part| f64::from(part[c])).sum::<f64>() / planes.count()) as f32
        };
        (0..planes.channels).map(mean).collect()
    };
    record(&[&x, &y], distances, planes.channels, false, || {
        Ok(Distance { x: x.detach(), y: y.detach(), planes })
    })
}

#[derive(Clone, Copy)]
struct Planes {
    images: usize,
    channels: usize,
    places: usize,
}

impl Planes {
    fn image(&self) -> usize {
        self.channels * self.places
    }

    /// Values of a channel.
    fn count(&self) -> f64 {
        (self.images * self.places) as f64
    }
}

struct Distance {
    x: Tensor,
    y: Tensor,
    planes: Planes,
}

impl Backward for Distance {
    fn backward(
        &self,
        _y: Option<&Tensor>,
        grad: Vec<Grad>,
        wanted: &[bool],
    ) -> Result<Vec<Option<Grad>>> {
        let grad = sum(grad)?;
        let (grad, xs, ys) = (grad.values()?, values(&self.x)?, values(&self.y)?);
        let (grad, xs, ys): (&[f32], &[f32], &[f32]) = (&grad, &xs, &ys);
        let (image, places) = (self.planes.image(), self.planes.places);
        let towards = |sign: f64| {
            let factors: Vec<f32> = grad
                .iter()
                .map(|g| (sign * 2.0 * f64::from(*g) / self.planes.count()) as f32)
                .collect();
            let write = |out: &mut [MaybeUninit<f32>]| {
                let out = Parts::of(out);
                tasks(self.planes.images, |i| {
                    // SAFETY: each image belongs to one task.
                    let out = unsafe { out.part(i * image, image) };
                    let pairs = xs[i * image..][..image]
                        .chunks_exact(places)
                        .zip(ys[i * image..][..image].chunks_exact(places));
                    for ((out, (x, y)), factor) in
                        out.chunks_exact_mut(places).zip(pairs).zip(&factors)
                    {
                        scaled_difference(x, y, *factor, out);
                    }
                });
            };
            // SAFETY: the tasks cover the images, the channels an image, and `scaled_difference`
            // writes all of a channel.
            Grad::Owned(unsafe { written(xs.len(), write) }.0)
        };
        Ok(vec![wanted[0].then(|| towards(1.0)), wanted[1].then(|| towards(-1.0))])
    }
}

multiversioned! {
    /// Σ (x − y)².
    pub(crate) fn squares(x: &[f32], y: &[f32]) -> f32 {
        let mut lanes = [0f32; LANES];
        let (x_chunks, x_rest) = x.as_chunks::<LANES>();
        let (y_chunks, y_rest) = y.as_chunks::<LANES>();
        for (x, y) in x_chunks.iter().zip(y_chunks) {
            for l in 0..LANES {
                let d = x[l] - y[l];
                lanes[l] += d * d;
            }
        }
        for (lane, (x, y)) in lanes.iter_mut().zip(x_rest.iter().zip(y_rest)) {
            *lane += (x - y) * (x - y);
        }
        fold(lanes)
    }
}

multiversioned! {
    /// out = factor · (x − y).
    fn scaled_difference(x: &[f32], y: &[f32], factor: f32, out: &mut [MaybeUninit<f32>]) {
        for (out, (x, y)) in out.iter_mut().zip(x.iter().zip(y)) {
            out.write(factor * (x - y));
        }
    }
}
