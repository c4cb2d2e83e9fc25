//! The kernel behind [`super::channel_shuffle`]: one copy of the planes.

use std::mem::MaybeUninit;

use candle_core::{Result, Tensor};
use rayon::prelude::*;

use crate::graph::{Backward, Grad, record, sum, values};
use crate::output::{Parts, copied, written};

pub(super) fn channel_shuffle(x: &Tensor, groups: usize) -> Result<Tensor> {
    let (_, c, h, w) = x.dims4()?;
    let x = x.contiguous()?;
    let y = shuffled(&values(&x)?, c, h * w, groups);
    // The inverse deals the channels back into groups.
    record(&[&x], y, x.shape(), false, || Ok(Shuffle { c, pixels: h * w, groups: c / groups }))
}

/// Images of `c` planes, with plane g·(c / groups) + j moved to j·groups + g.
fn shuffled(x: &[f32], c: usize, pixels: usize, groups: usize) -> Vec<f32> {
    let each = c / groups;
    let image = c * pixels;
    let write = |y: &mut [MaybeUninit<f32>]| {
        let y = Parts::of(y);
        x.par_chunks(image.max(1)).enumerate().for_each(|(i, x)| {
            for (plane, x) in x.chunks_exact(pixels).enumerate() {
                let to = plane % each * groups + plane / each;
                // SAFETY: each image belongs to one task.
                copied(unsafe { y.part(i * image + to * pixels, pixels) }, x);
            }
        });
    };
    // SAFETY: the tasks cover the images, and each image's planes go to as many different places.
    unsafe { written(x.len(), write) }.0
}

struct Shuffle {
    c: usize,
    pixels: usize,
    groups: usize,
}

impl Backward for Shuffle {
    fn backward(
        &self,
        _y: Option<&Tensor>,
        grad: Vec<Grad>,
        _wanted: &[bool],
    ) -> Result<Vec<Option<Grad>>> {
        let grad = sum(grad)?;
        Ok(vec![Some(Grad::Owned(shuffled(&grad.values()?, self.c, self.pixels, self.groups)))])
    }
}
