//! Convolution by kernels of 3×3 with stride 1 and padding 1, by Winograd's algorithm.

mod forward;
mod gradient;
mod plan;
mod portable;
mod product;
mod scratch;
#[cfg(test)]
mod tests;
mod tile;
mod transform;
mod vector;
mod weights;
#[cfg(target_arch = "x86_64")]
mod x86;

use super::Precision;
use super::shape::Shape;
use super::vector::Isa;
use plan::{Images, Plan};
use rayon::prelude::*;
use std::ops::Range;
use tile::{F2, F4, Tile};
use weights::Kernels;

/// Bytes of transformed tiles that a task works on, and of transformed weights that may lie beside them: together what fits in a
/// second-level cache of 2 MiB.
const CACHE: usize = 900 << 10;
/// Bytes of transformed tiles that all threads work on where weights are larger. Between 6 and 40 MiB, this was the fastest.
const SHARED: usize = 12 << 20;

/// Whether the algorithm takes this shape.
pub(super) fn serves(s: &Shape, precision: Precision) -> bool {
    let geometry = s.geometry;
    (s.kh, s.kw) == (3, 3)
        && (geometry.stride, geometry.padding, geometry.groups) == (1, 1, 1)
        && s.w <= widest(precision)
        && s.x_len() > 0
        && s.y_len() > 0
}

fn widest(precision: Precision) -> usize {
    Plan::widest(if precision == Precision::Fast { F4::M } else { F2::M })
}

/// y, `[n, out, h, w]`.
pub(super) fn forward(s: &Shape, precision: Precision, x: &[f32], w: &[f32], b: Option<&[f32]>) -> Vec<f32> {
    let kernels = Kernels::new(w, s.cout, s.cin);
    match precision {
        Precision::Fast => forward::convolve::<F4>(Isa::best(), images(s, s.cin), kernels, x, b),
        Precision::Precise => forward::convolve::<F2>(Isa::best(), images(s, s.cin), kernels, x, b),
    }
}

/// The gradient with respect to x, `[n, in, h, w]`, from g, that of y.
pub(super) fn input_gradient(s: &Shape, precision: Precision, g: &[f32], w: &[f32]) -> Vec<f32> {
    let kernels = Kernels::new(w, s.cout, s.cin).adjoint();
    match precision {
        Precision::Fast => forward::convolve::<F4>(Isa::best(), images(s, s.cout), kernels, g, None),
        Precision::Precise => forward::convolve::<F2>(Isa::best(), images(s, s.cout), kernels, g, None),
    }
}

/// The gradient with respect to w, `[out, in, 3, 3]`, from g, that of y.
pub(super) fn weight_gradient(s: &Shape, precision: Precision, x: &[f32], g: &[f32]) -> Vec<f32> {
    match precision {
        Precision::Fast => gradient::weight_gradient::<F4>(Isa::best(), images(s, s.cin), s.cout, x, g),
        Precision::Precise => gradient::weight_gradient::<F2>(Isa::best(), images(s, s.cin), s.cout, x, g),
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
