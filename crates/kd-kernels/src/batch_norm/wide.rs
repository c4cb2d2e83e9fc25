//! The passes over planes of at least [`LANES`] pixels: each plane has one mean and one set of factors.

use super::cpu::{Affine, Group, Incoming, Mask, Slope};
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

/// Mean and biased variance of each channel, from sums of x − k and of its square. k, the mean of the channel's first plane, keeps the
/// difference of the two from cancelling.
pub(super) fn moments(x: &[f32], group: &Group) -> Vec<(f64, f64)> {
    let first = &x[group.start(0)..][..group.run()];
    let near: Vec<f32> = first.chunks_exact(group.pixels).map(|plane| plane.iter().sum::<f32>() / group.pixels as f32).collect();
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
    fn normalise_planes(x: &[f32], residual: Option<&[f32]>, y: &Parts, group: &Group, affine: &[Affine], relu: bool) {
        for i in 0..group.images {
            for (c, affine) in affine.iter().enumerate() {
                let start = group.start(i) + c * group.pixels;
                let x = &x[start..][..group.pixels];
                // SAFETY: the values of a group belong to its task, and are only written.
                let y = unsafe { y.part(start, group.pixels) };
                match residual.map(|r| &r[start..][..group.pixels]) {
                    None if relu => plane(x, y, affine, |y, _| rectified(y)),
                    None => plane(x, y, affine, |y, _| y),
                    Some(r) if relu => plane(x, y, affine, |y, i| rectified(y + r[i])),
                    Some(r) => plane(x, y, affine, |y, i| y + r[i]),
                }
            }
        }
    }
}

/// y = act((x − mean) · scale + shift + residual) over the group.
pub(super) fn normalise(x: &[f32], residual: Option<&[f32]>, y: &Parts, group: &Group, affine: &[Affine], relu: bool) {
    normalise_planes(x, residual, y, group, affine, relu)
}

#[inline(always)]
fn plane(x: &[f32], y: &mut [f32], a: &Affine, then: impl Fn(f32, usize) -> f32) {
    let a = *a;
    for i in 0..x.len().min(y.len()) {
        y[i] = then((x[i] - a.mean) * a.scale + a.shift, i);
    }
}

/// max(y, 0), where NaN stays, as in PyTorch.
#[inline(always)]
fn rectified(y: f32) -> f32 {
    if y <= 0.0 { 0.0 } else { y }
}

/// g′ over the gradient, and the sums of g′ and of g′ · (x − mean) for each channel.
pub(super) fn reduce(x: &[f32], grad: &Incoming, mask: Mask, group: &Group, affine: &[Affine]) -> Vec<(f64, f64)> {
    let mut sums = vec![Sums::ZERO; group.channels.len()];
    reduce_planes(x, grad, mask, group, affine, &mut sums);
    sums.iter().map(Sums::totals).collect()
}

multiversioned! {
    fn reduce_planes(x: &[f32], grad: &Incoming, mask: Mask, group: &Group, affine: &[Affine], sums: &mut [Sums]) {
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
                    match (mask, add) {
                        (Mask::None, None) => part(x, g, a, sums, |g, _, _| g),
                        (Mask::None, Some(add)) => part(x, g, a, sums, |g, _, i| g + add[i]),
                        (Mask::FromX, None) => part(x, g, a, sums, |g, d, _| passed(g, d * a.scale + a.shift)),
                        (Mask::FromX, Some(add)) => part(x, g, a, sums, |g, d, i| passed(g + add[i], d * a.scale + a.shift)),
                        (Mask::FromY(y), None) => {
                            let y = &y[start..][..len];
                            part(x, g, a, sums, |g, _, i| passed(g, y[i]))
                        }
                        (Mask::FromY(y), Some(add)) => {
                            let y = &y[start..][..len];
                            part(x, g, a, sums, |g, _, i| passed(g + add[i], y[i]))
                        }
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

/// The gradient that the rectifier lets pass where its result is `y`: all of it for NaN, as in PyTorch.
#[inline(always)]
fn passed(g: f32, y: f32) -> f32 {
    if y <= 0.0 { 0.0 } else { g }
}

#[inline(always)]
fn part(x: &[f32], g: &mut [f32], a: &Affine, sums: &mut Sums, through: impl Fn(f32, f32, usize) -> f32) {
    let [mut s, mut q] = sums.short;
    let len = x.len().min(g.len());
    let whole = len - len % LANES;
    for start in (0..whole).step_by(LANES) {
        for l in 0..LANES {
            let d = x[start + l] - a.mean;
            let passed = through(g[start + l], d, start + l);
            g[start + l] = passed;
            s[l] += passed;
            q[l] += passed * d;
        }
    }
    for l in 0..len - whole {
        let d = x[whole + l] - a.mean;
        let passed = through(g[whole + l], d, whole + l);
        g[whole + l] = passed;
        s[l] += passed;
        q[l] += passed * d;
    }
    sums.short = [s, q];
}

multiversioned! {
    /// dx = g′ · scale + (x − mean) · slope + offset, to all values of the group in `dx`, or over g′.
    fn gradient_planes(x: &[f32], g: &Parts, dx: Option<&Parts>, group: &Group, slopes: &[Slope]) {
        for i in 0..group.images {
            for (c, s) in slopes.iter().enumerate() {
                let s = *s;
                let start = group.start(i) + c * group.pixels;
                let x = &x[start..][..group.pixels];
                // SAFETY: the values of a group belong to its task.
                let g = unsafe { g.part(start, group.pixels) };
                match dx {
                    Some(dx) => {
                        // SAFETY: as above; they are only written.
                        let dx = unsafe { dx.part(start, group.pixels) };
                        for ((dx, g), x) in dx.iter_mut().zip(g).zip(x) {
                            *dx = *g * s.scale + (x - s.mean) * s.slope + s.offset;
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
pub(super) fn gradient(x: &[f32], g: &Parts, dx: Option<&Parts>, group: &Group, slopes: &[Slope]) {
    gradient_planes(x, g, dx, group, slopes)
}
