//! Convolution as a matrix product whose right operand never exists as a whole: the pixels under
//! the kernel are copied into a panel of a few registers of columns that stays in the second-level
//! cache, all weights are multiplied by it, and it is forgotten.
//!
//! Columns are the output pixels of a block of images one after another, so that maps of 2x2 fill
//! registers as well as maps of 32x32, and strides, padding and edges are dealt with by the copy
//! (`places.rs`). The product itself is the same for every kernel, stride and group: tiles of up to
//! 14 rows by two registers.
//!
//! * forward: y = W · columns(x);
//! * gradient of x: a convolution of g without strides for each of stride² phases of x, with the
//!   taps that reach the phase;
//! * gradient of w: Σ over columns of g(o) · columns(x), vectorised over o (`weight_gradient.rs`).
//!
//! Milliseconds for 16 images on one thread of a Sapphire Rapids virtual machine that other
//! programs kept busy (least of many calls), as y / dx / dw: 16 > 32 at 32x32 with stride 2 0.39 /
//! 0.56 / 0.44; 64 > 128 at 32x32 with stride 2 5.3 / 6.0 / 6.8; 1x1 64 > 256 at 8x8 0.26 / 0.30 /
//! 0.37; first layer 3 > 16 at 32x32 0.21 / – / 0.27. A direct sum at the 114 GFLOP/s that one
//! thread of a Zen 4 reached would take 0.33, 5.3, 0.29 and 0.12 ms. The unfolding path that this
//! one replaced was not timed on this machine.

mod input_gradient;
mod panel;
mod product;
mod weight_gradient;

pub(super) use input_gradient::input_gradient;
pub(super) use weight_gradient::weight_gradient;

use super::epilogue::Epilogue;
use super::places::{Places, Walk};
use super::shape::Shape;
use crate::output::{assume_init, written_by_blocks};
use crate::vector::Isa;
use panel::Weights;
use product::ImplicitProduct;
use std::mem::MaybeUninit;

/// Columns that a block of images has at least, where the batch has them: as many share each
/// reading of the weights.
const COLUMNS: usize = 64;

/// y, `[n, out, ho, wo]`.
pub(super) fn forward(isa: Isa, s: &Shape, x: &[f32], w: &[f32], epilogue: Epilogue) -> Vec<f32> {
    s.check(Some(x), Some(w), None);
    epilogue.check(s.cout, s.y_len());
    let (groups, taps) = (s.geometry.groups, taps(s));
    let (channels, out, depth) = (s.cin / groups, s.cout / groups, s.cin / groups * taps.len());
    let weights =
        Weights::pack(isa, w, [groups, out, depth], depth, |group, k| group * out * depth + k);
    let product = ImplicitProduct {
        groups,
        channels,
        channel_step: s.h * s.w,
        row_step: s.ho * s.wo,
        taps: taps.len(),
        weights: &weights,
        bias: epilogue.bias,
    };
    let images = (COLUMNS.div_ceil((s.ho * s.wo).max(1))).min(s.n.max(1));
    let places = |images: usize| {
        (
            Places::new(input_walk(s), &taps, images, isa.lanes()),
            output_places(s, images, isa.lanes()),
        )
    };
    let (whole, rest) = (places(images), places(s.n % images));
    let image = s.cin * s.h * s.w;
    let block = |at: usize, y: &mut [MaybeUninit<f32>]| {
        let (from, to) = if y.len() == images * s.cout * s.ho * s.wo { &whole } else { &rest };
        let x = x[at * images * image..].as_ptr();
        // SAFETY: the places lie in x and in this block of y, all of which they cover.
        unsafe { product::run(isa, &product, (from, to), x, y.as_mut_ptr().cast()) };
        // SAFETY: the product has written all places of the block.
        epilogue.finish(at * images * s.cout * s.ho * s.wo, unsafe { assume_init(y) });
    };
    // SAFETY: the product writes all places of the block.
    unsafe { written_by_blocks(s.y_len(), images * s.cout * s.ho * s.wo, block) }
}

/// The offsets of each tap of the kernel, row by row.
fn taps(s: &Shape) -> Vec<(isize, isize)> {
    let near = |k: usize| k as isize - s.geometry.padding as isize;
    (0..s.kh * s.kw).map(|t| (near(t / s.kw), near(t % s.kw))).collect()
}

/// The walk over x that finds the pixels under the kernel.
fn input_walk(s: &Shape) -> Walk {
    let image = s.cin * s.h * s.w;
    if s.kh * s.kw == 1 && s.geometry.stride == 1 && s.geometry.padding == 0 {
        return flat(s.h * s.w, image);
    }
    Walk { rows: s.ho, cols: s.wo, height: s.h, width: s.w, step: s.geometry.stride, image }
}

/// The walk over all pixels of maps in their order.
fn flat(pixels: usize, image: usize) -> Walk {
    Walk { rows: 1, cols: pixels, height: 1, width: pixels, step: 1, image }
}

/// The places of y, or of g.
fn output_places(s: &Shape, images: usize, lanes: usize) -> Places {
    Places::new(flat(s.ho * s.wo, s.cout * s.ho * s.wo), &[(0, 0)], images, lanes)
}
