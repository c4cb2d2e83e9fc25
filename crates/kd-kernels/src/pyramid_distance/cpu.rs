//! The kernel behind [`super::pyramid_distance`]: one pass over both maps forward; backward one
//! more, which averages them again and writes the gradient.

use std::mem::MaybeUninit;

use candle_core::{Result, Tensor};

use super::Level;
use crate::graph::{Backward, Grad, record, sum, values};
use crate::multiversion::multiversioned;
use crate::output::{Parts, written};
use crate::rows::tasks;
use crate::squared_distance::cpu::squares;

pub(super) fn pyramid_distance(x: &Tensor, y: &Tensor, levels: &[Level]) -> Result<Tensor> {
    let (x, y) = (x.contiguous()?, y.contiguous()?);
    let (images, channels, side, _) = x.dims4()?;
    let pyramid = Pyramid { images, channels, side, levels: levels.to_vec() };
    let distance = {
        let (xs, ys) = (values(&x)?, values(&y)?);
        let (xs, ys): (&[f32], &[f32]) = (&xs, &ys);
        // The sums of squares of each level, of one image after the other.
        let of_image = |i: usize| -> Vec<f64> {
            let mut averages = Averages::of(&pyramid);
            let mut sums = vec![0f64; levels.len()];
            for (x, y) in pyramid.planes(xs, ys, i) {
                averages.fill(x, y);
                sums.iter_mut().zip(averages.squares(x, y)).for_each(|(sum, s)| *sum += s);
            }
            sums
        };
        let parts = tasks(images, of_image);
        let term = |l: usize| {
            parts.iter().map(|part| part[l]).sum::<f64>() * levels[l].weight / pyramid.count(l)
        };
        (0..levels.len()).map(term).sum::<f64>() as f32
    };
    record(&[&x, &y], vec![distance], (), false, || {
        Ok(Distance { x: x.detach(), y: y.detach(), pyramid })
    })
}

struct Pyramid {
    images: usize,
    channels: usize,
    side: usize,
    levels: Vec<Level>,
}

impl Pyramid {
    fn image(&self) -> usize {
        self.channels * self.side * self.side
    }

    /// Values at level `l`.
    fn count(&self, l: usize) -> f64 {
        (self.images * self.channels * self.levels[l].side.pow(2)) as f64
    }

    /// The planes of image `i` of both maps.
    fn planes<'a>(
        &self,
        xs: &'a [f32],
        ys: &'a [f32],
        i: usize,
    ) -> impl Iterator<Item = (&'a [f32], &'a [f32])> + use<'a> {
        let [xs, ys] = [xs, ys].map(|t| &t[i * self.image()..][..self.image()]);
        xs.chunks_exact(self.side * self.side).zip(ys.chunks_exact(self.side * self.side))
    }
}

/// What a plane of the difference is at the levels that average.
struct Averages {
    side: usize,
    /// Whether the first level is the plane itself.
    whole: bool,
    averaging: Vec<Averaging>,
    /// The sums of columns.
    columns: Vec<f32>,
}

struct Averaging {
    side: usize,
    /// Pixels on the edge of what a pixel averages, of the level above or of the plane.
    window: usize,
    values: Vec<f32>,
}

impl Averages {
    fn of(pyramid: &Pyramid) -> Self {
        let side = pyramid.side;
        let whole = pyramid.levels.first().is_some_and(|level| level.side == side);
        let mut above = side;
        let averaging = pyramid.levels[usize::from(whole)..].iter().map(|level| {
            let window = above / level.side;
            above = level.side;
            Averaging { side: above, window, values: vec![0.; above * above] }
        });
        Self { side, whole, averaging: averaging.collect(), columns: vec![0.; side] }
    }

    fn fill(&mut self, x: &[f32], y: &[f32]) {
        let Some((first, coarser)) = self.averaging.split_first_mut() else { return };
        average_difference(x, y, self.side, first.window, &mut self.columns, &mut first.values);
        let mut from = first;
        for to in coarser {
            average(&from.values, from.side, to.window, &mut to.values);
            from = to;
        }
    }

    /// The sums of squares of each level.
    fn squares(&self, x: &[f32], y: &[f32]) -> impl Iterator<Item = f64> {
        let whole = self.whole.then(|| f64::from(squares(x, y)));
        let square = |v: &f32| f64::from(*v) * f64::from(*v);
        let coarser = self.averaging.iter().map(move |level| level.values.iter().map(square).sum());
        whole.into_iter().chain(coarser)
    }

