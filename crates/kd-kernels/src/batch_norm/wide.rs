//! The passes over planes of at least [`LANES`] pixels: each plane has one mean and one set of
//! factors.

use std::mem::MaybeUninit;

use super::group::{Affine, GradientFactors, Group, Mask, OutputGradient};
use crate::multiversion::multiversioned;
use crate::output::Parts;

/// Sums are taken side by side in this many lanes.
pub(super) const LANES: usize = 32;

/// Additions to a lane in f32 before it is added to its sum in f64.
const SPELL: usize = 64;

type Lanes = [f32; LANES];

/// Two sums of one channel.
#[derive(Clone)]
struct Sums {
    short: [Lanes; 2],
    long: [[f64; LANES]; 2],
}

impl Sums {
    const ZERO: Self = Self { short: [[0.0; LANES]; 2], long: [[0.0; LANES]; 2] };

    #[inline(always)]
    fn settle(&mut self) {
        for (short, long) in self.short.iter_mut().zip(&mut self.long) {
            for (short, long) in short.iter_mut().zip(long) {
                *long += f64::from(*short);
                *short = 0.0;
            }
        }
    }

    fn totals(&self) -> (f64, f64) {
        (self.long[0].iter().sum(), self.long[1].iter().sum())
    }
}

/// Mean and biased variance of each channel, from sums of x − k and of its square. k, the mean of
/// the channel's first plane, keeps the difference of the two from cancelling.
pub(super) fn moments(x: &[f32], group: &Group) -> Vec<(f64, f64)> {
    let first = &x[group.start(0)..][..group.run()];
    let near: Vec<f32> = first
        .chunks_exact(group.pixels)
        .map(|plane| plane.iter().sum::<f32>() / group.pixels as f32)
        .collect();
    let mut sums = vec![Sums::ZERO; group.channels.len()];
    deviations(x, group, &near, &mut sums);
    let count = (group.images * group.pixels) as f64;
    let moments = |(sums, &near): (&Sums, &f32)| {
        let (sum, squares) = sums.totals();
        let mean = sum / count;
        (f64::from(near) + mean, (squares / count - mean * mean).max(0.0))
    };
    sums.iter().zip(&near).map(moments).collect()
}

multiversioned! {
    fn deviations(x: &[f32], group: &Group, near: &[f32], sums: &mut [Sums]) {
        let mut spell = 0;
        for i in 0..group.images {
            let run = &x[group.start(i)..][..group.run()];
            for ((plane, &near), sums) in run.chunks_exact(group.pixels).zip(near).zip(&mut *sums) {
                for part in plane.chunks(SPELL * LANES) {
                    let [mut s, mut q] = sums.short;
                    let (lines, rest) = part.as_chunks::<LANES>();
                    for line in lines {
                        for l in 0..LANES {
                            let d = line[l] - near;
                            s[l] += d;
                            q[l] += d * d;
                        }
                    }
                    for (l, x) in rest.iter().enumerate() {
                        let d = x - near;
                        s[l] += d;
                        q[l] += d * d;
                    }
                    sums.short = [s, q];
                    if part.len() == SPELL * LANES {
                        sums.settle();
                    }
                }
            }
            spell += group.pixels.div_ceil(LANES);
            if spell >= SPELL {
                spell = 0;
                sums.iter_mut().for_each(Sums::settle);
            }
        }
        sums.iter_mut().for_each(Sums::settle);
    }
}

multiversioned! {
    /// Writes all values of the group.
    fn normalise_planes(x: &[f32], residual: Option<&[f32]>, y: &Parts<MaybeUninit<f32>>, group: &Group, affine: &[Affine], relu: bool) {
        for i in 0..group.images {
            for (c, affine) in affine.iter().enumerate() {
                let start = group.start(i) + c * group.pixels;
                let x = &x[start..][..group.pixels];
                // SAFETY: the values of a group belong to its task.
                let y = unsafe { y.part(start, group.pixels) };
                match (residual.map(|r| &r[start..][..group.pixels]), relu) {
                    (None, false) => plane::<false, false>(x, x, y, *affine),
                    (None, true) => plane::<false, true>(x, x, y, *affine),
                    (Some(r), false) => plane::<true, false>(x, r, y, *affine),
                    (Some(r), true) => plane::<true, true>(x, r, y, *affine),
                }
            }
        }
    }
}

/// y = act((x − mean) · scale + shift + residual) over the group.
pub(super) fn normalise(
    x: &[f32],
    residual: Option<&[f32]>,
    y: &Parts<MaybeUninit<f32>>,
    group: &Group,
    affine: &[Affine],
    relu: bool,
) {
    normalise_planes(x, residual, y, group, affine, relu)
}

/// One plane. `r` is read where it is the `RESIDUAL`.
#[inline(always)]
fn plane<const RESIDUAL: bool, const RELU: bool>(
    x: &[f32],
    r: &[f32],
    y: &mut [MaybeUninit<f32>],
    a: Affine,
) {
    for ((y, x), r) in y.iter_mut().zip(x).zip(r) {
        let mut z = (x - a.mean) * a.scale + a.shift;
        if RESIDUAL {
            z += r;
        }
        y.write(if RELU { rectified(z) } else { z });
    }
}

/// max(y, 0), where NaN stays, as in PyTorch.
#[inline(always)]
fn rectified(y: f32) -> f32 {
    if y <= 0.0 { 0.0 } else { y }
}

/// g′ over the gradient, and the sums of g′ and of g′ · (x − mean) for each channel.
pub(super) fn reduce(
    x: &[f32],
    grad: &OutputGradient,
    mask: Mask,
    group: &Group,
    affine: &[Affine],
) -> Vec<(f64, f64)> {
    let mut sums = vec![Sums::ZERO; group.channels.len()];
    reduce_planes(x, grad, mask, group, affine, &mut sums);
    sums.iter().map(Sums::totals).collect()
}

