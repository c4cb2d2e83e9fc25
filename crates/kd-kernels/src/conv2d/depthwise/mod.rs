//! Convolution of each channel with a kernel of its own.
//!
//! There is nothing to reuse but the taps, so it is bound by memory and by loads: each register of
//! a plane's pixels, rows one after another, takes one masked load and one multiply-add per tap, at
//! an offset and with a mask that are the same for all planes (`recipe.rs`). Without
//! strides a register needs one load per tap whatever the width of the map; with stride 2 one per
//! row that it spans, and in the gradient of x, loads that spread neighbours over every second
//! lane.
//!
//! Milliseconds for 16 images on one thread of a Sapphire Rapids virtual machine that other
//! programs kept busy (least of many calls), as y / dx / dw: 96 channels at 16x16 0.24 / 0.24 /
//! 0.35, with stride 2 0.19 / 0.28 / 0.33; 960 at 2x2 0.13 / 0.13 / 0.21. Through `implicit`, 128
//! images of these on two threads took 8.6 / 7.8 / 26.9, 1.8 / 2.5 / 3.4 and 1.5 / 1.5 / 3.7 ms.

mod recipe;

use super::epilogue::Epilogue;
use super::shape::Shape;
use crate::output::{assume_init, written_by_blocks};
use crate::vector::{Isa, Kernel, Vector};
use rayon::prelude::*;
use recipe::{NINE, Recipe};
use std::mem::MaybeUninit;
use std::ops::Range;

/// Numbers that a task writes, about.
const TASK: usize = 16 * 1024;
/// Most chunks of the batch in a gradient of w, and tasks that suffice to have fewer: lanes are
/// added up once per chunk and channel. Both depend on the shape alone, so that sums do not depend
/// on the number of threads.
const CHUNKS: usize = 8;
const TASKS: usize = 32;
/// Channels of a task in a gradient of w: their sums stay in the first-level cache.
const CHANNELS: usize = 32;

/// Whether each output channel has one input channel and the other way round.
pub(super) fn serves(s: &Shape) -> bool {
    s.geometry.groups == s.cin && s.cin == s.cout
}

/// y, `[n, channels, ho, wo]`.
pub(super) fn forward(isa: Isa, s: &Shape, x: &[f32], w: &[f32], epilogue: Epilogue) -> Vec<f32> {
    s.check(Some(x), Some(w), None);
    epilogue.check(s.cout, s.y_len());
    planes(isa, &Recipe::forward(isa, s), s, x, (s.h * s.w, s.ho * s.wo), w, epilogue)
}

/// The gradient with respect to x, `[n, channels, h, w]`, from g, that of y.
pub(super) fn input_gradient(isa: Isa, s: &Shape, g: &[f32], w: &[f32]) -> Vec<f32> {
    s.check(None, Some(w), Some(g));
    planes(isa, &Recipe::adjoint(isa, s), s, g, (s.ho * s.wo, s.h * s.w), w, Epilogue::bias(None))
}

/// All planes of `to` pixels, each from one of `from` pixels.
fn planes(
    isa: Isa,
    recipe: &Recipe,
    s: &Shape,
    x: &[f32],
    (from, to): (usize, usize),
    w: &[f32],
    epilogue: Epilogue,
) -> Vec<f32> {
    // From here on, the planes that share a register are one.
    let (from, to, channels) = (from * recipe.planes, to * recipe.planes, s.cin / recipe.planes);
    let per_task = (TASK / to.max(1)).max(1);
    let w = &recipe.weights(w, isa.lanes());
    let write = |task: usize, y: &mut [MaybeUninit<f32>]| {
        let first = task * per_task;
        let count = y.len() / to.max(1);
        let planes = Planes {
            recipe,
            planes: first..first + count,
            channels,
            x,
            from,
            to,
            w,
            b: epilogue.bias,
            y: y.as_mut_ptr().cast(),
        };
        // SAFETY: `y` is that of the planes, and the recipe's places lie in a plane of x.
        unsafe { isa.run(planes) };
        // SAFETY: the kernel has written all registers of each plane.
        epilogue.finish(first * to, unsafe { assume_init(y) });
    };
    // SAFETY: the kernel writes all registers of each plane.
    unsafe { written_by_blocks(s.n * channels * to, per_task * to, write) }
}

/// Some planes, counted over images and channels.
struct Planes<'a> {
    recipe: &'a Recipe,
    planes: Range<usize>,
    channels: usize,
    x: &'a [f32],
    from: usize,
    to: usize,
    w: &'a [f32],
    b: Option<&'a [f32]>,
    y: *mut f32,
}

impl Kernel for Planes<'_> {
    type Output = ();

    /// # Safety
    /// `y` is writable for all planes, and the recipe's places lie in a plane of x.
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let nine = self.recipe.nine();
        // SAFETY: the caller's promises.
        unsafe {
            match (nine, self.recipe.planes > 1) {
                (Some(1), true) => self.all::<V, true, 1>(),
                (Some(1), false) => self.all::<V, false, 1>(),
                (Some(2), true) => self.all::<V, true, 2>(),
                (Some(2), false) => self.all::<V, false, 2>(),
                (_, true) => self.all::<V, true, 0>(),
                (_, false) => self.all::<V, false, 0>(),
            }
        }
    }
}

