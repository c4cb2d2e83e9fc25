//! The kernels behind the poolings. A plane is pooled a row of windows at a time: for each place of
//! the window, one loop runs over the row, so that it vectorises whatever the kernel's size.

use std::mem::MaybeUninit;
use std::ops::Range;

use candle_core::{Result, Tensor};
use rayon::prelude::*;

use super::Windows;
use crate::graph::{Backward, Grad, record, sum, values};
use crate::multiversion::multiversioned;
use crate::output::{Parts, filled, written};

/// Planes of a task.
const PLANES: usize = 16;

/// The largest kernel whose places can be numbered in a `u16`.
pub(super) const LARGEST: usize = 255;

impl Windows {
    fn from(&self) -> usize {
        self.h * self.w
    }

    fn to(&self) -> usize {
        self.ho * self.wo
    }

    /// The windows of a row whose place `l` is in the image, and the pixel of the first of them.
    #[inline(always)]
    fn reach(&self, l: usize) -> (Range<usize>, usize) {
        let first = self.padding.saturating_sub(l).div_ceil(self.stride);
        let last = (self.w + self.padding)
            .checked_sub(l + 1)
            .map_or(0, |room| room / self.stride + 1)
            .min(self.wo);
        (first.min(last)..last, (first * self.stride + l).saturating_sub(self.padding))
    }

    /// The row of the image under place `k` of row `i` of windows.
    #[inline(always)]
    fn row(&self, i: usize, k: usize) -> Option<usize> {
        (i * self.stride + k).checked_sub(self.padding).filter(|row| *row < self.h)
    }
}

/// Maximum, and the place of the maximum in each window.
pub(super) fn max_pool2d(x: &Tensor, windows: Windows) -> Result<Tensor> {
    let (n, c, _, _) = x.dims4()?;
    let x = x.contiguous()?;
    let (y, places) = {
        let xs = values(&x)?;
        let mut places = vec![0u16; n * c * windows.to()];
        let write = |y: &mut [MaybeUninit<f32>]| {
            let y = Parts::of(y);
            let tasks = xs
                .par_chunks(windows.from() * PLANES)
                .zip(places.par_chunks_mut(windows.to() * PLANES));
            tasks.enumerate().for_each(|(task, (x, places))| {
                let mut best = vec![0i32; windows.wo];
                for (i, (x, places)) in x
                    .chunks_exact(windows.from())
                    .zip(places.chunks_exact_mut(windows.to()))
                    .enumerate()
                {
                    // SAFETY: each plane belongs to one task.
                    max_plane(
                        x,
                        unsafe { y.part((task * PLANES + i) * windows.to(), windows.to()) },
                        places,
                        &mut best,
                        &windows,
                    );
                }
            });
        };
        // SAFETY: the tasks cover the planes, and `max_plane` writes all of one.
        (unsafe { written(n * c * windows.to(), write) }.0, places)
    };
    record(&[&x], y, (n, c, windows.ho, windows.wo), false, || Ok(Max { windows, places }))
}

struct Max {
    windows: Windows,
    places: Vec<u16>,
}

impl Backward for Max {
    fn backward(
        &self,
        _y: Option<&Tensor>,
        grad: Vec<Grad>,
        _wanted: &[bool],
    ) -> Result<Vec<Option<Grad>>> {
        let grad = sum(grad)?;
        let g = grad.values()?;
        let windows = &self.windows;
        let tasks =
            g.par_chunks(windows.to() * PLANES).zip(self.places.par_chunks(windows.to() * PLANES));
        let write = |dx: &mut [MaybeUninit<f32>]| {
            let dx = Parts::of(dx);
            tasks.enumerate().for_each(|(task, (g, places))| {
                for (i, (g, places)) in
                    g.chunks_exact(windows.to()).zip(places.chunks_exact(windows.to())).enumerate()
                {
                    // SAFETY: each plane belongs to one task.
                    let dx = filled(
                        unsafe { dx.part((task * PLANES + i) * windows.from(), windows.from()) },
                        0.0,
                    );
                    scatter(dx, g, places, windows);
                }
            });
        };
        // SAFETY: the tasks cover the planes, and each is filled.
        let dx = unsafe { written(g.len() / windows.to() * windows.from(), write) }.0;
        Ok(vec![Some(Grad::Owned(dx))])
    }
}

