//! The passes over planes of few pixels: factors are laid out a value each, so that loops run over
//! all channels of a group, and sums are taken a value each over the images.

use std::mem::MaybeUninit;

use super::group::{Affine, GradientFactors, Group, Mask, OutputGradient};
use crate::multiversion::multiversioned;
use crate::output::{Parts, assume_init};

/// Images whose values are summed in f32 before they are added to sums in f64.
const SPELL: usize = 64;

/// One value for each pixel of each channel.
fn spread<T>(of: &[T], group: &Group, value: impl Fn(&T) -> f32) -> Vec<f32> {
    of.iter().flat_map(|t| std::iter::repeat_n(value(t), group.pixels)).collect()
}

/// The sums of each channel's pixels.
fn gathered(sums: &[f64], group: &Group) -> Vec<f64> {
    sums.chunks_exact(group.pixels.max(1)).map(|pixels| pixels.iter().sum()).collect()
}

/// Mean and biased variance of each channel, as `wide::moments` computes them.
pub(super) fn moments(x: &[f32], group: &Group) -> Vec<(f64, f64)> {
    let first = &x[group.start(0)..][..group.run()];
    let near: Vec<f32> = first
        .chunks_exact(group.pixels)
        .map(|plane| plane.iter().sum::<f32>() / group.pixels as f32)
        .collect();
    let (mut sums, mut squares) = (vec![0f64; group.run()], vec![0f64; group.run()]);
    deviations(x, group, &spread(&near, group, |n| *n), &mut sums, &mut squares);
    let count = (group.images * group.pixels) as f64;
    let moments = |((sum, squares), near): ((&f64, &f64), &f32)| {
        let mean = sum / count;
        (f64::from(*near) + mean, (squares / count - mean * mean).max(0.0))
    };
    gathered(&sums, group).iter().zip(&gathered(&squares, group)).zip(&near).map(moments).collect()
}

multiversioned! {
    fn deviations(x: &[f32], group: &Group, near: &[f32], sums: &mut [f64], squares: &mut [f64]) {
        let run = group.run();
        let (mut s, mut q) = (vec![0f32; run], vec![0f32; run]);
        for i in 0..group.images {
            let x = &x[group.start(i)..][..run];
            for (((x, near), s), q) in x.iter().zip(near).zip(&mut s).zip(&mut q) {
                let d = x - near;
                *s += d;
                *q += d * d;
            }
            if i % SPELL == SPELL - 1 || i + 1 == group.images {
                settle(&mut s, sums);
                settle(&mut q, squares);
            }
        }
    }
}