    /// Turns the averages of the first averaging level into the gradient that all of them give to
    /// each pixel under them. `factors`: of each level, the derivative by its value over the
    /// value. `None` without such a level.
    fn gradient(&mut self, factors: &[f32]) -> Option<&Averaging> {
        let factors = &factors[usize::from(self.whole)..];
        for l in (0..self.averaging.len()).rev() {
            let (finer, coarser) = self.averaging.split_at_mut(l + 1);
            let Averaging { side, window, values } = &mut finer[l];
            let share = 1.0 / (*window * *window) as f32;
            for (at, value) in values.iter_mut().enumerate() {
                let (row, column) = (at / *side, at % *side);
                let from = coarser.first().map_or(0.0, |coarse| {
                    coarse.values[row / coarse.window * coarse.side + column / coarse.window]
                });
                *value = share * (factors[l] * *value + from);
            }
        }
        self.averaging.first()
    }
}

struct Distance {
    x: Tensor,
    y: Tensor,
    pyramid: Pyramid,
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
        let (xs, ys): (&[f32], &[f32]) = (&xs, &ys);
        let (pyramid, upstream) = (&self.pyramid, f64::from(grad[0]));
        let (image, plane) = (pyramid.image(), pyramid.side * pyramid.side);
        let towards = |sign: f64| {
            let factor = |(l, level): (usize, &Level)| {
                (sign * upstream * 2.0 * level.weight / pyramid.count(l)) as f32
            };
            let factors: Vec<f32> = pyramid.levels.iter().enumerate().map(factor).collect();
            let write = |out: &mut [MaybeUninit<f32>]| {
                let out = Parts::of(out);
                tasks(pyramid.images, |i| {
                    // SAFETY: each image belongs to one task.
                    let out = unsafe { out.part(i * image, image) };
                    let mut averages = Averages::of(pyramid);
                    let whole = if averages.whole { factors[0] } else { 0.0 };
                    let mut row = vec![0f32; pyramid.side];
                    let planes = pyramid.planes(xs, ys, i);
                    for (out, (x, y)) in out.chunks_exact_mut(plane).zip(planes) {
                        averages.fill(x, y);
                        let coarser = averages.gradient(&factors);
                        write_gradient(x, y, whole, coarser, &mut row, out);
                    }
                });
            };
            // SAFETY: the tasks cover the images, the planes an image, and `write_gradient` writes
            // all of a plane.
            Grad::Owned(unsafe { written(xs.len(), write) }.0)
        };
        Ok(vec![wanted[0].then(|| towards(1.0)), wanted[1].then(|| towards(-1.0))])
    }
}

/// The averages of squares of `window` × `window` values.
fn average(from: &[f32], side: usize, window: usize, to: &mut [f32]) {
    let (to_side, share) = (side / window, 1.0 / (window * window) as f32);
    for (at, to) in to.iter_mut().enumerate() {
        let (top, left) = (at / to_side * window, at % to_side * window);
        let rows = (top..top + window).map(|row| &from[row * side + left..][..window]);
        *to = rows.map(|row| row.iter().sum::<f32>()).sum::<f32>() * share;
    }
}

multiversioned! {
    /// The averages of x − y over squares of `window` × `window` pixels; `columns` is scratch
    /// memory as wide as a row.
    fn average_difference(x: &[f32], y: &[f32], side: usize, window: usize, columns: &mut [f32], to: &mut [f32]) {
        let share = 1.0 / (window * window) as f32;
        let strips = x.chunks_exact(side * window).zip(y.chunks_exact(side * window));
        for (to, (x, y)) in to.chunks_exact_mut(side / window).zip(strips) {
            columns.fill(0.0);
            for (x, y) in x.chunks_exact(side).zip(y.chunks_exact(side)) {
                columns.iter_mut().zip(x.iter().zip(y)).for_each(|(sum, (x, y))| *sum += x - y);
            }
            for (to, columns) in to.iter_mut().zip(columns.chunks_exact(window)) {
                *to = columns.iter().sum::<f32>() * share;
            }
        }
    }
}

multiversioned! {
    /// One plane: out = whole · (x − y) + the gradient of the coarser levels; `row` is scratch
    /// memory as wide as a row.
    fn write_gradient(x: &[f32], y: &[f32], whole: f32, coarser: Option<&Averaging>, row: &mut [f32], out: &mut [MaybeUninit<f32>]) {
        let side = row.len();
        row.fill(0.0);
        let rows = x.chunks_exact(side).zip(y.chunks_exact(side));
        for (i, (out, (x, y))) in out.chunks_exact_mut(side).zip(rows).enumerate() {
            if let Some(Averaging { side: coarse, window, values }) = coarser
                && i % window == 0
            {
                let values = &values[i / window * coarse..][..*coarse];
                row.chunks_exact_mut(*window).zip(values).for_each(|(row, v)| row.fill(*v));
            }
            for (((out, x), y), coarser) in out.iter_mut().zip(x).zip(y).zip(&*row) {
                out.write(whole * (x - y) + coarser);
            }
        }
    }
}