/// Adds each window's gradient at its place.
fn scatter(dx: &mut [f32], g: &[f32], places: &[u16], windows: &Windows) {
    for (i, (g, places)) in
        g.chunks_exact(windows.wo).zip(places.chunks_exact(windows.wo)).enumerate()
    {
        for (j, (g, place)) in g.iter().zip(places).enumerate() {
            let place = usize::from(*place);
            let (k, l) = (place / windows.kernel, place % windows.kernel);
            // Windows hold at least one pixel, and padding never wins.
            dx[(i * windows.stride + k - windows.padding) * windows.w + j * windows.stride + l
                - windows.padding] += g;
        }
    }
}

multiversioned! {
    /// One plane: writes all of y and of places.
    fn max_plane(x: &[f32], y: &mut [MaybeUninit<f32>], places: &mut [u16], best: &mut [i32], windows: &Windows) {
        for (i, (y, places)) in y.chunks_exact_mut(windows.wo).zip(places.chunks_exact_mut(windows.wo)).enumerate() {
            let y = filled(y, f32::NEG_INFINITY);
            best.fill(-1);
            for k in 0..windows.kernel {
                let Some(row) = windows.row(i, k) else { continue };
                let row = &x[row * windows.w..][..windows.w];
                for l in 0..windows.kernel {
                    let (reach, start) = windows.reach(l);
                    let place = (k * windows.kernel + l) as i32;
                    let (y, best) = (&mut y[reach.clone()], &mut best[reach.clone()]);
                    if reach.is_empty() {
                        continue;
                    }
                    match windows.stride {
                        1 => greater(y, best, &row[start..], 1, place),
                        2 => greater(y, best, &row[start..], 2, place),
                        stride => greater(y, best, &row[start..], stride, place),
                    }
                }
            }
            for (place, best) in places.iter_mut().zip(&*best) {
                *place = *best as u16;
            }
        }
    }
}

/// Takes the pixels that are greater than y, NaN, or the first of their window, as PyTorch does.
#[inline(always)]
fn greater(y: &mut [f32], best: &mut [i32], x: &[f32], stride: usize, place: i32) {
    let x = &x[..(y.len() - 1) * stride + 1];
    for (j, (y, best)) in y.iter_mut().zip(best).enumerate() {
        let v = x[j * stride];
        let take = (v > *y) | v.is_nan() | (*best < 0);
        *y = if take { v } else { *y };
        *best = if take { place } else { *best };
    }
}

/// Mean over the windows; `shares` are the reciprocals of the divisors of a plane's windows.
pub(super) fn avg_pool2d(x: &Tensor, windows: Windows, shares: Vec<f32>) -> Result<Tensor> {
    let (n, c, _, _) = x.dims4()?;
    let x = x.contiguous()?;
    let y = {
        let xs = values(&x)?;
        let write = |y: &mut [MaybeUninit<f32>]| {
            let y = Parts::of(y);
            xs.par_chunks(windows.from() * PLANES).enumerate().for_each(|(task, x)| {
                for (i, x) in x.chunks_exact(windows.from()).enumerate() {
                    // SAFETY: each plane belongs to one task.
                    avg_plane(
                        x,
                        unsafe { y.part((task * PLANES + i) * windows.to(), windows.to()) },
                        &shares,
                        &windows,
                    );
                }
            });
        };
        // SAFETY: the tasks cover the planes, and `avg_plane` writes all of one.
        unsafe { written(n * c * windows.to(), write) }.0
    };
    record(&[&x], y, (n, c, windows.ho, windows.wo), false, || Ok(Avg { windows, shares }))
}

struct Avg {
    windows: Windows,
    shares: Vec<f32>,
}

impl Backward for Avg {
    fn backward(
        &self,
        _y: Option<&Tensor>,
        grad: Vec<Grad>,
        _wanted: &[bool],
    ) -> Result<Vec<Option<Grad>>> {
        let grad = sum(grad)?;
        let g = grad.values()?;
        let (windows, shares) = (&self.windows, &self.shares);
        let write = |dx: &mut [MaybeUninit<f32>]| {
            let dx = Parts::of(dx);
            g.par_chunks(windows.to() * PLANES).enumerate().for_each(|(task, g)| {
                let mut row = vec![0f32; windows.wo];
                for (i, g) in g.chunks_exact(windows.to()).enumerate() {
                    // SAFETY: each plane belongs to one task.
                    let dx = filled(
                        unsafe { dx.part((task * PLANES + i) * windows.from(), windows.from()) },
                        0.0,
                    );
                    spread_plane(dx, g, shares, &mut row, windows);
                }
            });
        };
        // SAFETY: the tasks cover the planes, and each is filled.
        let dx = unsafe { written(g.len() / windows.to() * windows.from(), write) }.0;
        Ok(vec![Some(Grad::Owned(dx))])
    }
}