#[inline(always)]
fn settle(short: &mut [f32], long: &mut [f64]) {
    for (short, long) in short.iter_mut().zip(long) {
        *long += f64::from(*short);
        *short = 0.0;
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
    let factors = [
        spread(affine, group, |a| a.mean),
        spread(affine, group, |a| a.scale),
        spread(affine, group, |a| a.shift),
    ];
    normalise_runs(x, residual, y, group, &factors, relu)
}

multiversioned! {
    /// Writes all values of the group.
    fn normalise_runs(x: &[f32], residual: Option<&[f32]>, y: &Parts<MaybeUninit<f32>>, group: &Group, factors: &[Vec<f32>; 3], relu: bool) {
        let run = group.run();
        let [mean, scale, shift] = factors;
        for i in 0..group.images {
            let start = group.start(i);
            let x = &x[start..][..run];
            // SAFETY: the values of a group belong to its task.
            let y = unsafe { y.part(start, run) };
            for ((((y, x), mean), scale), shift) in y.iter_mut().zip(x).zip(mean).zip(scale).zip(shift) {
                y.write((x - mean) * scale + shift);
            }
            // SAFETY: the factors have a value for each of the run, so that all of it is written.
            let y = unsafe { assume_init(y) };
            if let Some(residual) = residual {
                y.iter_mut().zip(&residual[start..][..run]).for_each(|(y, r)| *y += r);
            }
            if relu {
                y.iter_mut().for_each(|y| *y = if *y <= 0.0 { 0.0 } else { *y });
            }
        }
    }
}

/// g′ over the gradient, and the sums of g′ and of g′ · (x − mean) for each channel.
pub(super) fn reduce(
    x: &[f32],
    grad: &OutputGradient,
    mask: Mask,
    group: &Group,
    affine: &[Affine],
) -> Vec<(f64, f64)> {
    let factors = [
        spread(affine, group, |a| a.mean),
        spread(affine, group, |a| a.scale),
        spread(affine, group, |a| a.shift),
    ];
    let (mut sums, mut products) = (vec![0f64; group.run()], vec![0f64; group.run()]);
    reduce_runs(x, grad, mask, group, &factors, &mut sums, &mut products);
    gathered(&sums, group).into_iter().zip(gathered(&products, group)).collect()
}

multiversioned! {
    fn reduce_runs(
        x: &[f32],
        grad: &OutputGradient,
        mask: Mask,
        group: &Group,
        factors: &[Vec<f32>; 3],
        sums: &mut [f64],
        products: &mut [f64],
    ) {
        let run = group.run();
        let [mean, scale, shift] = factors;
        let (mut s, mut q) = (vec![0f32; run], vec![0f32; run]);
        for i in 0..group.images {
            let start = group.start(i);
            let x = &x[start..][..run];
            // SAFETY: the values of a group belong to its task.
            let g = unsafe { grad.over.part(start, run) };
            if let Some(add) = grad.add {
                g.iter_mut().zip(&add[start..][..run]).for_each(|(g, add)| *g += add);
            }
            match mask {
                Mask::None => {}
                Mask::FromX => {
                    for ((((g, x), mean), scale), shift) in g.iter_mut().zip(x).zip(mean).zip(scale).zip(shift) {
                        *g = if (x - mean) * scale + shift <= 0.0 { 0.0 } else { *g };
                    }
                }
                Mask::FromY(y) => g.iter_mut().zip(&y[start..][..run]).for_each(|(g, y)| *g = if *y <= 0.0 { 0.0 } else { *g }),
            }
            for ((((g, x), mean), s), q) in g.iter().zip(x).zip(mean).zip(&mut s).zip(&mut q) {
                *s += g;
                *q += g * (x - mean);
            }
            if i % SPELL == SPELL - 1 || i + 1 == group.images {
                settle(&mut s, sums);
                settle(&mut q, products);
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
    let factors = [
        spread(slopes, group, |s| s.mean),
        spread(slopes, group, |s| s.scale),
        spread(slopes, group, |s| s.slope),
        spread(slopes, group, |s| s.offset),
    ];
    gradient_runs(x, g, dx, group, &factors)
}

multiversioned! {
    /// To all values of the group in `dx`, or over g′.
    fn gradient_runs(x: &[f32], g: &Parts<f32>, dx: Option<&Parts<MaybeUninit<f32>>>, group: &Group, factors: &[Vec<f32>; 4]) {
        let run = group.run();
        let [mean, scale, slope, offset] = factors;
        for i in 0..group.images {
            let start = group.start(i);
            let x = &x[start..][..run];
            // SAFETY: the values of a group belong to its task.
            let g = unsafe { g.part(start, run) };
            let factors = mean.iter().zip(scale).zip(slope).zip(offset);
            match dx {
                Some(dx) => {
                    // SAFETY: as above.
                    let dx = unsafe { dx.part(start, run) };
                    for (((dx, g), x), (((mean, scale), slope), offset)) in dx.iter_mut().zip(g).zip(x).zip(factors) {
                        dx.write(*g * scale + (x - mean) * slope + offset);
                    }
                }
                None => {
                    for ((g, x), (((mean, scale), slope), offset)) in g.iter_mut().zip(x).zip(factors) {
                        *g = *g * scale + (x - mean) * slope + offset;
                    }
                }
            }
        }
    }
}