multiversioned! {
    fn reduce_planes(x: &[f32], grad: &OutputGradient, mask: Mask, group: &Group, affine: &[Affine], sums: &mut [Sums]) {
        let mut spell = 0;
        for i in 0..group.images {
            for (c, (a, sums)) in affine.iter().zip(&mut *sums).enumerate() {
                for offset in (0..group.pixels).step_by(SPELL * LANES) {
                    let start = group.start(i) + c * group.pixels + offset;
                    let len = (group.pixels - offset).min(SPELL * LANES);
                    let x = &x[start..][..len];
                    // SAFETY: the values of a group belong to its task.
                    let g = unsafe { grad.over.part(start, len) };
                    let add = grad.add.map(|add| &add[start..][..len]);
                    let y = match mask {
                        Mask::FromY(y) => &y[start..][..len],
                        _ => x,
                    };
                    match (mask, add) {
                        (Mask::None, None) => part::<false, NONE>(x, x, y, g, *a, sums),
                        (Mask::None, Some(add)) => part::<true, NONE>(x, add, y, g, *a, sums),
                        (Mask::FromX, None) => part::<false, FROM_X>(x, x, y, g, *a, sums),
                        (Mask::FromX, Some(add)) => part::<true, FROM_X>(x, add, y, g, *a, sums),
                        (Mask::FromY(_), None) => part::<false, FROM_Y>(x, x, y, g, *a, sums),
                        (Mask::FromY(_), Some(add)) => part::<true, FROM_Y>(x, add, y, g, *a, sums),
                    }
                    if len == SPELL * LANES {
                        sums.settle();
                    }
                }
            }
            spell += group.pixels.div_ceil(LANES);
            if spell >= SPELL {
                spell = 0;
                sums.iter_mut().for_each(Sums::settle);
            }
        }
        sums.iter_mut().for_each(Sums::settle);
    }
}

/// The gradient that the rectifier lets pass where its result is `y`: all of it for NaN, as in
/// PyTorch.
#[inline(always)]
fn through(g: f32, y: f32) -> f32 {
    if y <= 0.0 { 0.0 } else { g }
}

const NONE: u8 = 0;
const FROM_X: u8 = 1;
const FROM_Y: u8 = 2;

/// One plane, or what is left of it. `add` is read where it is to be `ADD`ed, and `y` where the
/// `MASK` is from it.
#[inline(always)]
fn part<const ADD: bool, const MASK: u8>(
    x: &[f32],
    add: &[f32],
    y: &[f32],
    g: &mut [f32],
    a: Affine,
    sums: &mut Sums,
) {
    let [mut s, mut q] = sums.short;
    let mut one = |x: f32, add: f32, y: f32, g: &mut f32, l: usize| {
        let d = x - a.mean;
        let mut passed = if ADD { *g + add } else { *g };
        if MASK == FROM_X {
            passed = through(passed, d * a.scale + a.shift);
        } else if MASK == FROM_Y {
            passed = through(passed, y);
        }
        *g = passed;
        s[l] += passed;
        q[l] += passed * d;
    };
    let ((x, x_rest), (add, add_rest)) = (x.as_chunks::<LANES>(), add.as_chunks::<LANES>());
    let ((y, y_rest), (g, g_rest)) = (y.as_chunks::<LANES>(), g.as_chunks_mut::<LANES>());
    for (((x, add), y), g) in x.iter().zip(add).zip(y).zip(g) {
        // Read before anything is written, so that the compiler need not think of overlaps.
        let (x, add, y, mut line) = (*x, *add, *y, *g);
        for l in 0..LANES {
            one(x[l], add[l], y[l], &mut line[l], l);
        }
        if ADD || MASK != NONE {
            *g = line;
        }
    }
    for (l, (((x, add), y), g)) in x_rest.iter().zip(add_rest).zip(y_rest).zip(g_rest).enumerate() {
        one(*x, *add, *y, g, l);
    }
    sums.short = [s, q];
}

multiversioned! {
    /// dx = g′ · scale + (x − mean) · slope + offset, to all values of the group in `dx`, or over g′.
    fn gradient_planes(x: &[f32], g: &Parts<f32>, dx: Option<&Parts<MaybeUninit<f32>>>, group: &Group, slopes: &[GradientFactors]) {
        for i in 0..group.images {
            for (c, s) in slopes.iter().enumerate() {
                let s = *s;
                let start = group.start(i) + c * group.pixels;
                let x = &x[start..][..group.pixels];
                // SAFETY: the values of a group belong to its task.
                let g = unsafe { g.part(start, group.pixels) };
                match dx {
                    Some(dx) => {
                        // SAFETY: as above.
                        let dx = unsafe { dx.part(start, group.pixels) };
                        for ((dx, g), x) in dx.iter_mut().zip(g).zip(x) {
                            dx.write(*g * s.scale + (x - s.mean) * s.slope + s.offset);
                        }
                    }
                    None => {
                        for (g, x) in g.iter_mut().zip(x) {
                            *g = *g * s.scale + (x - s.mean) * s.slope + s.offset;
                        }
                    }
                }
            }
        }
    }
}

/// The gradient of x over the group.
pub(super) fn gradient(
    x: &[f32],
    g: &Parts<f32>,
    dx: Option<&Parts<MaybeUninit<f32>>>,
    group: &Group,
    slopes: &[GradientFactors],
) {
    gradient_planes(x, g, dx, group, slopes)
}
