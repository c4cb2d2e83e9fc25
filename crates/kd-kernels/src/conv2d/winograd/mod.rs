//! Convolution by kernels of 3×3 with stride 1 and padding 1, by Winograd's algorithm: 4 outputs of
//! 16 multiplications, F(2×2, 3×3), or 16 of 36, F(4×4, 3×3), where the direct sum takes 36 and
//! 144.
//!
//! A vector holds one place of sixteen tiles, so any number of channels will do, and the products
//! broadcast weights to tiles. Images are transformed, multiplied position by position and
//! transformed back in groups that stay in the second-level cache.
//!
//! Forward / gradient of the input / gradient of the weights, in ms of processor time on one thread
//! of a Sapphire Rapids with AVX-512, batch 128, least of many runs on a shared machine; PyTorch
//! 2.15 is the faster of its two layouts for each pass:
//!
//! | layer | implicit product | F(2×2) | F(4×4) | PyTorch |
//! |---|---|---|---|---|
//! | 16 > 16 at 32×32 | 7.2 / 8.1 / 8.5 | 3.8 / 4.4 / 5.3 | 2.6 / 2.6 / 3.0 | 4.1 / 4.3 / 4.0 |
//! | 64 > 64 at 8×8 | 4.9 / 4.7 / 5.8 | 2.1 / 2.6 / 2.5 | 1.4 / 1.4 / 1.8 | 3.4 / 3.7 / 3.8 |
//! | 128 > 128 at 8×8 | 18 / 17 / 20 | 9.6 / 9.7 / 11 | 5.5 / 5.6 / 6.1 | 14 / 14 / 15 |
//!
//! With AVX2 on the same processor, 64 > 64 at 32×32 took 48 / 47 / 61 where AVX-512 took 21 / 21 /
//! 27.
//!
//! Images wider than one vector of tiles (32 and 64 pixels) are left to the implicit product.
//! F(4×4) gives way to F(2×2) where its tiles would be mostly padding: sides of 2 (128 channels:
//! 0.8 ms and not 1.5), and fewer than four vectors of tiles.

mod forward;
mod gradient;
mod plan;
mod product;
mod scratch;
#[cfg(test)]
mod tests;
mod tile;
mod transform;
mod weights;

use super::Precision;
use super::epilogue::Epilogue;
use super::shape::Shape;
use crate::vector::Isa;
use plan::{Images, Plan};
use rayon::prelude::*;
use std::ops::Range;
use tile::{F2, F4, Tile};
use weights::Kernels;

/// Bytes of transformed tiles that a task works on, and of transformed weights that may lie beside
/// them: together what fits in a second-level cache of 2 MiB.
const CACHE: usize = 900 << 10;
/// Bytes of transformed tiles that all threads work on where weights are larger. Between 6 and 40
/// MiB, this was the fastest.
const SHARED: usize = 12 << 20;

/// Tiles from which F(4×4) is faster than F(2×2).
const MANY_TILES: usize = 64;

/// Whether the algorithm takes this shape.
pub(super) fn serves(s: &Shape, precision: Precision) -> bool {
    let geometry = s.geometry;
    let widest = Plan::widest(if large_tiles(s, precision) { F4::M } else { F2::M });
    (s.kh, s.kw) == (3, 3)
        && (geometry.stride, geometry.padding, geometry.groups) == (1, 1, 1)
        && s.w <= widest
        && s.x_len() > 0
        && s.y_len() > 0
}

/// F(4×4) and not F(2×2).
fn large_tiles(s: &Shape, precision: Precision) -> bool {
    let tiles = s.n * s.h.div_ceil(F4::M) * s.w.div_ceil(F4::M);
    precision == Precision::Fast && s.h.max(s.w) > F2::M && tiles >= MANY_TILES
}

/// y, `[n, out, h, w]`.
pub(super) fn forward(
    s: &Shape,
    precision: Precision,
    x: &[f32],
    w: &[f32],
    epilogue: Epilogue,
) -> Vec<f32> {
    convolve(s, precision, s.cin, Kernels::new(w, s.cout, s.cin), x, epilogue)
}

/// The gradient with respect to x, `[n, in, h, w]`, from g, that of y.
pub(super) fn input_gradient(s: &Shape, precision: Precision, g: &[f32], w: &[f32]) -> Vec<f32> {
    let kernels = Kernels::new(w, s.cout, s.cin).adjoint();
    convolve(s, precision, s.cout, kernels, g, Epilogue::bias(None))
}

fn convolve(
    s: &Shape,
    precision: Precision,
    channels: usize,
    kernels: Kernels,
    x: &[f32],
    epilogue: Epilogue,
) -> Vec<f32> {
    if large_tiles(s, precision) {
        forward::convolve::<F4>(Isa::best(), images(s, channels), kernels, x, epilogue)
    } else {
        forward::convolve::<F2>(Isa::best(), images(s, channels), kernels, x, epilogue)
    }
}

/// The gradient with respect to w, `[out, in, 3, 3]`, from g, that of y.
pub(super) fn weight_gradient(s: &Shape, precision: Precision, x: &[f32], g: &[f32]) -> Vec<f32> {
    if large_tiles(s, precision) {
        gradient::weight_gradient::<F4>(Isa::best(), images(s, s.cin), s.cout, x, g)
    } else {
        gradient::weight_gradient::<F2>(Isa::best(), images(s, s.cin), s.cout, x, g)
    }
}

fn images(s: &Shape, channels: usize) -> Images {
    Images { count: s.n, channels, height: s.h, width: s.w }
}

/// Calls `task` for 0..count, shared among the threads.
fn for_each(count: usize, task: impl Fn(usize) + Send + Sync) {
    (0..count).into_par_iter().with_max_len(1).for_each(task)
}

/// 0..len in even runs of at most `most`.
fn runs(len: usize, most: usize) -> impl Iterator<Item = Range<usize>> {
    let count = len.div_ceil(most.max(1));
    (0..count).map(move |i| i * len / count..(i + 1) * len / count)
}