multiversioned! {
    /// One plane: writes all of y.
    fn avg_plane(x: &[f32], y: &mut [MaybeUninit<f32>], shares: &[f32], windows: &Windows) {
        for (i, (y, shares)) in y.chunks_exact_mut(windows.wo).zip(shares.chunks_exact(windows.wo)).enumerate() {
            let y = filled(y, 0.0);
            for k in 0..windows.kernel {
                let Some(row) = windows.row(i, k) else { continue };
                let row = &x[row * windows.w..][..windows.w];
                for l in 0..windows.kernel {
                    let (reach, start) = windows.reach(l);
                    let pixels = row[start.min(row.len())..].iter();
                    match windows.stride {
                        1 => y[reach].iter_mut().zip(pixels).for_each(|(y, x)| *y += x),
                        2 => y[reach].iter_mut().zip(pixels.step_by(2)).for_each(|(y, x)| *y += x),
                        stride => y[reach].iter_mut().zip(pixels.step_by(stride)).for_each(|(y, x)| *y += x),
                    }
                }
            }
            y.iter_mut().zip(shares).for_each(|(y, share)| *y *= share);
        }
    }
}

multiversioned! {
    /// One plane: adds each window's share of its gradient to its pixels.
    fn spread_plane(dx: &mut [f32], g: &[f32], shares: &[f32], row: &mut [f32], windows: &Windows) {
        for (i, (g, shares)) in g.chunks_exact(windows.wo).zip(shares.chunks_exact(windows.wo)).enumerate() {
            row.iter_mut().zip(g.iter().zip(shares)).for_each(|(row, (g, share))| *row = g * share);
            for k in 0..windows.kernel {
                let Some(at) = windows.row(i, k) else { continue };
                let dx = &mut dx[at * windows.w..][..windows.w];
                for l in 0..windows.kernel {
                    let (reach, start) = windows.reach(l);
                    let start = start.min(dx.len());
                    let pixels = dx[start..].iter_mut();
                    match windows.stride {
                        1 => pixels.zip(&row[reach]).for_each(|(dx, g)| *dx += g),
                        2 => pixels.step_by(2).zip(&row[reach]).for_each(|(dx, g)| *dx += g),
                        stride => pixels.step_by(stride).zip(&row[reach]).for_each(|(dx, g)| *dx += g),
                    }
                }
            }
        }
    }
}

/// Mean over whole planes.
pub(super) fn global_avg_pool(x: &Tensor) -> Result<Tensor> {
    let (n, c, h, w) = x.dims4()?;
    let x = x.contiguous()?;
    let pixels = h * w;
    let y = values(&x)?.par_chunks(pixels).with_min_len(PLANES).map(mean).collect();
    record(&[&x], y, (n, c), false, || Ok(Global { pixels }))
}

struct Global {
    pixels: usize,
}

impl Backward for Global {
    fn backward(
        &self,
        _y: Option<&Tensor>,
        grad: Vec<Grad>,
        _wanted: &[bool],
    ) -> Result<Vec<Option<Grad>>> {
        let grad = sum(grad)?;
        let g = grad.values()?;
        let share = 1.0 / self.pixels as f32;
        let write = |dx: &mut [MaybeUninit<f32>]| {
            let planes = dx.par_chunks_mut(self.pixels).with_min_len(PLANES).zip(&*g);
            planes.for_each(|(dx, g)| dx.fill(MaybeUninit::new(g * share)));
        };
        // SAFETY: there is a gradient for each plane, and the plane is filled with it.
        let dx = unsafe { written(g.len() * self.pixels, write) }.0;
        Ok(vec![Some(Grad::Owned(dx))])
    }
}

multiversioned! {
    fn mean(plane: &[f32]) -> f32 {
        let mut sums = [0f32; 16];
        let (lines, rest) = plane.as_chunks::<16>();
        for line in lines {
            for l in 0..16 {
                sums[l] += line[l];
            }
        }
        let mut sum = rest.iter().sum::<f32>();
        for s in sums {
            sum += s;
        }
        sum / plane.len() as f32
    }
}