impl Planes<'_> {
    /// # Safety
    /// As [`Kernel::run`]; `WIDE` where planes share a register, and `STEP` the step of
    /// [`Recipe::nine`] or 0.
    #[inline(always)]
    unsafe fn all<V: Vector, const WIDE: bool, const STEP: usize>(self) {
        let recipe = self.recipe;
        let mut y = self.y;
        let weights = recipe.taps * if WIDE { V::LANES } else { 1 };
        for plane in self.planes {
            let channel = plane % self.channels;
            let x = self.x[plane * self.from..][..self.from].as_ptr();
            let w = self.w[channel * weights..][..weights].as_ptr();
            // SAFETY: the caller's promises.
            unsafe {
                let mut nine = [V::splat(0.0); NINE];
                if STEP > 0 {
                    for (tap, nine) in nine.iter_mut().enumerate() {
                        *nine = if WIDE {
                            V::load(w.add(tap * V::LANES))
                        } else {
                            V::splat(*w.add(tap))
                        };
                    }
                }
                for vector in 0..recipe.vectors {
                    let init = match self.b {
                        Some(b) if WIDE => {
                            let mut lanes = [0f32; 16];
                            let per_plane = V::LANES / recipe.planes;
                            for (lane, value) in lanes[..V::LANES].iter_mut().enumerate() {
                                *value = b[channel * recipe.planes + lane / per_plane];
                            }
                            V::load(lanes.as_ptr())
                        }
                        Some(b) => V::splat(b[channel]),
                        None => V::splat(0.0),
                    };
                    let value = if STEP > 0 {
                        recipe.weighted_nine(x, &nine, STEP, vector, init)
                    } else {
                        recipe.weighted::<V, WIDE>(x, w, vector, init)
                    };
                    let mask = recipe.mask::<V>(vector);
                    let y = y.add(vector * V::LANES);
                    if mask == V::FULL { value.store(y) } else { value.store_lanes(y, mask) }
                }
                y = y.add(self.to);
            }
        }
    }
}

/// The gradient with respect to w, `[channels, 1, kh, kw]`, from g, that of y.
pub(super) fn weight_gradient(isa: Isa, s: &Shape, x: &[f32], g: &[f32]) -> Vec<f32> {
    s.check(Some(x), None, Some(g));
    let taps = s.kh * s.kw;
    if s.w_len() == 0 || s.y_len() == 0 {
        return vec![0.0; s.w_len()];
    }
    let recipe = &Recipe::forward(isa, s);
    let blocks = s.cin.div_ceil(CHANNELS);
    let chunks = (TASKS / blocks).clamp(1, CHUNKS).min(s.n);
    let parts: Vec<Vec<f32>> = (0..chunks * blocks)
        .into_par_iter()
        .map(|task| {
            let (chunk, block) = (task / blocks, task % blocks);
            let images = chunk * s.n / chunks..(chunk + 1) * s.n / chunks;
            let channels = block * CHANNELS..((block + 1) * CHANNELS).min(s.cin);
            // SAFETY: the recipe's places lie in a plane of x.
            unsafe { isa.run(Correlation { recipe, s, images, channels, x, g }) }
        })
        .collect();
    let mut dw = vec![0f32; s.w_len()];
    for parts in parts.chunks(blocks) {
        for (dw, part) in dw.chunks_mut(CHANNELS * taps).zip(parts) {
            dw.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
        }
    }
    dw
}

/// The sum of at most 16 numbers, by halves: adding them one after another took longer than the
/// products of small planes.
#[inline(always)]
fn halved(lanes: &[f32]) -> f32 {
    let mut sums = [0f32; 16];
    sums[..lanes.len()].copy_from_slice(lanes);
    for half in [8, 4, 2, 1] {
        for at in 0..half {
            sums[at] += sums[at + half];
        }
    }
    sums[0]
}

/// The sums over some images for some channels.
struct Correlation<'a> {
    recipe: &'a Recipe,
    s: &'a Shape,
    images: Range<usize>,
    channels: Range<usize>,
    x: &'a [f32],
    g: &'a [f32],
}

impl Kernel for Correlation<'_> {
    /// `[channels, taps]`.
    type Output = Vec<f32>;

    /// # Safety
    /// The recipe's places lie in a plane of x.
    #[inline(always)]
    unsafe fn run<V: Vector>(self) -> Vec<f32> {
        let (s, taps) = (self.s, self.recipe.taps);
        let planes = self.recipe.planes;
        let (from, to) = (s.h * s.w * planes, s.ho * s.wo * planes);
        // One register of sums per tap and channel, or per channels that share one; lanes are added
        // up at the end.
        let groups = self.channels.len() / planes;
        let mut sums = vec![0f32; groups * taps * V::LANES];
        for image in self.images {
            for at in 0..groups {
                let plane = (image * s.cin + self.channels.start) / planes + at;
                let (x, g) =
                    (self.x[plane * from..][..from].as_ptr(), self.g[plane * to..][..to].as_ptr());
                // SAFETY: the caller's promise.
                unsafe {
                    let sums = sums.as_mut_ptr().add(at * taps * V::LANES);
                    match self.recipe.nine() {
                        Some(1) => self.recipe.correlated_nine::<V>(x, g, 1, sums),
                        Some(2) => self.recipe.correlated_nine::<V>(x, g, 2, sums),
                        _ => {
                            for tap in 0..taps {
                                let sum = sums.add(tap * V::LANES);
                                self.recipe.correlated(x, g, tap, V::load(sum)).store(sum);
                            }
                        }
                    }
                }
            }
        }
        let mut totals = Vec::with_capacity(self.channels.len() * taps);
        for sums in sums.chunks_exact(taps * V::LANES) {
            for plane in 0..planes {
                for lanes in sums.chunks_exact(V::LANES) {
                    totals.push(halved(
                        &lanes[plane * V::LANES / planes..(plane + 1) * V::LANES / planes],
                    ));
                }
            }
        }
        totals
    }
}
